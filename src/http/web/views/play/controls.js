/** What the films are played with: buttons, a line of time, keys. */

import { h, icon, replace, setAttribute, setText } from "../../lib/dom.js";
import { count, duration } from "../../lib/format.js";
import { filmTime } from "../job/words.js";
import { ZOOMS } from "./stage.js";

/** @typedef {import("./sync.js").Sync} Sync */
/** @typedef {import("./stage.js").Stage} Stage */
/** @typedef {import("./stage.js").Mode} Mode */
/** @typedef {{ from: number, to: number }} Range in seconds */

const JUMP_S = 5;
const VOLUME_STEP = 0.1;
const SPEEDS = [0.1, 0.25, 0.5, 1, 1.5, 2];
/** @type {[Mode, string, string][]} */
const MODES = [
  ["wipe", "Wipe", "1"],
  ["side", "Side by side", "2"],
  ["difference", "Difference", "3"],
  ["result", "Result", "4"],
  ["source", "Source", "5"],
];
const KEYS = [
  ["Space", "play, pause"],
  ["← →", "5 seconds"],
  [", .", "one frame"],
  ["↑ ↓", "volume"],
  ["m", "sound off, on"],
  ["z", "larger; drag or Shift and arrows move it"],
  ["1 to 5", "wipe, side by side, difference, result, source"],
  ["[ ]", "source a frame earlier, later"],
  ["f", "whole screen"],
];

/** The controls. */
export class Controls {
  /**
   * @param {Sync} sync
   * @param {Stage} stage
   */
  constructor(sync, stage) {
    this.sync = sync;
    this.stage = stage;
    this.play = this.button("play", "Play", () => sync.toggle(), "primary");
    this.time = h("span", { class: "time mono" });
    this.frame = h("span", { class: "frame-number mono soft" });
    this.seek = h("input", {
      type: "range",
      class: "seek",
      min: "0",
      max: "1000",
      value: "0",
      step: "any",
      "aria-label": "Time",
      oninput: () => this.sought(),
    });
    this.volume = h("input", {
      type: "range",
      class: "volume",
      min: "0",
      max: "1",
      step: "0.05",
      value: "1",
      "aria-label": "Volume",
      oninput: () => this.setVolume(Number(this.volume.value)),
    });
    this.heard = h("select", { "aria-label": "Which sound is heard", onchange: () => this.listen() });
    replace(this.heard, h("option", { value: "result" }, "sound of the result"), h("option", { value: "source" }, "sound of the source"));
    this.speed = h("select", { "aria-label": "Speed", onchange: () => sync.setSpeed(Number(this.speed.value)) });
    replace(this.speed, SPEEDS.map((speed) => h("option", { value: String(speed), selected: speed === 1 }, `${speed}×`)));
    this.zoom = h("select", { "aria-label": "Size", onchange: () => stage.setZoom(Number(this.zoom.value)) });
    replace(this.zoom, ZOOMS.map((zoom) => h("option", { value: String(zoom) }, zoom === 1 ? "whole picture" : `${zoom}× larger`)));
    this.modes = h("div", { class: "modes", role: "group", "aria-label": "What is shown" }, MODES.map((mode) => this.mode(mode)));
    this.offset = h("span", { class: "soft mono" });
    this.nudge = h(
      "div",
      { class: "row nudge", hidden: true },
      this.small("[", "[ Source a frame earlier", () => sync.nudge(-1)),
      this.offset,
      this.small("]", "] Source a frame later", () => sync.nudge(1)),
    );
    const whole = h("button", { type: "button", title: "Key f", onclick: () => this.wholeScreen() }, "Whole screen");
    const steps = [
      this.small("−1", "−1 frame", () => sync.step(-1)),
      this.small("+1", "+1 frame", () => sync.step(1)),
    ];
    const keys = KEYS.map(([key, does]) => [h("dt", null, h("kbd", null, key)), h("dd", null, does)]);
    this.node = h(
      "div",
      { class: "controls" },
      this.seek,
      h("div", { class: "row wrap" }, this.play, steps, this.time, this.frame, h("span", { class: "grow" }), this.nudge, this.volume, this.heard, this.speed, this.zoom, whole),
      h("div", { class: "row wrap" }, this.modes, h("span", { class: "grow" }), h("details", { class: "keys-help" }, h("summary", null, "Keys"), h("dl", { class: "facts" }, keys.flat()))),
    );
    this.volumeWanted = 1;
    this.muted = false;
    this.compared = false;
    this.setCompared(false);
    this.listen();
  }

  /**
   * @private
   * @param {"play"} which
   * @param {string} label
   * @param {() => void} onclick
   * @param {string} [kind]
   */
  button(which, label, onclick, kind = "") {
    return h("button", { type: "button", class: `${kind} square`, "aria-label": label, title: label, onclick }, icon(which));
  }

  /**
   * @private
   * @param {string} text
   * @param {string} label
   * @param {() => void} onclick
   */
  small(text, label, onclick) {
    return h("button", { type: "button", class: "square mono", "aria-label": label, title: label, onclick }, text);
  }

  /**
   * @private
   * @param {[Mode, string, string]} of
   */
  mode([mode, word, key]) {
    const onclick = () => this.setMode(mode);
    return h("button", { type: "button", class: "small", data: { mode }, title: `Key ${key}`, onclick }, word);
  }

  /** @param {Mode} mode */
  setMode(mode) {
    if (mode !== "result" && !this.compared) return;
    this.stage.setMode(mode);
    for (const button of this.modes.children) {
      const chosen = /** @type {HTMLElement} */ (button).dataset.mode === mode;
      button.setAttribute("aria-pressed", String(chosen));
    }
    if (mode === "source") this.heard.value = "source";
    if (mode === "result") this.heard.value = "result";
    this.listen();
  }

  /**
   * Whether there is a source beside the result.
   * @param {boolean} compared
   */
  setCompared(compared) {
    this.compared = compared;
    this.nudge.hidden = !compared;
    this.heard.hidden = !compared;
    for (const button of this.modes.children) {
      const { mode } = /** @type {HTMLElement} */ (button).dataset;
      /** @type {HTMLButtonElement} */ (button).disabled = !compared && mode !== "result";
    }
    this.setMode(compared ? "wipe" : "result");
  }

  /** @private */
  sought() {
    const { duration: length } = this.sync.lead;
    if (Number.isFinite(length)) this.sync.seek((Number(this.seek.value) / 1000) * length);
  }

  /** @param {number} volume */
  setVolume(volume) {
    this.volumeWanted = Math.min(1, Math.max(0, volume));
    this.muted = false;
    this.volume.value = String(this.volumeWanted);
    this.listen();
  }

  /** @private */
  listen() {
    const { lead, follow } = this.sync;
    const source = this.heard.value === "source" && this.compared;
    lead.volume = this.volumeWanted;
    follow.volume = this.volumeWanted;
    lead.muted = this.muted || source;
    follow.muted = this.muted || !source;
  }

  /** @private */
  wholeScreen() {
    if (document.fullscreenElement) void document.exitFullscreen();
    else void this.stage.node.parentElement?.requestFullscreen?.();
  }

  /**
   * @param {KeyboardEvent} event
   * @returns {boolean} whether the key does something here
   */
  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return false;
    const { target } = event;
    const range = target instanceof HTMLInputElement && target.type === "range";
    const arrow = event.key.startsWith("Arrow");
    if (target instanceof HTMLElement && target.closest("select, textarea, summary, dialog")) return false;
    if (target instanceof HTMLInputElement && !range) return false;
    if (range && (arrow || ["Home", "End", "PageUp", "PageDown"].includes(event.key))) return false;
    if (event.key === " " && target instanceof HTMLElement && target.closest("button, a")) return false;
    const action = event.shiftKey && arrow ? this.moves(event.key) : this.actions()[event.key];
    action?.();
    return action !== undefined;
  }

  /** @private @param {string} key @returns {(() => void) | undefined} */
  moves(key) {
    /** @type {Record<string, [number, number]>} */
    const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    return () => this.stage.move(...ways[key]);
  }

  /** @private @returns {Record<string, () => void>} */
  actions() {
    const { sync, stage } = this;
    const { lead } = sync;
    return {
      " ": () => sync.toggle(),
      k: () => sync.toggle(),
      ArrowLeft: () => sync.seek(lead.currentTime - JUMP_S),
      ArrowRight: () => sync.seek(lead.currentTime + JUMP_S),
      ArrowUp: () => this.setVolume(this.volumeWanted + VOLUME_STEP),
      ArrowDown: () => this.setVolume(this.volumeWanted - VOLUME_STEP),
      ",": () => sync.step(-1),
      ".": () => sync.step(1),
      Home: () => sync.seek(0),
      End: () => sync.seek(lead.duration),
      m: () => {
        this.muted = !this.muted;
        this.listen();
      },
      f: () => this.wholeScreen(),
      z: () => {
        stage.nextZoom();
        this.zoom.value = String(stage.zoom);
      },
      "[": () => sync.nudge(-1),
      "]": () => sync.nudge(1),
      ...Object.fromEntries(MODES.map(([mode, , key]) => [key, () => this.setMode(mode)])),
    };
  }

  /**
   * @param {Range[]} made what of the film is there to be played
   */
  draw(made) {
    const { sync } = this;
    const { lead } = sync;
    const length = Number.isFinite(lead.duration) ? lead.duration : 0;
    const paused = lead.paused;
    if (this.play.dataset.paused !== String(paused)) {
      this.play.dataset.paused = String(paused);
      replace(this.play, icon(paused ? "play" : "pause"));
      setAttribute(this.play, "aria-label", paused ? "Play" : "Pause");
      setAttribute(this.play, "title", paused ? "Play" : "Pause");
    }
    setText(this.time, `${filmTime(lead.currentTime)} / ${length > 0 ? duration(length) : "–"}`);
    setText(this.frame, `frame ${count(sync.frameNumber)}`);
    if (document.activeElement !== this.seek || !lead.paused) {
      this.seek.value = String(length > 0 ? (1000 * lead.currentTime) / length : 0);
    }
    setAttribute(this.seek, "aria-valuetext", `${duration(lead.currentTime)} of ${duration(length)}`);
    const frames = Math.round(sync.offset / sync.frameLength);
    setText(this.offset, frames === 0 ? "in step" : `${frames > 0 ? "+" : ""}${frames}`);
    this.drawRanges(made, length);
  }

  /**
   * @private
   * @param {Range[]} made
   * @param {number} length
   */
  drawRanges(made, length) {
    const share = (/** @type {number} */ at) => `${((100 * at) / length).toFixed(2)}%`;
    const stops = made.map(({ from, to }) => {
      return `transparent ${share(from)}, var(--made) ${share(from)}, var(--made) ${share(to)}, transparent ${share(to)}`;
    });
    const image = length > 0 && stops.length > 0 ? `linear-gradient(to right, ${stops.join(", ")})` : "none";
    if (this.seek.dataset.made === image) return;
    this.seek.dataset.made = image;
    this.seek.style.setProperty("--ranges", image);
  }
}
