/**
 * Attempts over time: a lane a node or engine, a bar an attempt, as long as it ran, coloured
 * by how it came out. Elections and lost nodes that this page saw stand as marks.
 *
 * Bars are drawn in milliseconds since the beginning, in an SVG that is stretched
 * to the width: as time goes on only its view box and the running bars change.
 */

import { h, icon, replace, setAttribute, setText, svg } from "../../lib/dom.js";
import { duration, plural, time } from "../../lib/format.js";
import { nodeName, nodeTag } from "../nodes.js";
import { keyOf } from "./data.js";
import { outcomeLook, taskName, took } from "./words.js";

/** @typedef {import("./data.js").JobData} JobData */
/** @typedef {import("./data.js").Task} Task */
/** @typedef {import("./data.js").Attempt} Attempt */
/** @typedef {import("../marks.js").Mark} Mark */

/**
 * @typedef {object} Bar
 * @property {Task} task
 * @property {Attempt} attempt
 * @property {number} from milliseconds since the beginning
 * @property {number} to
 * @property {number} level its place among those of its node that ran beside it
 */

/** @typedef {{ node: number, bars: Bar[], levels: number }} Lane */

const LEVEL_HEIGHT = 14;
const LANE_GAP = 6;
/** While it runs the right edge moves in steps of this share, so that not all moves always. */
const EDGE_STEP = 0.06;
const SPAN_LEAST_MS = 4_000;
const ZOOM_MAX = 32;
/** Above this many the numbers beside bars would cover them. */
const LABELS_MAX = 60;
const TICKS_S = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400];

/** The timeline. */
export class Timeline {
  /**
   * @param {(key: string | null, how: "hover" | "focus" | "choose") => void} choose
   */
  constructor(choose) {
    this.choose = choose;
    /** @private */
    this.zoom = 1;
    /** @private */
    this.edge = 0;
    /** @private @type {string | null} */
    this.chosen = null;
    this.bars = svg("svg", { class: "bars", preserveAspectRatio: "none", role: "img" });
    this.over = h("div", { class: "over", "aria-hidden": "true" });
    this.axis = h("div", { class: "axis mono", "aria-hidden": "true" });
    this.labels = h("div", { class: "lane-labels" });
    this.inner = h("div", { class: "time-inner" }, this.axis, this.bars, this.over);
    const scroll = { class: "time-scroll", tabindex: "0", role: "region", "aria-label": "Attempts over time" };
    this.scroll = h("div", scroll, this.inner);
    this.seen = h("ul", { class: "seen" });
    this.words = h("p", { class: "soft", hidden: true });
    this.buttons = h(
      "div",
      { class: "row" },
      this.button("−", "Show more time", 0.5),
      this.button("+", "Show less time", 2),
    );
    this.node = h("div", { class: "timeline" }, h("div", { class: "lanes" }, this.labels, this.scroll), this.seen, this.words);
    this.listen();
  }

  /**
   * @private
   * @param {string} text
   * @param {string} label
   * @param {number} factor
   */
  button(text, label, factor) {
    const onclick = () => {
      const middle = this.scroll.scrollLeft + this.scroll.clientWidth / 2;
      const share = middle / Math.max(1, this.scroll.scrollWidth);
      this.zoom = Math.min(ZOOM_MAX, Math.max(1, this.zoom * factor));
      this.inner.style.width = `${this.zoom * 100}%`;
      this.scroll.scrollLeft = share * this.scroll.scrollWidth - this.scroll.clientWidth / 2;
      this.drawAxis();
    };
    return h("button", { type: "button", class: "small square", "aria-label": label, title: label, onclick }, text);
  }

  /** @private */
  listen() {
    const keyAt = (/** @type {Event} */ event) => {
      const bar = /** @type {Element} */ (event.target).closest("[data-key]");
      return bar?.getAttribute("data-key") ?? null;
    };
    this.bars.addEventListener("pointerover", (event) => this.choose(keyAt(event), "hover"));
    this.bars.addEventListener("pointerleave", () => this.choose(null, "hover"));
    this.bars.addEventListener("click", (event) => {
      const key = keyAt(event);
      if (key) this.choose(key, "choose");
    });
  }

  /** @param {string | null} key */
  mark(key) {
    if (key === this.chosen) return;
    this.chosen = key;
    for (const bar of this.bars.children) {
      setAttribute(bar, "data-chosen", key !== null && bar.getAttribute("data-key") === key);
    }
  }

  /**
   * @param {JobData} data
   * @param {Mark[]} marks all that the page saw
   * @param {number[]} nodes that the cluster has
   */
  draw(data, marks, nodes) {
    const { job } = data;
    if (!job) return;
    this.begin = job.created_unix_ms;
    const end = job.ended_unix_ms ?? Date.now();
    const starts = data.tasks.flatMap((task) => task.started_unix_ms ?? []);
    const first = starts.length > 0 ? Math.min(...starts) : this.begin;
    // What comes before the first attempt is the upload, which may have taken days.
    if (first - this.begin > (end - first) / 2) this.begin = first - (end - first) / 20;
    this.stretch(end, job.ended_unix_ms !== null);
    const lanes = this.lanes(data, end, nodes);
    this.drawBars(lanes, end);
    this.drawAxis();
    this.words.hidden = this.untimed === 0;
    setText(this.words, `Of ${plural(this.untimed, "attempt")} no time is kept; a mark stands where the next one began.`);
    this.drawMarks(marks.filter((mark) => mark.at_ms >= this.begin && mark.at_ms <= end + 2_000));
  }

  /**
   * Moves the right edge where what is shown has come to it.
   * @private
   * @param {number} end
   * @param {boolean} ended
   */
  stretch(end, ended) {
    const span = Math.max(SPAN_LEAST_MS, end - this.begin);
    if (ended) this.edge = span * 1.01;
    else if (span > this.edge || this.edge > span * (1 + 3 * EDGE_STEP)) this.edge = span * (1 + EDGE_STEP);
  }

  /** @private */
  begin = 0;

  /**
   * Which attempts ran on which node, and beside which others.
   * @private
   * @param {JobData} data
   * @param {number} end
   * @param {number[]} nodes
   * @returns {Lane[]}
   */
  lanes(data, end, nodes) {
    /** @type {Map<number, Bar[]>} */
    const byNode = new Map(nodes.map((node) => [node, []]));
    this.untimed = 0;
    for (const task of data.tasks) {
      const attempts = data.attempts(task);
      attempts.forEach((attempt, at) => {
        // One of which no time is kept stands where the next one of its task began.
        const next = attempts.slice(at + 1).find((later) => later.started_unix_ms)?.started_unix_ms;
        const started = attempt.started_unix_ms ?? next ?? data.job?.ended_unix_ms;
        if (!attempt.started_unix_ms) this.untimed += 1;
        if (!started) return;
        const open = attempt.outcome === "running" ? end : started;
        const from = started - this.begin;
        const to = Math.max(from, (attempt.ended_unix_ms ?? open) - this.begin);
        const bars = byNode.get(attempt.node) ?? [];
        byNode.set(attempt.node, bars);
        bars.push({ task, attempt, from, to, level: 0 });
      });
    }
    const lanes = [...byNode].map(([node, bars]) => ({ node, bars, levels: level(bars) }));
    return lanes.sort((a, b) => a.node - b.node);
  }

  untimed = 0;

  /**
   * @private
   * @param {Lane[]} lanes
   * @param {number} end
   */
  drawBars(lanes, end) {
    /** @type {Map<string, Element>} */
    const known = new Map([...this.bars.children].map((bar) => [bar.getAttribute("data-bar") ?? "", bar]));
    let top = 0;
    let drawn = 0;
    /** @type {Node[]} */
    const labels = [];
    /** @type {[Bar, number][]} */
    const numbered = [];
    for (const lane of lanes) {
      const height = lane.levels * LEVEL_HEIGHT;
      for (const bar of lane.bars) {
        const y = top + bar.level * LEVEL_HEIGHT;
        const id = `${keyOf(bar.task)}/${bar.attempt.attempt}`;
        this.drawBar(known.get(id) ?? this.newBar(id, keyOf(bar.task)), bar, y);
        known.delete(id);
        drawn += 1;
        if (bar.attempt.attempt > 1 || wentWrong(bar)) numbered.push([bar, y]);
      }
      const label = h("div", { class: "lane-label" }, nodeTag(lane.node));
      label.style.height = `${height + LANE_GAP}px`;
      labels.push(label);
      top += height + LANE_GAP;
    }
    for (const gone of known.values()) gone.remove();
    const shape = lanes.map((lane) => `${nodeName(lane.node)}:${lane.levels}`).join();
    if (this.labels.dataset.shape !== shape) replace(this.labels, labels);
    this.labels.dataset.shape = shape;
    setAttribute(this.bars, "viewBox", `0 0 ${Math.round(this.edge)} ${Math.max(1, top)}`);
    this.bars.style.height = `${Math.max(1, top)}px`;
    const long = duration((end - this.begin) / 1000);
    const words = `${drawn} attempts on ${lanes.length} nodes and engines in ${long}; the table of tasks has each of them`;
    setAttribute(this.bars, "aria-label", words);
    this.drawNumbers(numbered.slice(0, LABELS_MAX));
  }

  /**
   * @private
   * @param {string} id
   * @param {string} key
   */
  newBar(id, key) {
    const title = svg("title");
    const bar = svg("rect", { "data-bar": id, "data-key": key, height: LEVEL_HEIGHT - 3 }, title);
    if (key === this.chosen) bar.setAttribute("data-chosen", "");
    this.bars.append(bar);
    return bar;
  }

  /**
   * @private
   * @param {Element} element
   * @param {Bar} bar
   * @param {number} y
   */
  drawBar(element, bar, y) {
    const { attempt, task } = bar;
    const { look, words } = outcomeLook(attempt.outcome);
    setAttribute(element, "x", Math.round(bar.from));
    setAttribute(element, "y", y + 1);
    setAttribute(element, "width", Math.max(1, Math.round(bar.to - bar.from)));
    setAttribute(element, "data-look", look);
    setAttribute(element, "data-kind", task.kind);
    const ran = look === "running" || bar.to === bar.from ? "" : `, ${took(bar.to - bar.from)}`;
    const number = attempt.attempt > 1 ? `, attempt ${attempt.attempt}` : "";
    const text = `${taskName(task)} on ${nodeName(attempt.node)}${number}: ${words}${ran}`;
    if (element.firstChild) setText(element.firstChild, text);
  }

  /**
   * The numbers of attempts and the icons of outcomes, where there is something to say.
   * @private
   * @param {[Bar, number][]} bars
   */
  drawNumbers(bars) {
    const shape = bars.map(([bar, y]) => `${Math.round(bar.from)} ${y} ${bar.attempt.attempt} ${bar.attempt.outcome}`);
    const drawn = `${Math.round(this.edge)} ${shape.join()}`;
    if (this.over.dataset.drawn === drawn) return;
    this.over.dataset.drawn = drawn;
    const labels = bars.map(([bar, y]) => {
      const { attempt } = bar;
      const { look, icon: which } = outcomeLook(attempt.outcome);
      const number = attempt.attempt > 1 ? String(attempt.attempt) : null;
      const shown = look === "done" || look === "running" ? null : icon(which);
      const label = h("span", { class: "attempt", data: { look } }, shown, number);
      setAttribute(label, "data-vague", !attempt.started_unix_ms);
      label.style.left = this.share(bar.from);
      label.style.top = `${y}px`;
      return label;
    });
    const marks = [...this.over.querySelectorAll(".seen-mark")];
    replace(this.over, labels, marks);
  }

  /**
   * @private
   * @param {number} ms since the beginning
   */
  share(ms) {
    return `${((100 * ms) / this.edge).toFixed(3)}%`;
  }

  /** @private */
  drawAxis() {
    const width = Math.max(300, this.scroll.clientWidth * this.zoom);
    const least = (this.edge / 1000) * (80 / width);
    const step = TICKS_S.find((tick) => tick >= least) ?? Math.ceil(least / 86_400) * 86_400;
    const drawn = `${step} ${Math.round(this.edge)}`;
    if (this.axis.dataset.drawn === drawn) return;
    this.axis.dataset.drawn = drawn;
    const ticks = [];
    for (let at = 0; at * 1000 < this.edge * 0.95; at += step) {
      const tick = h("span", { class: "tick" }, duration(at));
      tick.style.left = this.share(at * 1000);
      ticks.push(tick);
    }
    replace(this.axis, ticks);
  }

  /**
   * @private
   * @param {Mark[]} marks
   */
  drawMarks(marks) {
    const drawn = `${Math.round(this.edge)} ${marks.map((mark) => `${mark.at_ms}${mark.text}`).join()}`;
    if (this.seen.dataset.drawn === drawn) return;
    this.seen.dataset.drawn = drawn;
    for (const old of this.over.querySelectorAll(".seen-mark")) old.remove();
    for (const mark of marks) {
      const line = h("span", { class: "seen-mark", data: { kind: mark.kind } }, icon(markIcon(mark.kind)));
      line.style.left = this.share(mark.at_ms - this.begin);
      this.over.append(line);
    }
    const rows = marks.map((mark) =>
      h(
        "li",
        { data: { kind: mark.kind } },
        icon(markIcon(mark.kind)),
        h("span", { class: "mono" }, `+${duration((mark.at_ms - this.begin) / 1000)}`),
        h("span", { title: time(mark.at_ms) }, mark.text),
      ),
    );
    replace(this.seen, rows);
  }
}

/** @param {Bar} bar */
function wentWrong(bar) {
  const { look } = outcomeLook(bar.attempt.outcome);
  return look !== "done" && look !== "running";
}

/** @param {Mark["kind"]} kind */
export function markIcon(kind) {
  /** @type {Record<Mark["kind"], "bolt" | "cross" | "check" | "plus" | "alert">} */
  const icons = { election: "bolt", lost: "cross", back: "check", joined: "plus", trouble: "alert" };
  return icons[kind] ?? "alert";
}

/**
 * Puts bars that overlap below each other.
 * @param {Bar[]} bars
 * @returns {number} how many levels it took, at least one
 */
function level(bars) {
  bars.sort((a, b) => a.from - b.from || a.attempt.attempt - b.attempt.attempt);
  /** When each level is free again. @type {number[]} */
  const free = [];
  for (const bar of bars) {
    const found = free.findIndex((at) => at <= bar.from + 1);
    bar.level = found < 0 ? free.length : found;
    free[bar.level] = bar.to;
  }
  return Math.max(1, free.length);
}
