/** Which codec the parts of a film have, as media sources name them: from the head of a fragmented MP4. */

/** @typedef {{ kind: string, from: number, to: number }} Box of bytes, its own head left out */

/** Bytes of a sample entry of a picture or a sound before the boxes in it. */
const PICTURE_HEAD = 78;
const SOUND_HEAD = 28;
const ENTRY_COUNT = 8;

/**
 * The type to open a source buffer with; null if it is nothing that a browser
 * could have a name for.
 * @param {ArrayBuffer} part
 * @returns {string | null}
 */
export function typeOf(part) {
  const view = new DataView(part);
  const path = ["moov", "trak", "mdia", "minf", "stbl", "stsd"];
  let [from, to] = [0, view.byteLength];
  for (const kind of path) {
    const box = boxes(view, from, to).find((it) => it.kind === kind);
    if (!box) return null;
    [from, to] = [box.from, box.to];
  }
  const entry = boxes(view, from + ENTRY_COUNT, to)[0];
  const codec = entry && codecOf(view, entry);
  if (!codec) return null;
  return `${codec.sound ? "audio" : "video"}/mp4; codecs="${codec.text}"`;
}

/**
 * @param {DataView} view
 * @param {number} from
 * @param {number} to
 * @returns {Box[]}
 */
function boxes(view, from, to) {
  const found = [];
  for (let at = from; at + 8 <= to; ) {
    const size = view.getUint32(at);
    if (size < 8 || at + size > to) break;
    const letters = [4, 5, 6, 7].map((place) => String.fromCharCode(view.getUint8(at + place)));
    found.push({ kind: letters.join(""), from: at + 8, to: at + size });
    at += size;
  }
  return found;
}

/**
 * @param {DataView} view
 * @param {Box} entry
 * @returns {{ text: string, sound: boolean } | null}
 */
function codecOf(view, entry) {
  /** @type {Record<string, string>} */
  const sounds = { mp4a: "mp4a.40.2", Opus: "opus", fLaC: "flac", "ac-3": "ac-3", "ec-3": "ec-3" };
  if (sounds[entry.kind] && entry.to - entry.from >= SOUND_HEAD) {
    return { text: sounds[entry.kind], sound: true };
  }
  const inner = boxes(view, entry.from + PICTURE_HEAD, entry.to);
  const at = (/** @type {string} */ kind) => inner.find((box) => box.kind === kind)?.from;
  const text = avc(view, entry.kind, at("avcC")) ?? hevc(view, entry.kind, at("hvcC")) ?? av1(view, at("av1C")) ?? vp9(view, at("vpcC"));
  return text ? { text, sound: false } : null;
}

const hex = (/** @type {number} */ byte) => byte.toString(16).padStart(2, "0");
const two = (/** @type {number} */ number) => String(number).padStart(2, "0");

/** @param {DataView} view @param {string} kind @param {number | undefined} at */
function avc(view, kind, at) {
  if (at === undefined) return null;
  return `${kind}.${[1, 2, 3].map((place) => hex(view.getUint8(at + place))).join("")}`;
}

/** @param {DataView} view @param {string} kind @param {number | undefined} at */
function hevc(view, kind, at) {
  if (at === undefined) return null;
  const first = view.getUint8(at + 1);
  const space = ["", "A", "B", "C"][first >> 6];
  let flags = view.getUint32(at + 2);
  let turned = 0;
  for (let bit = 0; bit < 32; bit++, flags >>>= 1) turned = (turned << 1) | (flags & 1);
  const tier = first & 0x20 ? "H" : "L";
  const limits = [6, 7, 8, 9, 10, 11].map((place) => view.getUint8(at + place));
  while (limits.at(-1) === 0) limits.pop();
  const rest = limits.map((byte) => `.${byte.toString(16)}`).join("");
  return `${kind}.${space}${first & 0x1f}.${(turned >>> 0).toString(16)}.${tier}${view.getUint8(at + 12)}${rest}`;
}

/** @param {DataView} view @param {number | undefined} at */
function av1(view, at) {
  if (at === undefined) return null;
  const [one, second] = [view.getUint8(at + 1), view.getUint8(at + 2)];
  const depth = second & 0x40 ? (second & 0x20 ? 12 : 10) : 8;
  return `av01.${one >> 5}.${two(one & 0x1f)}${second & 0x80 ? "H" : "M"}.${two(depth)}`;
}

/** @param {DataView} view @param {number | undefined} at */
function vp9(view, at) {
  if (at === undefined) return null;
  const [profile, level, depth] = [4, 5, 6].map((place) => view.getUint8(at + place));
  return `vp09.${two(profile)}.${two(level)}.${two(depth >> 4)}`;
}
