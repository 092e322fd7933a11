/**
 * Named sets of options, to begin with. What is not named in one takes the
 * cluster's default; a person's own stand beside them, kept by the browser.
 */

import { kept, keptList } from "./kept.js";

/** @typedef {{ id: string, word: string, line: string, spec: Record<string, any>, own?: boolean }} Preset */

const OWN = "reelraft.presets";

/** @type {Preset[]} */
const BUILT_IN = [
  {
    id: "web",
    word: "Web",
    line: "Plays everywhere: H.264 and AAC in MP4, at the film's own size and frame rate.",
    spec: {},
  },
  {
    id: "web-1080",
    word: "Web 1080p",
    line: "The same, scaled to 1080 lines: small films too.",
    spec: { codec: "h264", height: 1080, container: "mp4" },
  },
  {
    id: "web-720",
    word: "Web 720p",
    line: "The same at 720 lines, for slow lines and small screens.",
    spec: { codec: "h264", height: 720, container: "mp4" },
  },
  {
    id: "smaller",
    word: "Smaller",
    line: "HEVC: smaller files at the same quality, for newer phones and TVs. Takes longer.",
    spec: { codec: "hevc", container: "mp4" },
  },
  {
    id: "smallest",
    word: "Smallest",
    line: "AV1 and Opus: the smallest files, for current browsers.",
    spec: { codec: "av1", audio: "opus", container: "mp4" },
  },
  {
    id: "open",
    word: "Open web",
    line: "VP9 and Opus in WebM: free formats that all browsers play. Takes longest.",
    spec: { codec: "vp9", container: "webm" },
  },
  {
    id: "archive",
    word: "Archive",
    line: "Lossless: FFV1 and FLAC in Matroska. Every bit of picture and sound; large files.",
    spec: { codec: "ffv1", audio: "flac", container: "mkv" },
  },
  {
    id: "cleanup",
    word: "Old tape",
    line: "Deinterlaced, with less noise and an even loudness.",
    spec: { deinterlace: "auto", denoise: "medium", loudness: -16, container: "mp4" },
  },
  {
    id: "sound",
    word: "Sound only",
    line: "AAC in M4A at an even loudness, as podcasts have it.",
    spec: { container: "m4a", loudness: -16 },
  },
];

/** @returns {Preset[]} */
function readOwn() {
  return keptList(OWN).map((preset) => ({ ...preset, own: true }));
}

/** All presets, a person's own first. */
export function presets() {
  return [...readOwn(), ...BUILT_IN];
}

/**
 * Keeps a set of options under a name; one of the same name is replaced.
 * @param {string} word
 * @param {string} line
 * @param {Record<string, any>} spec
 * @returns {Preset}
 */
export function keep(word, line, spec) {
  const preset = { id: `own-${word}`, word, line, spec };
  const others = readOwn().filter(({ id }) => id !== preset.id);
  kept.set(OWN, JSON.stringify([preset, ...others]));
  return { ...preset, own: true };
}

/** @param {Preset} preset */
export function drop(preset) {
  kept.set(OWN, JSON.stringify(readOwn().filter(({ id }) => id !== preset.id)));
}
