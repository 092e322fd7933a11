/** A finished job's file: what it is called, and where it can be had. */

/** @typedef {import("./data.js").Job} Job */

/** Letters that may not stand in a name of a file anywhere, and those that are not seen. */
// eslint-disable-next-line no-control-regex
const BAD = /[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff<>:"/\\|?*]+/g;
const NAME_CHARS_MAX = 120;

/**
 * The output's name: that of the source with the ending of its container.
 * @param {Job} job
 */
export function pathName(job) {
  const stem = String(job.source_name ?? "").replace(/\.[^.]{1,8}$/, "");
  const plain = stem.replace(BAD, "_").replace(/^[-.\s]+/, "").slice(0, NAME_CHARS_MAX);
  return `${plain || "output"}.${job.spec?.container ?? "mp4"}`;
}

/**
 * An address that a video element or a download can use without a key.
 * @param {import("../../lib/api.js").Api} api
 * @param {string} id
 * @param {AbortSignal} [signal]
 * @returns {Promise<string>}
 */
export async function outputUrl(api, id, signal) {
  const path = `/jobs/${encodeURIComponent(id)}`;
  try {
    const { url } = await api.get(`${path}/output-link`, { signal });
    return new URL(url, api.node).href;
  } catch (error) {
    // Without a secret the plain path serves.
    const status = /** @type {any} */ (error)?.status;
    if (status === 404 || status === 405) return api.url(`${path}/output`);
    throw error;
  }
}

/**
 * Lets the browser download a job's file under its name.
 * @param {import("../../lib/api.js").Api} api
 * @param {Job} job
 */
export async function download(api, job) {
  const link = document.createElement("a");
  link.href = await outputUrl(api, job.id);
  link.download = pathName(job);
  document.body.append(link);
  link.click();
  link.remove();
}
