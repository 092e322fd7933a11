/** How much the cluster has to do, and how fast it is, of all that this page may see. */

import { count, plural, rate } from "./format.js";
import { WORKING } from "./jobs.js";

/** A job of which nothing was heard for so long is not encoded. */
const QUIET_MS = 15_000;
/** More jobs than this are not counted, only said to be more. */
const COUNTED_MAX = 200;

/** Jobs that are worked on or wait to be, and their speeds, as events tell them. */
export class Pulse {
  /**
   * @param {import("./api.js").Api} api
   * @param {import("./live.js").Live} live
   */
  constructor(api, live) {
    this.api = api;
    /** Jobs that are sent and not ended. @type {Set<string>} */
    this.open = new Set();
    this.more = false;
    /** @type {Map<string, { fps: number, heardAt: number }>} */
    this.encoding = new Map();
    live.on("start", () => void this.count());
    live.on("reset", () => void this.count());
    live.on("progress", ({ job, speed, shards_running }) => {
      if (shards_running > 0) this.encoding.set(job, { fps: speed ?? 0, heardAt: performance.now() });
      else this.encoding.delete(job);
    });
    live.on("job", ({ job, state }) => {
      if (WORKING.includes(state)) {
        this.open.add(job);
      } else {
        this.open.delete(job);
        this.encoding.delete(job);
        // Those that were more than could be counted are counted once there is room.
        if (this.more && this.open.size < COUNTED_MAX / 2) void this.count();
      }
    });
  }

  /** @private */
  async count() {
    this.more = false;
    const query = { state: WORKING.join(","), page_size: COUNTED_MAX };
    const page = await this.api.get("/jobs", { query }).catch(() => null);
    if (!page) return;
    this.open = new Set(page.jobs.map((/** @type {any} */ job) => job.id));
    this.more = page.next_page_token !== null;
  }

  /** Whether nothing is to be done. */
  get idle() {
    return this.open.size === 0 && this.encoding.size === 0;
  }

  /** "3 of 12 jobs · 143 fps"; empty where nothing is to be done. */
  words() {
    const since = performance.now() - QUIET_MS;
    let fps = 0;
    for (const [job, { fps: speed, heardAt }] of this.encoding) {
      if (heardAt < since) this.encoding.delete(job);
      else fps += speed;
    }
    if (this.idle) return "";
    const all = Math.max(this.open.size, this.encoding.size);
    const jobs = this.more ? `${count(all)}+ jobs` : plural(all, "job");
    return `${count(this.encoding.size)} of ${jobs}${fps > 0 ? ` · ${rate(fps, "fps")}` : ""}`;
  }
}
