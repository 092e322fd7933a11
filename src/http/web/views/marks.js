/**
 * What this page has seen happen to the cluster: elections, and nodes that went
 * and came back. The cluster keeps no history of it, so the page remembers, in
 * this tab alone.
 */

/**
 * @typedef {object} Mark
 * @property {number} at_ms
 * @property {"election" | "lost" | "back" | "joined" | "trouble"} kind
 * @property {number | null} node
 * @property {number} term
 * @property {string} text
 */

/**
 * @typedef {object} ClusterNews
 * @property {number | null} leader_id
 * @property {number} term
 * @property {{ id: number, role?: string, reachable: boolean, trouble: string | null }[]} nodes
 */

/** More would not be read on a timeline. */
const MARKS_MAX = 200;
const KEPT = "reelraft.marks";

/** Elections and lost nodes, oldest first. */
class Marks {
  constructor() {
    /** @type {Mark[]} */
    this.all = kept();
    /** @type {ClusterNews | null} */
    this.last = null;
    /** @type {Set<() => void>} */
    this.listeners = new Set();
    this.watching = false;
    /** Whether it may be another cluster that is heard now. */
    this.anew = false;
  }

  /**
   * Begins to watch, once a page.
   * @param {import("../lib/live.js").Live} live
   */
  watch(live) {
    if (this.watching) return;
    this.watching = true;
    if (live.cluster) this.take(live.cluster);
    live.on("reset", () => {
      this.anew = true;
    });
    live.on("cluster", (/** @type {ClusterNews} */ news) => this.take(news));
  }

  /**
   * @param {() => void} listener
   * @returns {() => void} ends it
   */
  onchange(listener) {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** @param {ClusterNews} news */
  take(news) {
    // A node that lags behind may answer later.
    if (this.last && news.term < this.last.term && !this.anew) return;
    this.anew = false;
    const found = this.last ? changes(this.last, news) : [];
    // While nobody leads, the last term that had a leader is what counts.
    if (news.leader_id || !this.last) this.last = news;
    else this.last = { ...this.last, nodes: news.nodes };
    if (found.length === 0) return;
    this.all = [...this.all, ...found].slice(-MARKS_MAX);
    try {
      sessionStorage.setItem(KEPT, JSON.stringify(this.all));
    } catch {
      // They are for this page alone then.
    }
    for (const listener of this.listeners) listener();
  }
}

/** @returns {Mark[]} */
function kept() {
  try {
    return JSON.parse(sessionStorage.getItem(KEPT) ?? "[]");
  } catch {
    return [];
  }
}

/**
 * @param {ClusterNews} before
 * @param {ClusterNews} now
 * @returns {Mark[]}
 */
function changes(before, now) {
  const at_ms = Date.now();
  const { term } = now;
  /** @type {Mark[]} */
  const found = [];
  if (now.leader_id && (now.leader_id !== before.leader_id || term !== before.term)) {
    const text = `node ${now.leader_id} leads, term ${term}`;
    found.push({ at_ms, kind: "election", node: now.leader_id, term, text });
  }
  const known = new Map(before.nodes.map((node) => [node.id, node]));
  for (const node of now.nodes) {
    const former = known.get(node.id);
    const mark = { at_ms, node: node.id, term };
    if (!former) {
      found.push({ ...mark, kind: "joined", text: `node ${node.id} joined` });
    } else if (former.reachable && !node.reachable) {
      found.push({ ...mark, kind: "lost", text: `node ${node.id} is lost` });
    } else if (!former.reachable && node.reachable) {
      found.push({ ...mark, kind: "back", text: `node ${node.id} is back` });
    } else if (node.trouble && node.trouble !== former.trouble && node.reachable) {
      found.push({ ...mark, kind: "trouble", text: `node ${node.id}: ${node.trouble}` });
    }
  }
  return found;
}

export const marks = new Marks();
