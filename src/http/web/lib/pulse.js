/** How fast the cluster works on all that this page may see. */

import { Pace } from "./pace.js";

/** A job of which nothing was heard for so long is not worked on. */
const QUIET_MS = 15_000;

/** Frames a second over all jobs, out of the events of each. */
export class Pulse {
  /** @param {import("./live.js").Live} live */
  constructor(live) {
    /** @type {Map<string, { frames: number, heardAt: number }>} */
    this.jobs = new Map();
    this.total = 0;
    this.pace = new Pace();
    live.on("progress", ({ job, frames_done, shards_running }) => this.heard(job, frames_done, shards_running));
    live.on("job", ({ job, state }) => {
      if (["succeeded", "failed", "cancelled", "deleted"].includes(state)) this.jobs.delete(job);
    });
  }

  /**
   * @private
   * @param {string} job
   * @param {number} frames
   * @param {number} running
   */
  heard(job, frames, running) {
    const before = this.jobs.get(job)?.frames ?? frames;
    this.total += Math.max(0, frames - before);
    if (running > 0) this.jobs.set(job, { frames, heardAt: performance.now() });
    else this.jobs.delete(job);
    this.pace.at(this.total);
  }

  /** Jobs that are worked on, and frames a second. */
  now() {
    const since = performance.now() - QUIET_MS;
    for (const [job, { heardAt }] of this.jobs) {
      if (heardAt < since) this.jobs.delete(job);
    }
    return { jobs: this.jobs.size, fps: this.jobs.size > 0 ? this.pace.perSecond() : 0 };
  }
}
