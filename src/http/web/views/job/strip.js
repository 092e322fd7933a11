/**
 * The film as a strip of shards, as wide as they are long, in as many rows as
 * keep each of them big enough to be met. Colour is the state, the line below it
 * the node. One of them has the focus; arrows move it.
 */

import { h, replace, setAttribute, setText } from "../../lib/dom.js";
import { plural } from "../../lib/format.js";
import { hue, nodeName, nodeTag, shortName } from "../nodes.js";
import { secondsAt } from "./clock.js";
import { ended } from "./data.js";
import { filmTime, stateWords, taskName } from "./words.js";

/** @typedef {import("./data.js").Task} Task */
/** @typedef {import("./clock.js").FilmClock} FilmClock */

/** A shard's mean width in pixels: so that it can be met, and so that its node's name fits. */
const CELL_WIDTH = 11;
const CELL_WIDTH_PHONE = 5;
const LABEL_WIDTH = 28;
const PHONE = 600;

/** The strip. */
export class Strip {
  /**
   * @param {(key: string | null, how: "hover" | "focus" | "choose") => void} choose
   */
  constructor(choose) {
    this.choose = choose;
    this.count = h("span", { class: "soft" });
    this.beside = h("div", { class: "beside" });
    const label = "Shards of the film; arrow keys go from one to the next";
    this.reel = h("div", { class: "reel", role: "group", "aria-label": label });
    this.node = h("div", { class: "strip" }, this.beside, this.reel);
    /** @private @type {Map<number, HTMLButtonElement>} */
    this.cells = new Map();
    /** @private @type {Map<string, HTMLButtonElement>} */
    this.others = new Map();
    /** @private */
    this.laidOut = "";
    /** The shard that the tabulator key comes to. @private */
    this.current = 0;
    /** @private @type {FilmClock | null} */
    this.clock = null;
    /** @private @type {string | null} */
    this.chosen = null;
    this.over = false;
    this.listen();
    this.resized = new ResizeObserver(() => this.clock && this.layOut(this.clock));
    this.resized.observe(this.reel);
  }

  close() {
    this.resized.disconnect();
  }

  /** @private */
  listen() {
    const keyAt = (/** @type {Event} */ event) => {
      const cell = /** @type {HTMLElement} */ (event.target).closest("[data-key]");
      return cell instanceof HTMLElement ? (cell.dataset.key ?? null) : null;
    };
    this.node.addEventListener("pointerover", (event) => this.choose(keyAt(event), "hover"));
    this.node.addEventListener("pointerleave", () => this.choose(null, "hover"));
    this.node.addEventListener("focusin", (event) => this.choose(keyAt(event), "focus"));
    this.node.addEventListener("click", (event) => {
      const key = keyAt(event);
      if (key) this.choose(key, "choose");
    });
    this.reel.addEventListener("keydown", (event) => this.keyed(event));
  }

  /**
   * @private
   * @param {KeyboardEvent} event
   */
  keyed(event) {
    const last = this.cells.size - 1;
    const rows = Math.max(1, this.reel.childElementCount);
    const row = Math.max(1, Math.round(this.cells.size / rows));
    /** @type {Record<string, number>} */
    const steps = {
      ArrowRight: this.current + 1,
      ArrowLeft: this.current - 1,
      ArrowDown: this.current + row,
      ArrowUp: this.current - row,
      Home: 0,
      End: last,
    };
    const wanted = steps[event.key];
    if (wanted === undefined || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    this.moveTo(Math.min(last, Math.max(0, wanted)));
    this.cells.get(this.current)?.focus();
  }

  /**
   * @private
   * @param {number} number
   */
  moveTo(number) {
    const former = this.cells.get(this.current);
    if (former) former.tabIndex = -1;
    this.current = number;
    const cell = this.cells.get(number);
    if (cell) cell.tabIndex = 0;
  }

  /**
   * Shows which task is chosen.
   * @param {string | null} key
   */
  mark(key) {
    if (key === this.chosen) return;
    this.chosen = key;
    for (const cell of [...this.cells.values(), ...this.others.values()]) {
      setAttribute(cell, "data-chosen", cell.dataset.key === key);
    }
    const [kind, number] = key?.split("/") ?? [];
    if (kind === "shard" && this.cells.has(Number(number))) this.moveTo(Number(number));
  }

  /**
   * @param {Task[]} tasks
   * @param {FilmClock} clock
   * @param {import("./data.js").Job} job
   */
  draw(tasks, clock, job) {
    const over = ended(job);
    this.clock = clock;
    this.over = over;
    this.layOut(clock);
    for (const task of clock.shards) this.drawShard(task);
    const others = tasks.filter((task) => task.kind !== "shard" && task.kind !== "probe");
    this.drawBeside(others);
    const seconds = secondsAt(clock, clock.first + clock.length);
    const length = seconds === null ? "" : ` over ${filmTime(seconds)}`;
    const shards = clock.shards.length;
    this.reel.hidden = shards === 0 && over;
    this.beside.hidden = others.length === 0 && over;
    const early = job.state === "uploading" || job.state === "analyzing";
    const none = early ? "not cut into shards yet" : over && tasks.length === 0 ? "its parts are not kept" : "no shards";
    setText(this.count, shards > 0 ? `${plural(shards, "shard")}${length}` : none);
  }

  /**
   * Makes rows and cells where the plan or the width has changed.
   * @private
   * @param {FilmClock} clock
   */
  layOut(clock) {
    const width = this.reel.clientWidth;
    const { shards } = clock;
    const least = width < PHONE ? CELL_WIDTH_PHONE : CELL_WIDTH;
    const rows = Math.max(1, Math.ceil((shards.length * least) / Math.max(1, width - 56)));
    const perCell = (width * rows) / Math.max(1, shards.length);
    const wanted = `${shards.length} ${clock.first} ${clock.length} ${clock.unit} ${rows}`;
    setAttribute(this.reel, "data-labels", perCell >= LABEL_WIDTH);
    if (wanted === this.laidOut) return;
    this.laidOut = wanted;
    const focused = this.reel.contains(document.activeElement);
    this.cells.clear();
    /** @type {HTMLElement[]} */
    const lines = Array.from({ length: rows }, () => h("div", { class: "cells" }));
    /** @type {(number | null)[]} */
    const starts = lines.map(() => null);
    for (const task of shards) {
      const middle = (task.from_pts + task.to_pts) / 2 - clock.first;
      const line = Math.min(rows - 1, Math.max(0, Math.floor((middle / clock.length) * rows)));
      starts[line] ??= secondsAt(clock, task.from_pts);
      lines[line].append(this.cell(task));
    }
    const times = starts.map((start) => h("span", { class: "at mono" }, filmTime(start)));
    const drawn = lines.map((line, number) => h("div", { class: "reel-row" }, times[number], line));
    replace(this.reel, shards.length > 0 ? drawn : null);
    for (const task of shards) this.drawShard(task);
    this.moveTo(Math.min(this.current, Math.max(0, shards.length - 1)));
    if (focused) this.cells.get(this.current)?.focus();
  }

  /**
   * @private
   * @param {Task} task
   */
  cell(task) {
    const key = `shard/${task.number}`;
    const cell = h("button", { type: "button", class: "shard", tabindex: "-1", data: { key } }, h("span"));
    cell.style.flexGrow = String(Math.max(1, task.to_pts - task.from_pts));
    if (key === this.chosen) cell.dataset.chosen = "";
    this.cells.set(task.number, cell);
    return cell;
  }

  /**
   * @private
   * @param {Task} task
   */
  drawShard(task) {
    const cell = this.cells.get(task.number);
    if (!cell) return;
    const state = task.state === "running" && this.over ? "stopped" : task.state;
    const node = task.state === "pending" ? null : task.node;
    const name = node ? nodeName(node) : "";
    const drawn = `${state} ${name} ${task.attempt} ${task.failures.length} ${this.over}`;
    if (cell.dataset.drawn === drawn) return;
    cell.dataset.drawn = drawn;
    setAttribute(cell, "data-state", state);
    setAttribute(cell, "data-hue", node ? hue(node) : null);
    const tried = task.failures.length > 0 || task.attempt > 1;
    setAttribute(cell, "data-tried", tried);
    const where = node ? ` on ${name}` : "";
    const again = tried ? ", tried more than once" : "";
    cell.setAttribute("aria-label", `${taskName(task)}: ${stateWords(task, this.over)}${where}${again}`);
    if (cell.firstChild) setText(cell.firstChild, node ? shortName(node) : "");
  }

  /**
   * Sound, extras, analysis and assembly.
   * @private
   * @param {Task[]} tasks
   */
  drawBeside(tasks) {
    const wanted = new Set(tasks.map((task) => `${task.kind}/${task.number}`));
    for (const [key, chip] of this.others) {
      if (wanted.has(key)) continue;
      chip.remove();
      this.others.delete(key);
    }
    const order = ["analyze", "audio", "extras", "assemble"];
    const sorted = tasks.toSorted((a, b) => order.indexOf(a.kind) - order.indexOf(b.kind) || a.number - b.number);
    for (const task of sorted) this.drawChip(task);
  }

  /**
   * @private
   * @param {Task} task
   */
  drawChip(task) {
    const key = `${task.kind}/${task.number}`;
    const known = this.others.get(key);
    const state = task.state === "running" && this.over ? "stopped" : task.state;
    const drawn = `${state} ${task.node && nodeName(task.node)} ${task.attempt} ${task.failures.length}`;
    if (known?.dataset.drawn === drawn) return;
    const tag = task.node && task.state !== "pending" ? nodeTag(task.node) : null;
    const words = h("span", { class: "chip-state" }, stateWords(task, this.over));
    const content = [h("span", { class: "chip-name" }, taskName(task)), words, tag];
    const chip = known ?? h("button", { type: "button", class: "chip", data: { key } });
    replace(chip, content);
    chip.dataset.drawn = drawn;
    setAttribute(chip, "data-state", state);
    setAttribute(chip, "data-tried", task.failures.length > 0 || task.attempt > 1);
    if (known) return;
    this.others.set(key, chip);
    this.beside.append(chip);
  }
}
