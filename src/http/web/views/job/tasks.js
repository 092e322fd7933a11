/** All tasks as a table, a page of them at a time. */

import { h, replace, setText } from "../../lib/dom.js";
import { time } from "../../lib/format.js";
import { nodeName, nodeTag } from "../nodes.js";
import { secondsAt } from "./clock.js";
import { ended, keyOf } from "./data.js";
import { filmTime, sizes, stateWords, taskName, took, tookMs } from "./words.js";

/** @typedef {import("./data.js").JobData} JobData */
/** @typedef {import("./data.js").Task} Task */
/** @typedef {import("./clock.js").FilmClock} FilmClock */

const ROWS_MAX = 50;
const HEADS = ["Task", "State", "Node", "Film", "Attempt", "Took", "Bytes", "Started"];

/** The table. */
export class TaskTable {
  /**
   * @param {JobData} data
   * @param {(key: string | null, how: "hover" | "focus" | "choose") => void} choose
   */
  constructor(data, choose) {
    this.data = data;
    this.choose = choose;
    this.from = 0;
    this.body = h("tbody");
    this.place = h("span", { class: "soft grow" });
    this.back = h("button", { type: "button", class: "small", onclick: () => this.turn(-ROWS_MAX) }, "Earlier");
    this.on = h("button", { type: "button", class: "small", onclick: () => this.turn(ROWS_MAX) }, "Later");
    const heads = HEADS.map((head) => h("th", { scope: "col" }, head));
    this.node = h(
      "div",
      { class: "tasks" },
      h("table", { class: "cards" }, h("caption", { class: "unseen" }, "Tasks of this job"), h("thead", null, h("tr", null, heads)), this.body),
      h("div", { class: "row pages" }, this.place, this.back, this.on),
    );
    /** Whether anybody looks. */
    this.open = false;
    this.drawn = "";
  }

  /**
   * @private
   * @param {number} by
   */
  turn(by) {
    this.from = Math.max(0, this.from + by);
    if (this.clock) this.draw(this.clock);
  }

  /** @type {FilmClock | null} */
  clock = null;

  /** @param {FilmClock} clock */
  draw(clock) {
    this.clock = clock;
    if (!this.open) return;
    const { tasks } = this.data;
    if (this.from >= tasks.length) this.from = Math.max(0, Math.floor((tasks.length - 1) / ROWS_MAX) * ROWS_MAX);
    const page = tasks.slice(this.from, this.from + ROWS_MAX);
    const second = page.some((task) => task.state === "running") ? Math.floor(Date.now() / 1000) : 0;
    const drawn = `${second} ${clock.unit} ${this.data.job?.state} ${page.map((it) => `${keyOf(it)}${it.state}${it.attempt}${it.node && nodeName(it.node)}`)}`;
    if (drawn === this.drawn) return;
    this.drawn = drawn;
    const held = document.activeElement instanceof HTMLElement && this.body.contains(document.activeElement) ? document.activeElement.dataset.key : null;
    replace(this.body, page.map((task) => this.row(task, clock)));
    if (held) this.body.querySelector(`[data-key="${held}"]`)?.querySelector("button")?.focus();
    setText(this.place, `${tasks.length === 0 ? 0 : this.from + 1} to ${this.from + page.length} of ${tasks.length}`);
    this.back.disabled = this.from === 0;
    this.on.disabled = this.from + ROWS_MAX >= tasks.length;
  }

  /**
   * @private
   * @param {Task} task
   * @param {FilmClock} clock
   */
  row(task, clock) {
    const key = keyOf(task);
    const [from, to] = [secondsAt(clock, task.from_pts), secondsAt(clock, task.to_pts)];
    const film = task.kind === "shard" ? `${filmTime(from)} – ${filmTime(to)}` : "";
    const onclick = () => this.choose(key, "choose");
    const cell = (/** @type {number} */ at, /** @type {any} */ content) => h("td", { data: { label: HEADS[at] } }, content);
    return h(
      "tr",
      null,
      cell(0, h("button", { type: "button", class: "plain small", data: { key }, onclick }, taskName(task))),
      cell(1, h("span", { class: "chip-state", data: { state: task.state } }, stateWords(task, ended(this.data.job)))),
      cell(2, task.node && task.state !== "pending" ? nodeTag(task.node) : "–"),
      cell(3, film || "–"),
      cell(4, task.attempt || "–"),
      cell(5, took(tookMs(task))),
      cell(6, sizes(task)),
      cell(7, task.started_unix_ms ? time(task.started_unix_ms) : "–"),
    );
  }
}
