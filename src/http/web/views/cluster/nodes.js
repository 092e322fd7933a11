/** Nodes as cards: idle, busy, in trouble, unreachable and stale each look their own way. */

import { h, icon, replace, setAttribute, setText, visible } from "../../lib/dom.js";
import { ago, bytes, count, percent, plural, rate } from "../../lib/format.js";
import { nodeTag } from "../nodes.js";

/** @typedef {Record<string, any>} Node as docs/json.md has it */

/** More slots than this are drawn as a bar. */
const SLOT_BOXES_MAX = 32;
/** Below this share of free space a node takes no more bytes soon. */
const DISK_LOW = 0.1;

/**
 * What a node is at, in a word.
 * @param {Node} node
 * @returns {"unreachable" | "trouble" | "busy" | "idle"}
 */
export function atWork(node) {
  if (!node.reachable) return "unreachable";
  if (node.trouble) return "trouble";
  return node.slots_busy > 0 ? "busy" : "idle";
}

/** @type {Record<string, "cross" | "alert" | "bolt" | "pause" | "clock">} */
const ICONS = { unreachable: "cross", trouble: "alert", busy: "bolt", idle: "pause", stale: "clock" };

/**
 * How far a check is, and what the last one found.
 * @param {any} scrub
 */
function checked(scrub) {
  if (!scrub) return "";
  const found = scrub.damaged > 0 ? `${plural(scrub.damaged, "damaged blob")}` : "nothing damaged";
  const unread = scrub.unread > 0 ? `, ${count(scrub.unread)} not read` : "";
  if (scrub.running) return `${percent(scrub.done_bytes / Math.max(1, scrub.total_bytes))} of ${bytes(scrub.total_bytes)}, ${found} so far`;
  return `${ago(scrub.ended_unix_ms)} ago: ${found}${unread}`;
}

/** The cards. */
export class NodeCards {
  constructor() {
    this.node = h("div", { class: "node-cards" });
    /** @type {Map<number, NodeCard>} */
    this.cards = new Map();
  }

  /**
   * @param {Node[]} nodes
   * @param {{ leader: number | null, newest: number, stale: boolean, speeds: Map<number, number> }} about
   */
  draw(nodes, about) {
    for (const node of nodes) {
      const card = this.cards.get(node.id) ?? new NodeCard(node.id);
      this.cards.set(node.id, card);
      card.draw(node, about);
    }
    const wanted = nodes.toSorted((a, b) => a.id - b.id).map((node) => this.cards.get(node.id)?.node);
    const same = wanted.length === this.node.childElementCount && wanted.every((card, at) => this.node.children[at] === card);
    if (!same) replace(this.node, wanted);
  }
}

class NodeCard {
  /** @param {number} id */
  constructor(id) {
    this.role = h("span", { class: "badge plain" });
    this.state = h("span", { class: "badge" });
    this.trouble = h("p", { class: "note", hidden: true });
    this.slots = h("div", { class: "slots", "aria-hidden": "true" });
    this.disk = h("div", { class: "bar", "aria-hidden": "true" });
    /** When the page last knew it to be heard of; 0 if it never did. */
    this.heardMs = 0;
    /** @type {Map<string, HTMLElement>} */
    this.facts = new Map();
    const rows = ["Silent", "Membership", "Slots", "Load", "Speed", "Disk", "Copies", "Check", "Zone", "Build", "Version", "Log", "Address", "Can't make"].map((title) => this.row(title));
    const title = h("h2", null, nodeTag(id));
    this.node = h(
      "section",
      { class: "panel node-card", "aria-label": `Node ${id}` },
      h("div", { class: "head" }, title, this.role, h("span", { class: "grow" }), this.state),
      h("div", { class: "body" }, this.trouble, h("dl", { class: "facts" }, rows)),
    );
  }

  /**
   * @private
   * @param {string} title
   */
  row(title) {
    const text = h("span", null, "–");
    this.facts.set(title, text);
    const drawn = title === "Slots" ? this.slots : title === "Disk" ? this.disk : null;
    return [h("dt", { data: { row: title } }, title), h("dd", { data: { row: title } }, drawn, text)];
  }

  /**
   * @private
   * @param {string} title
   * @param {string} text
   * @param {boolean} [hidden]
   */
  fact(title, text, hidden = false) {
    const shown = this.facts.get(title);
    if (!shown) return;
    setText(shown, text);
    const value = shown.parentElement;
    if (value) value.hidden = hidden;
    const term = value?.previousElementSibling;
    if (term instanceof HTMLElement) term.hidden = hidden;
  }

  /**
   * @param {Node} node
   * @param {{ leader: number | null, newest: number, stale: boolean, speeds: Map<number, number> }} about
   */
  draw(node, { leader, newest, stale, speeds }) {
    const state = stale ? "stale" : atWork(node);
    if (this.node.dataset.at !== state) {
      this.node.dataset.at = state;
      replace(this.state, icon(ICONS[state]), h("span", { class: "word" }, state));
    }
    const role = node.id === leader ? "leader" : node.role || "member";
    setText(this.role, role);
    setAttribute(this.role, "data-role", role);
    this.trouble.hidden = !node.trouble;
    if (this.trouble.dataset.text !== (node.trouble ?? "")) {
      this.trouble.dataset.text = node.trouble ?? "";
      replace(this.trouble, icon("alert"), h("span", null, node.trouble ?? ""));
    }
    this.drawSlots(node);
    this.drawDisk(node);
    this.drawSilence(node);
    this.fact("Load", node.load_milli ? (node.load_milli / 1000).toFixed(2) : "–", !node.load_milli);
    const speed = speeds.get(node.id);
    this.fact("Speed", speed ? `${rate(speed, "fps")} a task` : "–", !node.reachable);
    this.fact("Build", node.build_words ?? "–", !node.build);
    this.fact("Version", node.version ? `reelraft ${node.version}` : "–", !node.version);
    const behind = Math.max(0, newest - (node.applied_index || newest));
    this.fact("Log", behind === 0 ? `entry ${count(node.applied_index)}` : `entry ${count(node.applied_index)}, ${count(behind)} behind`, !node.applied_index);
    this.fact("Address", [node.address, node.http].filter(Boolean).join(", "), !node.address);
    const lacks = (node.lacks ?? []).map((/** @type {any} */ lack) => `${lack.what} (${lack.why})`);
    this.fact("Membership", visible(node.note ?? ""), !node.note);
    this.fact("Zone", visible(node.zone ?? ""), !node.zone);
    this.drawUpkeep(node);
    this.fact("Can't make", visible(lacks.join("; ")), lacks.length === 0);
  }

  /**
   * What it copies, and how its check of all that it keeps goes.
   * @private
   * @param {Node} node
   */
  drawUpkeep({ copies, scrub }) {
    const left = copies?.jobs ?? 0;
    this.fact("Copies", `${plural(left, "job")}, about ${bytes(copies?.bytes_left ?? 0)} to go`, left === 0);
    this.fact("Check", checked(scrub), !scrub?.running && !scrub?.ended_unix_ms);
  }

  /**
   * How long nobody has heard of it, as far as this page knows.
   * @private
   * @param {Node} node
   */
  drawSilence(node) {
    if (node.reachable) this.heardMs = Date.now();
    const since = this.heardMs > 0 ? `for ${ago(this.heardMs)}` : "since before this page was opened";
    this.fact("Silent", since, node.reachable);
  }

  /**
   * @private
   * @param {Node} node
   */
  drawSlots(node) {
    this.fact("Slots", `${node.slots_busy} of ${node.slots} busy`, node.slots === 0);
    const drawn = `${node.slots_busy}/${node.slots}`;
    if (this.slots.dataset.drawn === drawn) return;
    this.slots.dataset.drawn = drawn;
    const boxes = Array.from({ length: Math.min(node.slots, SLOT_BOXES_MAX) }, (_, at) => {
      return h("span", { class: at < node.slots_busy ? "slot busy" : "slot" });
    });
    replace(this.slots, boxes);
  }

  /**
   * @private
   * @param {Node} node
   */
  drawDisk(node) {
    const { disk_total_bytes: total, disk_free_bytes: free } = node;
    const known = total > 0;
    const used = known ? 1 - free / total : 0;
    this.fact("Disk", known ? `${bytes(total - free)} used (${percent(used)}), ${bytes(free)} free` : "–", !known);
    this.disk.style.setProperty("--share", String(used));
    setAttribute(this.disk, "data-low", known && free / total < DISK_LOW);
  }
}
