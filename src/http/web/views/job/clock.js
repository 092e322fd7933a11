/** From presentation times to seconds of the film. */

/** @typedef {import("./data.js").Task} Task */

/**
 * @typedef {object} FilmClock
 * @property {Task[]} shards in their order
 * @property {number} first the first presentation time
 * @property {number} length of the film in units of its time base
 * @property {number | null} unit seconds a unit, null until the source's metadata are known
 */

/**
 * @param {Task[]} tasks
 * @param {any} metadata of the job
 * @returns {FilmClock}
 */
export function filmClock(tasks, metadata) {
  const shards = tasks.filter((task) => task.kind === "shard").sort((a, b) => a.number - b.number);
  const first = shards[0]?.from_pts ?? 0;
  const last = shards[shards.length - 1]?.to_pts ?? first;
  return { shards, first, length: Math.max(1, last - first), unit: unitOf(metadata) };
}

/**
 * The film's picture among the streams that ffprobe names.
 * @param {any} probed
 */
export function pictureOf(probed) {
  /** @type {any[]} */
  const streams = probed?.streams ?? [];
  const pictures = streams.filter((stream) => stream.codec_type === "video");
  return pictures.find((stream) => !stream.disposition?.attached_pic) ?? pictures[0] ?? null;
}

/**
 * Frames a second, exactly: [30000, 1001]; null where nothing sensible is said.
 * @param {any} stream
 * @returns {[number, number] | null}
 */
export function frameRate(stream) {
  for (const text of [stream?.avg_frame_rate, stream?.r_frame_rate]) {
    const [over, under] = String(text ?? "").split("/").map(Number);
    if (over > 0 && under > 0) return [over, under];
  }
  return null;
}

/** @param {any} metadata */
function unitOf(metadata) {
  const text = pictureOf(metadata?.source)?.time_base;
  const [over, under] = String(text ?? "").split("/").map(Number);
  return over > 0 && under > 0 ? over / under : null;
}

/**
 * Seconds of the film at a presentation time.
 * @param {FilmClock} clock
 * @param {number} pts
 * @returns {number | null}
 */
export function secondsAt(clock, pts) {
  return clock.unit === null ? null : (pts - clock.first) * clock.unit;
}
