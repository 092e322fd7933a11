/** What the view of the cluster asks for: nodes, jobs by state, who keeps what, how fast nodes are. */

import { marks } from "../marks.js";
import { countsByState } from "../../lib/counts.js";

/** Nodes' load and slots change without an event. */
const CLUSTER_EVERY_MS = 3_000;
const JOBS_EVERY_MS = 10_000;
const COPIES_MAX = 30;
/** Jobs of whose shards the nodes' speed is taken. */
const TIMED_MAX = 3;
const TASKS_PAGE = 500;
/** Shards that ended longer ago say nothing of now. */
const RECENT_MS = 10 * 60_000;

/** The cluster, as far as the key may see it. */
export class ClusterData {
  /**
   * @param {import("../../app.js").Context} ctx
   * @param {() => void} changed
   */
  constructor(ctx, changed) {
    this.ctx = ctx;
    this.changed = changed;
    this.abort = new AbortController();
    /** @type {any} */
    this.cluster = null;
    /** @type {any} */
    this.problem = null;
    /** Whether the last request failed. */
    this.failed = false;
    /** @type {any[]} */
    this.jobs = [];
    /** Jobs by state, null where the key may not see it. @type {Map<string, number> | null} */
    this.counts = null;
    /** Frames a second of a task, by node. @type {Map<number, number>} */
    this.speeds = new Map();
    const again = setInterval(() => document.hidden || this.load(), CLUSTER_EVERY_MS);
    const jobs = setInterval(() => document.hidden || this.loadJobs(), JOBS_EVERY_MS);
    const off = ctx.live.on("cluster", () => this.load());
    this.abort.signal.addEventListener("abort", () => {
      clearInterval(again);
      clearInterval(jobs);
      off();
    });
    this.loading = false;
    void this.load();
    void this.loadJobs();
  }

  close() {
    this.abort.abort();
  }

  async load() {
    if (this.loading) return;
    this.loading = true;
    const { signal } = this.abort;
    try {
      this.cluster = await this.ctx.api.get("/cluster", { signal });
      this.ctx.api.learn(this.cluster.nodes);
      marks.take(this.cluster);
      this.problem = null;
      this.failed = false;
    } catch (error) {
      if (signal.aborted) return;
      this.failed = true;
      if (!this.cluster) this.problem = error;
    } finally {
      this.loading = false;
    }
    this.changed();
  }

  async loadJobs() {
    const { signal } = this.abort;
    try {
      const page = await this.ctx.api.get("/jobs", { signal, query: { page_size: COPIES_MAX } });
      this.jobs = page.jobs;
      this.counts = await countsByState(this.ctx, signal);
      await this.time();
    } catch {
      // The list of jobs says what is wrong; the nodes are shown all the same.
    }
    if (!signal.aborted) this.changed();
  }

  /**
   * How fast nodes encode, by the shards that ended of late.
   * @private
   */
  async time() {
    const encoding = this.jobs.filter((job) => job.state === "encoding").slice(0, TIMED_MAX);
    /** @type {Map<number, { frames: number, ms: number }>} */
    const sums = new Map();
    for (const job of encoding) {
      const path = `/jobs/${encodeURIComponent(job.id)}/tasks`;
      const { tasks } = await this.ctx.api.get(path, { signal: this.abort.signal, query: { page_size: TASKS_PAGE } });
      for (const task of tasks) {
        const recent = task.kind === "shard" && task.state === "done" && Date.now() - task.ended_unix_ms < RECENT_MS;
        if (!recent) continue;
        const sum = sums.get(task.node) ?? { frames: 0, ms: 0 };
        sum.frames += task.frames;
        sum.ms += task.ended_unix_ms - task.started_unix_ms;
        sums.set(task.node, sum);
      }
    }
    this.speeds = new Map([...sums].map(([node, { frames, ms }]) => [node, (1000 * frames) / Math.max(1, ms)]));
  }
}
