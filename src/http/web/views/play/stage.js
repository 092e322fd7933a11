/**
 * Where the films are seen: result and source over each other with a wipe between
 * them, beside each other, or their difference.
 */

import { h, setAttribute, setText } from "../../lib/dom.js";

/** @typedef {"wipe" | "side" | "difference" | "result" | "source"} Mode */

export const ZOOMS = [1, 2, 4, 8];
/** From here on pixels are shown as squares. */
const PIXELS_FROM = 4;
const PAN_STEP = 0.05;

/** The stage. */
export class Stage {
  constructor() {
    this.result = video("Result");
    this.source = video("Source");
    this.resultTag = h("span", { class: "tag" }, "Result");
    this.sourceTag = h("span", { class: "tag" }, "Source");
    this.resultPane = h("div", { class: "pane result" }, this.result, this.resultTag);
    this.sourcePane = h("div", { class: "pane source", hidden: true }, this.source, this.sourceTag);
    this.wipe = h("input", {
      type: "range",
      class: "wipe",
      min: "0",
      max: "1000",
      value: "500",
      hidden: true,
      "aria-label": "Where the source ends and the result begins",
      oninput: () => this.place(),
    });
    this.message = h("div", { class: "message", hidden: true });
    this.node = h("div", { class: "stage", data: { mode: "result" } }, this.resultPane, this.sourcePane, this.wipe, this.message);
    /** @type {Mode} */
    this.mode = "result";
    this.zoom = 1;
    /** What is moved, as shares of the picture. */
    this.pan = { x: 0, y: 0 };
    this.dragging();
    this.place();
    this.result.addEventListener("loadedmetadata", () => this.shape());
    this.resized = new ResizeObserver(() => this.place());
    this.resized.observe(this.node);
  }

  close() {
    this.resized.disconnect();
    for (const film of [this.result, this.source]) {
      film.pause();
      film.removeAttribute("src");
      film.load();
    }
  }

  /** Gives the stage the result's shape. @private */
  shape() {
    const { videoWidth, videoHeight } = this.result;
    if (videoWidth > 0) this.node.style.setProperty("--shape", String(videoWidth / videoHeight));
  }

  /** @param {Mode} mode */
  setMode(mode) {
    this.mode = mode;
    this.node.dataset.mode = mode;
    this.sourcePane.hidden = mode === "result";
    this.resultPane.hidden = mode === "source";
    this.wipe.hidden = mode !== "wipe";
    this.place();
  }

  /** @param {number} zoom */
  setZoom(zoom) {
    this.zoom = zoom;
    if (zoom === 1) this.pan = { x: 0, y: 0 };
    setAttribute(this.node, "data-pixels", zoom >= PIXELS_FROM);
    setAttribute(this.node, "data-zoomed", zoom > 1);
    this.place();
  }

  nextZoom() {
    const at = ZOOMS.indexOf(this.zoom);
    this.setZoom(ZOOMS[(at + 1) % ZOOMS.length]);
  }

  /**
   * Moves what is seen of an enlarged picture, in steps.
   * @param {number} x
   * @param {number} y
   */
  move(x, y) {
    this.pan.x -= (x * PAN_STEP) / this.zoom;
    this.pan.y -= (y * PAN_STEP) / this.zoom;
    this.place();
  }

  /** @private */
  place() {
    const room = (1 - 1 / this.zoom) / 2;
    const kept = (/** @type {number} */ share) => Math.max(-room, Math.min(room, share));
    this.pan = { x: kept(this.pan.x), y: kept(this.pan.y) };
    const { style } = this.node;
    style.setProperty("--zoom", String(this.zoom));
    style.setProperty("--x", `${this.pan.x * 100}%`);
    style.setProperty("--y", `${this.pan.y * 100}%`);
    style.setProperty("--wipe", String(Number(this.wipe.value) / 1000));
    this.wipe.setAttribute("aria-valuetext", `${Math.round(Number(this.wipe.value) / 10)} % source`);
  }

  /** @private */
  dragging() {
    /** @type {{ id: number, x: number, y: number } | null} */
    let held = null;
    this.node.addEventListener("pointerdown", (event) => {
      if (this.zoom === 1 || event.target === this.wipe || event.button !== 0) return;
      held = { id: event.pointerId, x: event.clientX, y: event.clientY };
      this.node.setPointerCapture(event.pointerId);
    });
    this.node.addEventListener("pointermove", (event) => {
      if (!held || held.id !== event.pointerId) return;
      const width = this.resultPane.clientWidth || this.sourcePane.clientWidth || 1;
      const height = this.resultPane.clientHeight || this.sourcePane.clientHeight || 1;
      this.pan.x += (event.clientX - held.x) / width / this.zoom;
      this.pan.y += (event.clientY - held.y) / height / this.zoom;
      held = { id: held.id, x: event.clientX, y: event.clientY };
      this.place();
    });
    const let_ = () => (held = null);
    this.node.addEventListener("pointerup", let_);
    this.node.addEventListener("pointercancel", let_);
  }

  /**
   * Says something over the picture; nothing takes it away.
   * @param {Node | string | null} what
   */
  say(what) {
    this.message.hidden = what === null;
    if (typeof what === "string") setText(this.message, what);
    else this.message.replaceChildren(...(what ? [what] : []));
  }
}

/** @param {string} label */
function video(label) {
  const film = h("video", { playsinline: true, preload: "auto", "aria-label": label, tabindex: "-1" });
  film.disablePictureInPicture = true;
  return film;
}
