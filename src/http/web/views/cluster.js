/** The nodes and what they are at, who leads, what happened, and who keeps what. */

import { eachFrame, h, icon, name, replace, setText } from "../lib/dom.js";
import { ago, bytes, count, plural, time } from "../lib/format.js";
import { problemBox, stateBadge } from "../lib/shell.js";
import { ClusterData } from "./cluster/data.js";
import { NodeCards, atWork } from "./cluster/nodes.js";
import { markIcon } from "./job/timeline.js";
import { marks } from "./marks.js";
import { nodeTag } from "./nodes.js";

const SEEN_MAX = 30;
const TICK_MS = 1_000;
/** States that the list of jobs can be narrowed to by this address. */
const LINKED = new Set(["uploading", "succeeded", "failed", "cancelled"]);

/**
 * @param {HTMLElement} root
 * @param {import("../app.js").Context} ctx
 */
export function open(root, ctx) {
  const view = new ClusterView(root, ctx);
  return { close: () => view.close() };
}

class ClusterView {
  /**
   * @param {HTMLElement} root
   * @param {import("../app.js").Context} ctx
   */
  constructor(root, ctx) {
    this.ctx = ctx;
    this.frame = eachFrame(() => this.draw());
    const ask = () => this.frame.ask();
    this.data = new ClusterData(ctx, ask);
    this.problem = h("div", { hidden: true });
    /** @type {Map<string, HTMLElement>} */
    this.figures = new Map();
    const figures = ["Leader", "Term", "Nodes", "Slots", "Free on disks", "Answered by"].map((title) => this.figure(title));
    this.words = h("p", { class: "soft cluster-words" });
    this.cards = new NodeCards();
    this.counts = h("ul", { class: "job-counts" });
    this.seen = h("ul", { class: "seen-list" });
    this.copies = h("tbody");
    const copies = h(
      "table",
      { class: "copies" },
      h("caption", { class: "unseen" }, "Who keeps the newest jobs"),
      h("thead", null, h("tr", null, ["Job", "State", "Size", "Kept on"].map((head) => h("th", { scope: "col", class: head === "Size" ? "num" : null }, head)))),
      this.copies,
    );
    const side = h(
      "div",
      { class: "cluster-side" },
      panel("Jobs by state", this.counts, "jobs-panel"),
      panel("What this page saw", this.seen, "seen-panel"),
      panel("Copies of the newest jobs", copies, "copies-panel"),
    );
    replace(
      root,
      h("div", { class: "stack cluster-page" }, h("h1", { class: "unseen" }, "Cluster"), this.problem, h("section", { class: "panel cluster-head", "aria-label": "The cluster" }, h("dl", { class: "figures" }, figures), this.words), this.cards.node, side),
    );
    const offs = [marks.onchange(ask), ctx.live.onstate(ask)];
    this.tick = setInterval(ask, TICK_MS);
    this.end = () => offs.forEach((off) => off());
    this.drawn = { seen: "", copies: "", counts: "" };
    ask();
  }

  close() {
    clearInterval(this.tick);
    this.end();
    this.frame.close();
    this.data.close();
  }

  /**
   * @private
   * @param {string} title
   */
  figure(title) {
    const value = h("dd", null, "–");
    this.figures.set(title, value);
    return h("div", null, h("dt", null, title), value);
  }

  /**
   * @private
   * @param {string} title
   * @param {string} text
   */
  set(title, text) {
    const shown = this.figures.get(title);
    if (shown) setText(shown, text);
  }

  /** @private */
  draw() {
    const { cluster, problem } = this.data;
    this.problem.hidden = !problem;
    if (problem && !this.problem.firstChild) replace(this.problem, problemBox(problem));
    if (!problem) replace(this.problem);
    if (!cluster) return;
    this.drawFigures(cluster);
    const { live } = this.ctx;
    const stale = this.data.failed || (live.state !== "live" && live.state !== "resting");
    // Only the leader knows whom it hears; without one all of it is old.
    this.cards.draw(cluster.nodes, {
      leader: cluster.leader_id,
      newest: cluster.committed_index ?? 0,
      stale,
      speeds: this.data.speeds,
    });
    this.drawCounts();
    this.drawSeen();
    this.drawCopies();
  }

  /**
   * @private
   * @param {any} cluster
   */
  drawFigures(cluster) {
    const nodes = /** @type {any[]} */ (cluster.nodes);
    const up = nodes.filter((node) => node.reachable);
    const sum = (/** @type {string} */ field) => up.reduce((total, node) => total + (node[field] ?? 0), 0);
    this.set("Leader", cluster.leader_id ? `node ${cluster.leader_id}` : "none: an election is on");
    this.set("Term", count(cluster.term));
    this.set("Nodes", `${up.length} of ${nodes.length} up`);
    this.set("Slots", `${sum("slots_busy")} of ${sum("slots")} busy`);
    const free = sum("disk_free_bytes");
    this.set("Free on disks", free > 0 ? bytes(free) : "–");
    this.set("Answered by", cluster.answered_by ? `node ${cluster.answered_by}` : "–");
    const spare = Math.floor((nodes.filter((node) => node.role !== "learner").length - 1) / 2);
    const gone = nodes.filter((node) => atWork(node) === "unreachable").length;
    const bears = gone === 0 ? `It bears the loss of ${plural(spare, "node")}.` : spare > gone ? `It bears the loss of ${plural(spare - gone, "more node", "more nodes")}.` : "It bears no further loss.";
    const id = cluster.cluster_id ? ` Cluster ${cluster.cluster_id}, ` : "";
    const patience = cluster.election_timeout_ms ? `a silent leader is borne for ${cluster.election_timeout_ms} ms.` : "";
    setText(this.words, [`${bears}${id}${patience}`, ...underWay(cluster)].join(" "));
  }

  /** @private */
  drawCounts() {
    const { counts } = this.data;
    const drawn = JSON.stringify(counts && [...counts]);
    if (drawn === this.drawn.counts) return;
    this.drawn.counts = drawn;
    if (!counts) {
      replace(this.counts, h("li", { class: "soft" }, "The cluster's own secret sees how many there are."));
      return;
    }
    const rows = [...counts].map(([state, number]) => {
      const to = LINKED.has(state) ? `#/?state=${state}` : "#/?state=working";
      return h("li", null, h("a", { href: to }, stateBadge(state), h("strong", null, count(number))));
    });
    replace(this.counts, rows);
  }

  /** @private */
  drawSeen() {
    const seen = marks.all.slice(-SEEN_MAX).reverse();
    const drawn = `${seen.length} ${seen[0]?.at_ms} ${Math.floor(Date.now() / 10_000)}`;
    if (drawn === this.drawn.seen) return;
    this.drawn.seen = drawn;
    const none = h("li", { class: "soft" }, "No election and no lost node since this tab was opened.");
    const rows = seen.map((mark) => h("li", { data: { kind: mark.kind } }, icon(markIcon(mark.kind)), h("span", { class: "grow" }, mark.text), h("span", { class: "soft num", title: time(mark.at_ms) }, `${ago(mark.at_ms)} ago`)));
    replace(this.seen, rows.length > 0 ? rows : none);
  }

  /** @private */
  drawCopies() {
    const { jobs } = this.data;
    const drawn = JSON.stringify(jobs.map((job) => [job.id, job.state, job.homes, job.output_bytes]));
    if (drawn === this.drawn.copies) return;
    this.drawn.copies = drawn;
    const none = h("tr", null, h("td", { colspan: "4", class: "soft" }, "There are no jobs."));
    replace(this.copies, jobs.length > 0 ? jobs.map(copy) : none);
  }
}

/**
 * What is under way with the members: votes that are wanted, and an upgrade.
 * @param {any} cluster
 */
function underWay(cluster) {
  const nodes = /** @type {any[]} */ (cluster.nodes);
  const voters = nodes.filter((node) => node.role !== "learner").length;
  const wanted = cluster.voters_wanted ?? 0;
  // With fewer nodes than that nothing is under way.
  const awaited = wanted > 0 && wanted !== voters && nodes.length >= wanted;
  const words = awaited ? [`Votes that are wanted: ${count(wanted)}. Nodes that vote: ${count(voters)}.`] : [];
  const level = Math.max(...nodes.map((node) => node.feature_level ?? 0));
  const older = nodes.filter((node) => (node.feature_level ?? 0) < level).map((node) => `node ${node.id}`);
  if (older.length > 0) words.push(`An upgrade waits for ${older.join(", ")}.`);
  return words;
}

/** @param {any} job */
function copy(job) {
  const cell = (/** @type {string} */ label, /** @type {any} */ content, kind = "") => h("td", { data: { label }, class: kind }, content);
  const homes = (job.homes ?? []).map((/** @type {any} */ home) => {
    const how = home.retiring ? "retiring" : home.filled ? "" : "filling";
    return h("span", { class: "home", data: { how } }, nodeTag(home.node), how);
  });
  const size = job.state === "succeeded" ? job.output_bytes : job.source_bytes;
  return h(
    "tr",
    null,
    cell("Job", h("a", { href: `#/jobs/${encodeURIComponent(job.id)}`, class: "job-link" }, name(job.source_name, job.id))),
    cell("State", stateBadge(job.state)),
    cell("Size", bytes(size || null), "num"),
    cell("Kept on", h("div", { class: "row wrap" }, homes.length > 0 ? homes : h("span", { class: "soft" }, "nobody"))),
  );
}

/**
 * @param {string} title
 * @param {HTMLElement} body
 * @param {string} kind
 */
function panel(title, body, kind) {
  return h("section", { class: `panel ${kind}`, "aria-label": title }, h("div", { class: "head" }, h("h2", null, title)), h("div", { class: "body" }, body));
}
