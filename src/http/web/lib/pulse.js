/** How fast the cluster works on all that this page may see. */

/** A job of which nothing was heard for so long is not worked on. */
const QUIET_MS = 15_000;

/** Jobs that are worked on, and their speeds, as events tell them. */
export class Pulse {
  /** @param {import("./live.js").Live} live */
  constructor(live) {
    /** @type {Map<string, { fps: number, heardAt: number }>} */
    this.jobs = new Map();
    live.on("progress", ({ job, speed, shards_running }) => {
      if (shards_running > 0) this.jobs.set(job, { fps: speed ?? 0, heardAt: performance.now() });
      else this.jobs.delete(job);
    });
    live.on("job", ({ job, state }) => {
      if (["succeeded", "failed", "cancelled", "deleted"].includes(state)) this.jobs.delete(job);
    });
  }

  /** How many jobs are worked on, and frames a second over all of them. */
  now() {
    const since = performance.now() - QUIET_MS;
    let fps = 0;
    for (const [job, { fps: speed, heardAt }] of this.jobs) {
      if (heardAt < since) this.jobs.delete(job);
      else fps += speed;
    }
    return { jobs: this.jobs.size, fps };
  }
}
