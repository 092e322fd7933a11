/**
 * Plays a job's result beside its source. The cluster keeps no source once a job
 * has succeeded: it is the person's own file, which never leaves this browser.
 */

import { pause } from "../lib/api.js";
import { eachFrame, h, icon, name, replace, setText } from "../lib/dom.js";
import { problemBox, stateBadge } from "../lib/shell.js";
import { filmClock, frameRate, pictureOf } from "./job/clock.js";
import { JobData } from "./job/data.js";
import { bitRate, codecWords, resolution } from "./job/metadata.js";
import { download, outputUrl } from "./job/output.js";
import { Pictures } from "./job/pictures.js";
import { Controls } from "./play/controls.js";
import { Parts, holeAt, madeOf } from "./play/parts.js";
import { Stage } from "./play/stage.js";
import { Sync } from "./play/sync.js";

/** A node may go, a link may end: so often the result is asked for again. */
const RETRIES_MAX = 6;
const RETRY_MS = 1_000;
/** A node that gives nothing for so long while it is waited for is left. */
const STALL_MS_MAX = 8_000;

/**
 * @param {HTMLElement} root
 * @param {import("../app.js").Context} ctx
 * @param {import("../app.js").Params} params
 */
export function open(root, ctx, params) {
  const view = new PlayView(root, ctx, params.id ?? "");
  return { close: () => view.close() };
}

class PlayView {
  /**
   * @param {HTMLElement} root
   * @param {import("../app.js").Context} ctx
   * @param {string} id
   */
  constructor(root, ctx, id) {
    this.ctx = ctx;
    this.frame = eachFrame(() => this.draw());
    this.data = new JobData(ctx, id, () => this.frame.ask());
    this.stage = new Stage();
    this.sync = new Sync(this.stage.result, this.stage.source);
    this.controls = new Controls(this.sync, this.stage);
    /** How the result is played: not yet, by its parts, or whole. @type {"" | "parts" | "whole"} */
    this.how = "";
    /** @type {Parts | null} */
    this.parts = null;
    /** @type {Pictures | null} */
    this.pictures = null;
    this.retries = 0;
    /** Where it failed last, in seconds. */
    this.failedAt = 0;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.stall = undefined;
    this.sourceUrl = "";
    this.abort = new AbortController();
    this.makeHead(root, id);
    this.listen(root);
    this.drawn = "";
    this.frame.ask();
  }

  close() {
    this.abort.abort();
    clearTimeout(this.stall);
    this.frame.close();
    this.sync.close();
    this.parts?.close();
    this.pictures?.close();
    this.stage.close();
    this.data.close();
    if (this.sourceUrl) URL.revokeObjectURL(this.sourceUrl);
  }

  /**
   * @private
   * @param {HTMLElement} root
   * @param {string} id
   */
  makeHead(root, id) {
    this.title = h("h1", null, "…");
    this.state = h("span");
    this.words = h("p", { class: "soft play-words" });
    this.file = h("input", { type: "file", accept: "video/*,.mkv,.mxf,.ts,.m2ts", class: "unseen", tabindex: "-1", "aria-label": "The source's file" });
    this.file.addEventListener("change", () => this.takeFile(this.file?.files?.[0]));
    const choose = h("button", { type: "button", onclick: () => this.file?.click() }, icon("film"), "Compare with a source file");
    this.save = h("button", { type: "button", class: "primary", hidden: true, onclick: () => this.download() }, icon("down"), "Download");
    const back = { class: "button", href: `#/jobs/${encodeURIComponent(id)}` };
    this.actions = h("div", { class: "actions" }, h("a", back, "The job"), choose, this.file, this.save);
    this.problem = h("div", { hidden: true });
    const head = h("div", { class: "lead" }, h("div", { class: "grow" }, h("div", { class: "row title" }, this.title, this.state), this.words), this.actions);
    const player = h("div", { class: "player" }, this.stage.node, this.controls.node);
    this.note = h("p", { class: "soft play-note" });
    this.page = h("div", { class: "stack play-page" }, this.problem, head, player, this.note);
    replace(root, this.page);
  }

  /**
   * @private
   * @param {HTMLElement} root
   */
  listen(root) {
    const { signal } = this.abort;
    const { result, source } = this.stage;
    const ask = () => this.frame.ask();
    document.addEventListener("keydown", (event) => this.controls.key(event) && event.preventDefault(), { signal });
    for (const event of ["timeupdate", "play", "pause", "seeked", "progress", "durationchange", "waiting"]) {
      result.addEventListener(event, ask, { signal });
    }
    result.addEventListener("error", () => this.resultFailed(), { signal });
    result.addEventListener("waiting", () => this.watchStall(), { signal });
    result.addEventListener("loadedmetadata", () => this.resultLoaded(), { signal });
    source.addEventListener("error", () => this.sourceFailed(), { signal });
    source.addEventListener("loadedmetadata", () => this.sourceLoaded(), { signal });
    // A file that is dropped here is the source, and no new job.
    root.addEventListener("dragover", (event) => event.preventDefault(), { signal });
    root.addEventListener(
      "drop",
      (event) => {
        const file = event.dataTransfer?.files[0];
        if (!file) return;
        event.preventDefault();
        event.stopPropagation();
        document.documentElement.removeAttribute("data-dragging");
        this.takeFile(file);
      },
      { signal },
    );
    for (const event of ["dragenter", "dragleave"]) {
      root.addEventListener(event, (drag) => drag.stopPropagation(), { signal });
    }
    const tick = () => {
      if (signal.aborted) return;
      if (!result.paused) this.frame.ask();
      requestAnimationFrame(tick);
    };
    tick();
  }

  /** @private */
  async download() {
    const { job } = this.data;
    try {
      if (job) await download(this.ctx.api, job);
    } catch (error) {
      this.ctx.problem(error);
    }
  }

  /** @private */
  draw() {
    const { data } = this;
    const { job, problem } = data;
    if (this.problem) {
      this.problem.hidden = !problem;
      replace(this.problem, problem ? problemBox(problem) : null);
    }
    if (!job) return;
    this.drawHead();
    const clock = filmClock(data.tasks, data.metadata);
    const picture = pictureOf(data.metadata?.output) ?? pictureOf(data.metadata?.source);
    this.sync.fps = frameRate(picture) ?? this.sync.fps;
    if (job.state === "succeeded") this.playWhole();
    else if (job.state === "encoding" || job.state === "assembling") this.playParts(clock);
    else if (this.how === "") this.stage.say(this.nothingYet());
    this.parts?.draw(clock);
    this.sayNote();
    this.controls.draw(this.how === "parts" ? madeOf(clock) : []);
    this.pictures?.draw(clock);
    this.drawHole(clock);
  }

  /** @private */
  drawHead() {
    const { job, metadata } = this.data;
    if (!job || !this.title || !this.state || !this.save || !this.words) return;
    const drawn = `${job.state} ${job.source_name} ${Boolean(metadata?.output)} ${Boolean(metadata?.source)}`;
    if (drawn === this.drawn) return;
    this.drawn = drawn;
    replace(this.title, name(job.source_name, "a film without a name"));
    replace(this.state, stateBadge(job.state));
    this.save.hidden = job.state !== "succeeded";
    const words = (/** @type {any} */ probed) => {
      const picture = pictureOf(probed);
      return [codecWords(picture), resolution(picture), bitRate(probed.format?.bit_rate)].join(" · ");
    };
    const source = metadata?.source ? words(metadata.source) : "";
    const output = metadata?.output ? words(metadata.output) : "";
    const said = [source && `Source: ${source}`, output && `Result: ${output}`];
    replace(this.words, said.map((text) => text && h("span", null, text)));
    this.takeHeld();
  }

  /** Takes the file that this page still holds from its upload. @private */
  takeHeld() {
    if (this.sourceUrl) return;
    const held = this.ctx.uploads.items.find((item) => item.id === this.data.id && item.file);
    if (held?.file) this.takeFile(held.file);
    else this.sayNote();
  }

  /** @private */
  nothingYet() {
    const state = this.data.job?.state;
    if (state === "failed" || state === "cancelled" || state === "deleted") return `There is no result: the job is ${state}.`;
    return "There is nothing to see yet. Finished parts are shown here as soon as there are any.";
  }

  /** @private */
  sayNote() {
    if (!this.note) return;
    const compared = this.controls.compared;
    const source = compared
      ? "The source is your own file. It stays in this browser."
      : "To compare, choose the source's file or drop it here. The cluster does not keep sources of finished jobs; the file stays in this browser.";
    const mute = this.parts?.soundRefused ? " Its sound is of a kind that plays once the whole file is there." : "";
    const parts = this.how === "parts" ? ` Only finished parts can be played while the job runs, and there is no live stream yet.${mute}` : "";
    setText(this.note, source + parts);
  }

  /** @private */
  playWhole() {
    if (this.how === "whole") return;
    const at = this.how === "parts" ? this.stage.result.currentTime : 0;
    const playing = this.sync.playing;
    this.parts?.close();
    this.parts = null;
    this.how = "whole";
    this.stage.say(null);
    this.sayNote();
    void this.load(at, playing);
  }

  /**
   * @private
   * @param {number} at seconds
   * @param {boolean} playing
   */
  async load(at, playing) {
    try {
      const url = await outputUrl(this.ctx.api, this.data.id, this.abort.signal);
      if (this.abort.signal.aborted) return;
      this.stage.result.src = url;
      if (at > 0) this.stage.result.currentTime = at;
      if (playing) void this.sync.play();
    } catch (error) {
      if (!this.abort.signal.aborted) this.ctx.problem(error);
    }
  }

  /**
   * @private
   * @param {import("./job/clock.js").FilmClock} clock
   */
  playParts(clock) {
    const { result } = this.stage;
    const begins = this.how === "" && clock.unit !== null && clock.shards.some((task) => task.state === "done");
    if (!begins && !this.parts?.lacksSound) {
      if (this.how === "") this.stage.say(this.nothingYet());
      return;
    }
    const [at, playing] = [this.how === "parts" ? result.currentTime : 0, this.sync.playing];
    this.parts?.close();
    this.how = "parts";
    this.stage.say(null);
    const unplayable = (/** @type {string} */ type) => this.showPictures(type);
    this.parts = new Parts(this.ctx, this.data, result, at, unplayable);
    if (playing) void this.sync.play();
    this.sayNote();
  }

  /**
   * Parts that this browser can't play: it says so.
   * @private
   * @param {string} type
   */
  showPictures(type) {
    const codec = /codecs="([^"]+)"/.exec(type)?.[1];
    const spec = String(this.data.job?.spec?.codec ?? "").toUpperCase();
    const what = `This browser can't play ${spec || "this codec"}${codec ? ` (${codec})` : ""}, so the finished parts can't be shown.`;
    const instead = "Below are pictures of what is being encoded; the file can be downloaded once it is done.";
    this.stage.say(h("div", null, h("p", null, what), h("p", null, instead)));
    this.pictures = new Pictures(this.ctx, this.data);
    this.page?.append(this.pictures.node);
  }

  /**
   * Says why the picture stands still where a part is missing.
   * @private
   * @param {import("./job/clock.js").FilmClock} clock
   */
  drawHole(clock) {
    const { result } = this.stage;
    if (this.how !== "parts" || !this.parts?.begun) return;
    const stands = result.readyState < HTMLMediaElement.HAVE_FUTURE_DATA;
    const hole = stands ? holeAt(clock, result.currentTime) : null;
    if (!hole) {
      this.stage.say(null);
      return;
    }
    const { at, next: to } = hole;
    const words = h("p", null, `Shard ${at.number} is ${at.state === "running" ? "being made" : "not made yet"}.`);
    const key = `${at.number} ${at.state} ${to}`;
    if (this.stage.message.dataset.hole === key && !this.stage.message.hidden) return;
    this.stage.message.dataset.hole = key;
    const onclick = () => to !== null && this.sync.seek(to + 0.02);
    const skip = to !== null ? h("button", { type: "button", onclick }, "To the next finished part") : null;
    this.stage.say(h("div", null, words, skip));
  }

  /** @private */
  resultLoaded() {
    const { videoWidth } = this.stage.result;
    if (this.how === "whole" && videoWidth === 0 && pictureOf(this.data.metadata?.output)) this.cantPlay();
  }

  /** @private */
  async resultFailed() {
    const { error } = this.stage.result;
    if (this.how !== "whole" || !error) return;
    const unsupported = error.code === MediaError.MEDIA_ERR_SRC_NOT_SUPPORTED || error.code === MediaError.MEDIA_ERR_DECODE;
    const { currentTime } = this.stage.result;
    // One that breaks at the same place each time is not asked for for ever.
    if (Math.abs(currentTime - this.failedAt) > 1) this.retries = 0;
    this.failedAt = currentTime;
    if (unsupported && (await this.reachable())) return this.cantPlay();
    if (this.retries >= RETRIES_MAX) return this.cantReach();
    this.retries += 1;
    const [at, playing] = [currentTime, this.sync.playing];
    await pause(RETRY_MS * this.retries, this.abort.signal).catch(() => undefined);
    if (!this.abort.signal.aborted) await this.load(at, playing);
  }

  /** Asks another node where one has fallen silent in the middle of the file. @private */
  watchStall() {
    clearTimeout(this.stall);
    this.stall = setTimeout(() => {
      const { result } = this.stage;
      const stands = !result.paused && result.readyState < HTMLMediaElement.HAVE_FUTURE_DATA;
      if (this.how === "whole" && stands) void this.load(result.currentTime, true);
    }, STALL_MS_MAX);
  }

  /** Whether the file is there, so that it is the browser that can't play it. @private */
  async reachable() {
    try {
      const url = await outputUrl(this.ctx.api, this.data.id, this.abort.signal);
      const answer = await fetch(url, { headers: { range: "bytes=0-0" }, signal: this.abort.signal, credentials: "omit" });
      return answer.ok;
    } catch {
      return false;
    }
  }

  /** @private */
  cantPlay() {
    const probed = this.data.metadata?.output;
    const codec = probed ? codecWords(pictureOf(probed)) : String(this.data.job?.spec?.codec ?? "").toUpperCase();
    const container = this.data.job?.spec?.container ?? "";
    const onclick = () => void this.download();
    const words = h("p", null, `This browser can't play ${codec} in ${container}.`);
    this.stage.say(h("div", null, words, h("button", { type: "button", class: "primary", onclick }, icon("down"), "Download it instead")));
  }

  /** @private */
  cantReach() {
    const onclick = () => {
      this.retries = 0;
      this.stage.say(null);
      void this.load(this.failedAt, false);
    };
    const words = h("p", null, "No node gives this file now, or it breaks off here each time.");
    this.stage.say(h("div", null, words, h("button", { type: "button", class: "primary", onclick }, icon("again"), "Try again")));
  }

  /** @private @param {File | undefined} file */
  takeFile(file) {
    if (!file) return;
    if (this.sourceUrl) URL.revokeObjectURL(this.sourceUrl);
    this.sourceUrl = URL.createObjectURL(file);
    this.stage.source.src = this.sourceUrl;
    const { job } = this.data;
    if (job?.source_bytes && file.size !== job.source_bytes) {
      this.ctx.notice(`${file.name} has another size than the job's source; it may be another film.`, "info");
    }
  }

  /** @private */
  sourceLoaded() {
    if (this.stage.source.videoWidth === 0) {
      this.sourceFailed();
      return;
    }
    this.controls.setCompared(true);
    this.sayNote();
    this.frame.ask();
  }

  /** @private */
  sourceFailed() {
    if (!this.sourceUrl) return;
    URL.revokeObjectURL(this.sourceUrl);
    this.sourceUrl = "";
    const probed = this.data.metadata?.source;
    const codec = probed ? codecWords(pictureOf(probed)) : "this file";
    this.ctx.notice(`This browser can't play the source (${codec}); the result is shown alone.`, "bad");
    this.controls.setCompared(false);
  }
}
