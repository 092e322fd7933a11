/** Uploads as a list: how far each is, what becomes of it, and what can be done with it. */

import { bytes, duration, percent, plural, rate } from "./format.js";
import { eachFrame, h, icon, name, replace, setAttribute, setText, visible } from "./dom.js";
import { picked } from "./dropped.js";
import { shareDone, shownState } from "./jobs.js";
import { problemBox, stateBadge } from "./shell.js";

/** @typedef {import("./uploads.js").Upload} Upload */

/** Speeds that change more often than this can't be read. */
const DRAW_MS = 250;

/** More rows than these are only counted. */
const ROWS_MAX = 100;
/** So many of them are sent already. */
const SENT_SHOWN = 20;

/** The list; it is hidden while there is none. */
export class UploadList {
  /** @param {import("../app.js").Context} ctx */
  constructor(ctx) {
    this.ctx = ctx;
    /** @type {Map<Upload, Row>} */
    this.rows = new Map();
    this.list = h("ul", { class: "uploads-list" });
    this.total = h("span", { class: "soft" });
    const clear = () => {
      for (const item of ctx.uploads.items.filter(({ state }) => state === "done")) ctx.uploads.forget(item);
    };
    this.clear = h("button", { class: "plain small", onclick: clear }, "Clear the finished");
    const head = h("div", { class: "head" }, h("h2", null, "Uploads"), h("span", { class: "grow" }), this.total, this.clear);
    this.rest = h("p", { class: "rest soft" });
    this.element = h("section", { class: "panel", "aria-label": "Uploads", hidden: true }, head, this.list, this.rest);
    this.frame = eachFrame(() => this.draw(), DRAW_MS);
    const end = ctx.uploads.onchange(this.frame.ask);
    const clock = setInterval(this.frame.ask, 1_000);
    this.close = () => {
      end();
      clearInterval(clock);
      this.frame.close();
    };
    this.draw();
  }

  /** Those that are shown: around the first that is not sent yet. @private */
  shown() {
    const { items } = this.ctx.uploads;
    const first = items.findIndex(({ state }) => state !== "done");
    const from = Math.min(first < 0 ? items.length : first - SENT_SHOWN, items.length - ROWS_MAX);
    return items.slice(Math.max(0, from)).slice(0, ROWS_MAX);
  }

  /** @private */
  draw() {
    const { items } = this.ctx.uploads;
    const shown = this.shown();
    for (const [item, row] of this.rows) {
      if (shown.includes(item)) continue;
      row.element.remove();
      this.rows.delete(item);
    }
    for (const item of shown) {
      const row = this.rows.get(item) ?? new Row(item, this.ctx);
      if (!this.rows.has(item)) this.list.append(row.element);
      this.rows.set(item, row);
      row.draw();
    }
    const hidden = items.length - shown.length;
    setText(this.rest, hidden > 0 ? `and ${plural(hidden, "more film")}` : "");
    this.element.hidden = items.length === 0;
    this.clear.hidden = !items.some(({ state }) => state === "done");
    const { moving, sent, bytes: all, speed, etaS } = this.ctx.uploads.summary();
    const said = [`${bytes(sent)} of ${bytes(all)}`, rate(speed, "bytes"), `${duration(etaS)} left`].join(" · ");
    setText(this.total, moving > 0 ? said : plural(items.length, "file"));
  }
}

class Row {
  /**
   * @param {Upload} item
   * @param {import("../app.js").Context} ctx
   */
  constructor(item, ctx) {
    this.item = item;
    this.ctx = ctx;
    this.drawn = "";
    this.bar = h("div", { class: "bar", role: "progressbar", "aria-label": `Sent of ${visible(item.name)}`, "aria-valuemin": 0, "aria-valuemax": 100 });
    this.title = h("div", { class: "title" });
    this.said = h("span", { class: "said num soft" });
    this.buttons = h("span", { class: "row buttons" });
    this.more = h("div", { class: "more" });
    this.element = h("li", { class: "upload" }, this.title, this.said, this.buttons, this.bar, this.more);
  }

  draw() {
    const { item } = this;
    const sent = item.bytes > 0 ? item.sent / item.bytes : 0;
    const share = item.state === "done" ? (item.job ? (shareDone(item.job) ?? 0) : 1) : sent;
    this.bar.style.setProperty("--share", share.toFixed(4));
    setAttribute(this.bar, "aria-valuenow", Math.floor(share * 100));
    setAttribute(this.bar, "data-state", this.tone());
    setText(this.said, this.words(share));
    setAttribute(this.said, "title", item.trouble || null);
    const shape = `${item.state} ${item.id} ${item.problem?.cause} ${item.job?.state}`;
    if (shape === this.drawn) return;
    this.drawn = shape;
    setAttribute(this.element, "data-upload", item.state);
    const called = name(item.name);
    const state = item.state === "done" && item.job && stateBadge(shownState(item.job));
    replace(this.title, item.id ? h("a", { href: `#/jobs/${item.id}` }, called) : called, state);
    this.drawButtons();
    this.drawMore();
  }

  /** Whose colour the bar has. @private */
  tone() {
    const { item } = this;
    if (item.state === "failed") return "failed";
    return item.state === "done" && item.job ? item.job.state : "uploading";
  }

  /** @private @param {number} share */
  words(share) {
    const { item } = this;
    const size = bytes(item.bytes);
    switch (item.state) {
      case "sending":
        if (item.trouble) return `${percent(share)} of ${size} · tries again`;
        return `${percent(share)} of ${size} · ${rate(item.speed, "bytes")} · ${duration(item.etaS)}`;
      case "done":
        return this.jobWords(share);
      case "asleep":
        return `${percent(share)} of ${size} · broken off`;
      default:
        return `${percent(share)} of ${size} · ${item.state}`;
    }
  }

  /** What became of a film that is sent. @private @param {number} share */
  jobWords(share) {
    const { job, bytes: size } = this.item;
    if (job?.state === "succeeded") return `${bytes(size)} → ${bytes(job.output_bytes)}`;
    if (!job?.frames_total || job.state !== "encoding") return `${bytes(size)} sent`;
    const words = [
      percent(share),
      job.speed && rate(job.speed, "fps"),
      typeof job.eta_s === "number" && `${duration(job.eta_s)} left`,
      job.estimated_output_bytes && `≈ ${bytes(job.estimated_output_bytes)}`,
    ];
    return words.filter(Boolean).join(" · ");
  }

  /** @private */
  drawButtons() {
    const { item, ctx } = this;
    const { uploads } = ctx;
    const called = visible(item.name);
    const button = (/** @type {Parameters<typeof icon>[0]} */ which, /** @type {string} */ word, /** @type {() => void} */ act) =>
      h("button", { class: "plain small square", title: word, "aria-label": `${word} ${called}`, onclick: act }, icon(which));
    const moves = ["sending", "waiting"].includes(item.state);
    const rests = ["paused", "failed"].includes(item.state) && item.file;
    replace(
      this.buttons,
      moves && button("pause", "Pause", () => uploads.pause(item)),
      rests && button("play", "Go on with", () => uploads.resume(item)),
      item.job?.state === "succeeded" &&
        h("a", { class: "button plain small square", href: `#/jobs/${item.id}/play`, title: "Play", "aria-label": `Play ${called}` }, icon("play")),
      item.state === "done"
        ? button("cross", "Take from this list", () => uploads.forget(item))
        : button("cross", "Cancel", () => void uploads.cancel(item).catch(ctx.problem)),
    );
  }

  /** @private */
  drawMore() {
    const { item, ctx } = this;
    const problem = item.problem ?? (item.state === "done" ? item.job?.problem : null);
    if (problem) {
      replace(this.more, problemBox(problem));
    } else if (item.state === "asleep" && item.handle) {
      const go = () => void ctx.uploads.wakeByHandle(item).catch(ctx.problem);
      replace(this.more, h("button", { class: "small", onclick: go }, "Go on"), h("span", { class: "soft" }, "The browser asks whether it may read the file again."));
    } else if (item.state === "asleep") {
      const input = h("input", { type: "file", hidden: true, onchange: () => this.given(input) });
      const choose = h("button", { class: "small", onclick: () => input.click() }, "Choose the file");
      replace(this.more, choose, input, h("span", { class: "soft" }, "Or drop it here: what is sent already stays."));
    } else {
      replace(this.more);
    }
  }

  /** @private @param {HTMLInputElement} input */
  given(input) {
    const [one] = picked(/** @type {FileList} */ (input.files)).found;
    input.value = "";
    if (!one) return;
    if (this.item.isOf(one.file)) this.ctx.uploads.wake(this.item, one.file);
    else this.ctx.notice(`That is another file: this upload is of ${this.item.name}, ${bytes(this.item.bytes)}.`, "bad");
  }
}
