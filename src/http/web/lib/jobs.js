/** What is said of a job in more than one place. */

/** States in which a job is worked on. */
export const WORKING = ["analyzing", "encoding", "assembling"];
/** States that a job can be cancelled in. */
export const ACTIVE = ["uploading", ...WORKING];
/** States that a job can be tried again from. */
export const RETRIABLE = ["failed", "cancelled"];

/**
 * The state to show: a job that waits and has nothing to show yet is queued.
 * @param {any} job
 * @returns {string}
 */
export function shownState(job) {
  const begun = job.shards_running || job.shards_done || job.frames_done;
  const waits = job.waiting || typeof job.queue_position === "number";
  return waits && !begun && ["analyzing", "encoding"].includes(job.state) ? "queued" : job.state;
}

/**
 * How much of a job is done, from 0 to 1; null where that is not known.
 * @param {any} job
 * @returns {number | null}
 */
export function shareDone(job) {
  if (job.state === "succeeded") return 1;
  if (job.frames_total) return Math.min(1, job.frames_done / job.frames_total);
  if (job.shards_total) return Math.min(1, job.shards_done / job.shards_total);
  return null;
}

/**
 * The parts of a spec that a person tells jobs apart by.
 * @param {any} spec
 * @returns {string}
 */
export function specWords(spec) {
  if (!spec) return "";
  const size =
    spec.width && spec.height
      ? `${spec.width}×${spec.height}`
      : spec.width
        ? `${spec.width} wide`
        : spec.height
          ? `${spec.height}p`
          : null;
  const sound = spec.audio === "none" ? "no sound" : spec.audio === "copy" ? "sound as it is" : spec.audio;
  const pictures = spec.codec !== "none";
  const words = [
    spec.container,
    pictures && (CODECS[spec.codec] ?? spec.codec),
    size,
    spec.fps && `${spec.fps} fps`,
    pictures && spec.crf !== null && spec.codec !== "ffv1" && `crf ${spec.crf}`,
    spec.size && `${spec.size} bytes`,
    spec.bitrate && `${spec.bitrate / 1000} kbit/s`,
    spec.target,
    pictures && spec.encoder_preset && (/^\d/.test(spec.encoder_preset) ? `preset ${spec.encoder_preset}` : spec.encoder_preset),
    pictures && spec.tune && `tuned for ${spec.tune}`,
    pictures && spec.maxrate && `at most ${spec.maxrate / 1000} kbit/s`,
    sound,
  ];
  return words.filter(Boolean).join(" · ");
}

/** @type {Record<string, string>} */
const CODECS = { h264: "H.264", hevc: "HEVC", vp9: "VP9", av1: "AV1", ffv1: "FFV1" };
