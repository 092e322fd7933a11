/**
 * The current frames of running shards. A node makes one picture at a time, so
 * they are asked for one after the other, and only while they are looked at.
 */

import { h, replace, setText } from "../../lib/dom.js";
import { Problem, pause } from "../../lib/api.js";
import { nodeTag, setNodeTag } from "../nodes.js";
import { secondsAt } from "./clock.js";
import { ended, keyOf } from "./data.js";
import { filmTime, taskName } from "./words.js";

/** @typedef {import("./data.js").JobData} JobData */
/** @typedef {import("./data.js").Task} Task */
/** @typedef {import("./clock.js").FilmClock} FilmClock */

const SHOWN_MAX = 4;
const WIDTH = 320;
const REST_MS = 1_500;
/** After a refusal, the node has better things to do. */
const REFUSED_MS = 6_000;
const REFUSALS_MAX = 5;
/** What is shown of a shard whose speed nobody knows yet. */
const SHARE_GUESSED = 0.3;

/** The pictures. */
export class Pictures {
  /**
   * @param {import("../../app.js").Context} ctx
   * @param {JobData} data
   */
  constructor(ctx, data) {
    this.ctx = ctx;
    this.data = data;
    this.grid = h("div", { class: "pictures" });
    this.words = h("p", { class: "soft" });
    this.node = h(
      "section",
      { class: "panel", "aria-label": "Now encoding" },
      h("div", { class: "head" }, h("h2", { class: "grow" }, "Now encoding"), this.words),
      h("div", { class: "body" }, this.grid),
    );
    /** @type {{ task: Task | null, node: HTMLElement, image: HTMLImageElement, none: HTMLElement, label: HTMLElement, tag: HTMLElement, url: string }[]} */
    this.frames = [];
    /** @type {FilmClock | null} */
    this.clock = null;
    this.refusals = 0;
    this.visible = false;
    this.watched = new IntersectionObserver((seen) => {
      this.visible = seen.at(-1)?.isIntersecting ?? false;
    });
    this.watched.observe(this.node);
    for (let at = 0; at < SHOWN_MAX; at++) this.frames.push(frame());
    void this.run(data.abort.signal);
  }

  close() {
    this.watched.disconnect();
    for (const shown of this.frames) if (shown.url) URL.revokeObjectURL(shown.url);
  }

  /** @param {FilmClock} clock */
  draw(clock) {
    this.clock = clock;
    const { job } = this.data;
    const running = clock.shards.filter((task) => task.state === "running");
    const over = ended(job) || clock.shards.every((task) => task.state === "done");
    this.node.hidden = over || this.refusals >= REFUSALS_MAX;
    if (this.node.hidden) return;
    this.place(running);
    const shown = this.frames.filter((it) => it.task !== null).map((it) => it.node);
    if (this.grid.childElementCount !== shown.length) replace(this.grid, shown);
    const more = running.length - shown.length;
    const none = shown.length === 0 ? "no shard runs at this moment" : "";
    setText(this.words, more > 0 ? `and ${more} more` : none);
  }

  /**
   * Keeps a shard in its place while it runs, so that pictures don't wander.
   * @private
   * @param {Task[]} running
   */
  place(running) {
    const byKey = new Map(running.map((task) => [keyOf(task), task]));
    for (const shown of this.frames) {
      const now = shown.task && byKey.get(keyOf(shown.task));
      if (now) byKey.delete(keyOf(now));
      shown.task = now || null;
    }
    const rest = [...byKey.values()];
    const wanted = Math.min(SHOWN_MAX, running.length);
    for (const shown of this.frames.slice(0, wanted)) {
      if (shown.task) continue;
      shown.task = rest.shift() ?? null;
      shown.image.hidden = true;
      shown.none.hidden = false;
    }
    for (const shown of this.frames) {
      if (!shown.task || !this.clock) continue;
      setText(shown.label, `${taskName(shown.task)} · ${filmTime(this.at(shown.task))}`);
      setNodeTag(shown.tag, shown.task.node);
    }
  }

  /**
   * Where in the film a running shard is, as its like took so long.
   * @private
   * @param {Task} task
   * @returns {number | null} seconds
   */
  at(task) {
    const clock = this.clock;
    if (!clock || clock.unit === null) return null;
    const share = this.shareDone(task, clock);
    return secondsAt(clock, task.from_pts + share * (task.to_pts - task.from_pts));
  }

  /**
   * @private
   * @param {Task} task
   * @param {FilmClock} clock
   */
  shareDone(task, clock) {
    let [ms, frames] = [0, 0];
    for (const done of clock.shards) {
      if (done.state !== "done" || !done.started_unix_ms || !done.ended_unix_ms) continue;
      ms += done.ended_unix_ms - done.started_unix_ms;
      frames += done.frames;
    }
    if (frames === 0 || task.frames === 0) return SHARE_GUESSED;
    const expected = (ms / frames) * task.frames;
    return Math.min(0.95, Math.max(0, (Date.now() - (task.started_unix_ms ?? Date.now())) / expected));
  }

  /**
   * @private
   * @param {AbortSignal} signal
   */
  async run(signal) {
    for (let turn = 0; !signal.aborted; turn = (turn + 1) % SHOWN_MAX) {
      const shown = this.frames[turn];
      let rest = REST_MS / SHOWN_MAX;
      if (shown.task && this.visible && !document.hidden && this.refusals < REFUSALS_MAX) {
        rest = await this.load(shown, shown.task, signal);
      }
      await pause(rest, signal).catch(() => undefined);
    }
  }

  /**
   * @private
   * @param {{ task: Task | null, image: HTMLImageElement, none: HTMLElement, url: string }} shown
   * @param {Task} task
   * @param {AbortSignal} signal
   * @returns {Promise<number>} how long to rest
   */
  async load(shown, task, signal) {
    const seconds = this.at(task);
    if (seconds === null) return REST_MS;
    try {
      const query = { at_ms: Math.round(seconds * 1000), width: WIDTH };
      const path = `${this.data.path}/picture`;
      // Who is refused here comes again in its turn.
      const options = { signal, query, repeatable: false };
      const response = await this.ctx.api.fetch("GET", path, undefined, options);
      const url = URL.createObjectURL(await response.blob());
      if (shown.task && keyOf(shown.task) === keyOf(task)) this.put(shown, task, url);
      else URL.revokeObjectURL(url);
      this.refusals = 0;
      return REST_MS;
    } catch (error) {
      if (signal.aborted) return 0;
      const status = error instanceof Problem ? error.status : 0;
      const passing = status === 0 || status >= 500 || status === 429;
      if (!passing) this.refusals += 1;
      setText(shown.none, passing ? "the nodes are busy" : "no picture to be had");
      return passing ? REST_MS : REFUSED_MS;
    }
  }

  /**
   * @private
   * @param {{ image: HTMLImageElement, none: HTMLElement, url: string }} shown
   * @param {Task} task
   * @param {string} url
   */
  put(shown, task, url) {
    const former = shown.url;
    shown.url = url;
    shown.image.src = url;
    shown.image.alt = `A frame of ${taskName(task)}`;
    shown.image.hidden = false;
    shown.none.hidden = true;
    if (former) URL.revokeObjectURL(former);
  }
}

function frame() {
  const image = h("img", { alt: "", hidden: true });
  const none = h("span", { class: "none" }, "a picture is being made");
  const label = h("figcaption", null);
  const text = h("span", { class: "grow mono" });
  const tag = nodeTag(null);
  label.append(text, tag);
  const node = h("figure", null, h("div", { class: "frame" }, image, none), label);
  return { task: null, node, image, none, label: text, tag, url: "" };
}
