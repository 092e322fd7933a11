/** What is done to many jobs at once: asked for once, and told how it went. */

import { Problem } from "./api.js";
import { plural } from "./format.js";
import { h } from "./dom.js";
import { ACTIVE, RETRIABLE } from "./jobs.js";
import { dialog } from "./shell.js";

/** @typedef {{ id: string, state: string }} Chosen */
/** @typedef {keyof typeof ACTS} Act */

/** A node takes a few changes at a time; more would wait there. */
const AT_ONCE = 4;

/** So many take a while, and it is said that they were begun with. */
const MANY = 20;

const ACTS = {
  cancel: {
    word: "Cancel",
    past: "cancelled",
    danger: true,
    fits: (/** @type {Chosen} */ { state }) => ACTIVE.includes(state),
    says: "They stop for good; what is encoded so far is lost. They can be tried again for a day.",
  },
  retry: {
    word: "Retry",
    past: "tried again",
    danger: false,
    fits: (/** @type {Chosen} */ { state }) => RETRIABLE.includes(state),
    says: "They begin anew from their sources, where these are still kept.",
  },
  delete: {
    word: "Delete",
    past: "deleted",
    danger: true,
    fits: () => true,
    says: "Their sources, outputs and proofs are removed from all nodes. This can't be undone.",
  },
};

/**
 * How many of some jobs an action fits.
 * @param {Act} act
 * @param {Chosen[]} jobs
 */
export function fitting(act, jobs) {
  return jobs.filter(ACTS[act].fits);
}

/**
 * Asks, does it to all that it fits, and tells.
 * @param {import("../app.js").Context} ctx
 * @param {Act} act
 * @param {Chosen[]} jobs
 * @param {() => void} done
 */
export function ask(ctx, act, jobs, done) {
  const { word, says, danger } = ACTS[act];
  const fit = fitting(act, jobs);
  const rest = jobs.length - fit.length;
  const running = fit.filter(({ state }) => ACTIVE.includes(state)).length;
  const content = [h("p", null, says)];
  if (act === "delete" && running > 0) {
    content.push(h("p", null, h("strong", null, `${plural(running, "job")} of these ${running === 1 ? "is" : "are"} not finished.`)));
  }
  if (rest > 0) {
    content.push(h("p", { class: "soft" }, `${plural(rest, "chosen job")} ${rest === 1 ? "is" : "are"} in another state, and left alone.`));
  }
  const title = `${word} ${plural(fit.length, "job")}?`;
  const run = () => void perform(ctx, act, fit).finally(done);
  dialog(title, content, { word: `${word} ${plural(fit.length, "job")}`, danger, act: run });
}

/**
 * @param {import("../app.js").Context} ctx
 * @param {Act} act
 * @param {Chosen[]} jobs
 */
export async function perform(ctx, act, jobs) {
  const { past } = ACTS[act];
  const left = [...jobs];
  if (jobs.length > MANY) ctx.notice(`${plural(jobs.length, "job")} are being ${past}`);
  let done = 0;
  /** @type {unknown} */
  let refused = null;
  const worker = async () => {
    for (let job = left.shift(); job; job = left.shift()) {
      try {
        await one(ctx, act, job.id);
        done += 1;
      } catch (error) {
        refused = error;
        if (error instanceof Problem && [0, 401, 403].includes(error.status)) left.length = 0;
      }
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  if (done > 0) ctx.notice(`${plural(done, "job")} ${past}`, "good");
  if (refused) {
    if (jobs.length > 1) ctx.notice(`${plural(jobs.length - done, "job")} not ${past}; the last for this reason:`, "bad");
    ctx.problem(refused);
  }
}

/**
 * @param {import("../app.js").Context} ctx
 * @param {Act} act
 * @param {string} id
 */
function one({ api, uploads }, act, id) {
  const upload = uploads.of(id);
  if (upload && act !== "retry") return uploads.cancel(upload);
  if (act === "delete") return api.delete(`/jobs/${id}`);
  return api.post(`/jobs/${id}/${act}`, undefined, { repeatable: act === "cancel" });
}
