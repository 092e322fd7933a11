/** What ffprobe says of source and output, beside each other. */

import { h, replace } from "../../lib/dom.js";
import { bytes } from "../../lib/format.js";
import { frameRate, pictureOf } from "./clock.js";
import { filmTime } from "./words.js";

/** @typedef {import("./data.js").JobData} JobData */
/** @typedef {[string, (probed: any) => string]} Row */

/** @type {Row[]} */
const ROWS = [
  ["Container", (probed) => probed.format?.format_long_name ?? "–"],
  ["Length", (probed) => filmTime(Number(probed.format?.duration ?? NaN))],
  ["Size", (probed) => bytes(Number(probed.format?.size ?? NaN))],
  ["Bit rate", (probed) => bitRate(probed.format?.bit_rate)],
  ["Picture", (probed) => codecWords(pictureOf(probed))],
  ["Resolution", (probed) => resolution(pictureOf(probed))],
  ["Frame rate", (probed) => fpsWords(pictureOf(probed))],
  ["Pixels", (probed) => pictureOf(probed)?.pix_fmt ?? "–"],
  ["Colours", (probed) => colours(pictureOf(probed))],
  ["Sound", (probed) => streams(probed, "audio", sound)],
  ["Subtitles", (probed) => streams(probed, "subtitle", (stream) => stream.codec_name ?? "–")],
  ["Chapters", (probed) => String(probed.chapters?.length ?? 0)],
];

/** The two columns. */
export class Metadata {
  constructor() {
    this.body = h("tbody");
    const heads = ["", "Source", "Output"].map((head) => h("th", { scope: "col" }, head || h("span", { class: "unseen" }, "What")));
    this.node = h(
      "section",
      { class: "panel", "aria-label": "Source and output" },
      h("div", { class: "head" }, h("h2", null, "Source and output")),
      h("div", { class: "body" }, h("table", { class: "pair" }, h("thead", null, h("tr", null, heads)), this.body)),
    );
    this.drawn = "";
  }

  /** @param {JobData} data */
  draw(data) {
    const { metadata, job } = data;
    const drawn = JSON.stringify([Boolean(metadata?.source), Boolean(metadata?.output), job?.state]);
    if (drawn === this.drawn) return;
    this.drawn = drawn;
    if (!metadata?.source && !metadata?.output) {
      const text = job?.state === "uploading" || job?.state === "analyzing" ? "It is known once the source has been looked at." : "It is not kept of this job.";
      replace(this.body, h("tr", null, h("td", { class: "soft", colspan: "3" }, text)));
      return;
    }
    replace(this.body, ROWS.map((row) => line(row, metadata)));
  }
}

/**
 * @param {Row} row
 * @param {any} metadata
 */
function line([title, of], metadata) {
  const source = metadata.source ? of(metadata.source) : "–";
  const output = metadata.output ? of(metadata.output) : "–";
  const same = { class: source === output ? "soft" : null };
  return h("tr", null, h("th", { scope: "row" }, title), h("td", null, source), h("td", same, output));
}

/** @param {unknown} text */
export function bitRate(text) {
  const bits = Number(text);
  if (!Number.isFinite(bits) || bits <= 0) return "–";
  return bits >= 1e6 ? `${(bits / 1e6).toFixed(1)} Mbit/s` : `${Math.round(bits / 1e3)} kbit/s`;
}

/** @param {any} stream */
export function codecWords(stream) {
  if (!stream) return "–";
  const known = stream.codec_long_name && stream.codec_long_name !== "unknown";
  const long = known ? stream.codec_long_name.split(" / ")[0] : stream.codec_name;
  return [long, stream.profile].filter((word) => word && word !== "unknown").join(", ");
}

/** @param {any} stream */
export function resolution(stream) {
  if (!stream?.width) return "–";
  const odd = stream.sample_aspect_ratio && !["1:1", "0:1", "N/A"].includes(stream.sample_aspect_ratio);
  return `${stream.width} × ${stream.height}${odd ? ` (pixels ${stream.sample_aspect_ratio})` : ""}`;
}

/** @param {any} stream */
function fpsWords(stream) {
  const found = frameRate(stream);
  if (!found) return "–";
  const [over, under] = found;
  return under === 1 ? String(over) : `${(over / under).toFixed(3)} (${over}/${under})`;
}

/** @param {any} stream */
function colours(stream) {
  const words = [stream?.color_space, stream?.color_transfer, stream?.color_primaries, stream?.color_range];
  const known = words.filter((word) => word && word !== "unknown");
  return known.length > 0 ? [...new Set(known)].join(", ") : "not said";
}

/** @param {any} stream */
function sound(stream) {
  const language = stream.tags?.language && stream.tags.language !== "und" ? `${stream.tags.language}: ` : "";
  const layout = stream.channel_layout ?? `${stream.channels} channels`;
  return `${language}${stream.codec_name}, ${layout}, ${Number(stream.sample_rate) / 1000} kHz`;
}

/**
 * @param {any} probed
 * @param {string} kind
 * @param {(stream: any) => string} words
 */
function streams(probed, kind, words) {
  /** @type {any[]} */
  const found = (probed.streams ?? []).filter((/** @type {any} */ stream) => stream.codec_type === kind);
  return found.length > 0 ? found.map(words).join("; ") : "none";
}
