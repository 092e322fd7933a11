/** Numbers as people read them: the same everywhere, whatever the browser's language. */

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/** What stands where a number is not known. */
export const UNKNOWN = "–";

/** @typedef {number | null | undefined} Maybe */

/**
 * @param {Maybe} value
 * @returns {value is number}
 */
function known(value) {
  return typeof value === "number" && Number.isFinite(value);
}

/**
 * About three digits, as the command line has it: "640 B", "12.3 MiB".
 * @param {Maybe} value
 */
export function bytes(value) {
  if (!known(value)) return UNKNOWN;
  let size = value;
  let unit = 0;
  while (size >= 1024 && unit < UNITS.length - 1) {
    size /= 1024;
    unit += 1;
  }
  return `${digits(size, unit === 0)} ${UNITS[unit]}`;
}

/**
 * @param {number} value
 * @param {boolean} whole
 */
function digits(value, whole) {
  return whole || value >= 100 ? String(Math.round(value)) : value.toFixed(1);
}

/**
 * Seconds as a clock: "0:12", "1:02:03", "3 d 4 h".
 * @param {Maybe} seconds
 */
export function duration(seconds) {
  if (!known(seconds)) return UNKNOWN;
  const whole = Math.max(0, Math.round(seconds));
  const [days, hours] = [Math.floor(whole / 86_400), Math.floor(whole / 3_600) % 24];
  if (days > 0) return `${days} d ${hours} h`;
  const two = (/** @type {number} */ part) => String(part).padStart(2, "0");
  const minutes = Math.floor(whole / 60) % 60;
  if (hours > 0) return `${hours}:${two(minutes)}:${two(whole % 60)}`;
  return `${minutes}:${two(whole % 60)}`;
}

/**
 * How long ago a time was, in one unit: "12 s", "5 min", "3 h", "12 d".
 * @param {Maybe} unixMs
 * @param {number} [nowMs]
 */
export function ago(unixMs, nowMs = Date.now()) {
  if (!known(unixMs)) return UNKNOWN;
  const seconds = Math.max(0, Math.floor((nowMs - unixMs) / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3_600)} h`;
  return `${Math.floor(seconds / 86_400)} d`;
}

/**
 * A whole number with thin spaces between its thousands.
 * @param {Maybe} value
 */
export function count(value) {
  if (!known(value)) return UNKNOWN;
  return String(Math.round(value)).replace(/\B(?=(\d{3})+$)/g, "\u202f");
}

/**
 * A share of 0 to 1, rounded down so that 100 % is all of it.
 * @param {Maybe} share
 */
export function percent(share) {
  if (!known(share)) return UNKNOWN;
  return `${Math.floor(Math.min(1, Math.max(0, share)) * 100 + 1e-9)} %`;
}

/**
 * Something a second: "24 fps", "3.0 MiB/s".
 * @param {Maybe} value
 * @param {"fps" | "bytes"} of
 */
export function rate(value, of) {
  if (!known(value)) return UNKNOWN;
  if (of === "bytes") return `${bytes(value)}/s`;
  return `${value >= 10 ? count(value) : value.toFixed(1)} fps`;
}

/**
 * A time in this place's clock, with seconds: "2026-11-21 08:35:44".
 * @param {Maybe} unixMs
 */
export function time(unixMs) {
  if (!known(unixMs)) return UNKNOWN;
  const at = new Date(unixMs);
  const two = (/** @type {number} */ part) => String(part).padStart(2, "0");
  const day = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  return `${day} ${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

/**
 * "1 job", "2 jobs".
 * @param {number} number
 * @param {string} one
 * @param {string} [many]
 */
export function plural(number, one, many = `${one}s`) {
  return `${count(number)} ${number === 1 ? one : many}`;
}
