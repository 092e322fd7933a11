/**
 * What a job's page knows of it: the document, its tasks and their attempts. News
 * say that something changed; what changed is then asked for, so that a film of
 * 900 shards costs a request or two and no more than a small share of the time.
 */

import { isNameless, knowEngine } from "../nodes.js";

/**
 * @typedef {object} Task
 * @property {number} number
 * @property {"analyze" | "audio" | "probe" | "shard" | "extras" | "assemble"} kind
 * @property {"pending" | "running" | "done"} state
 * @property {number | null} node
 * @property {number} attempt
 * @property {number} from_pts
 * @property {number} to_pts
 * @property {number} frames
 * @property {number | null} bytes_in
 * @property {number | null} bytes_out
 * @property {number | null} ratio_milli
 * @property {string | null} hash
 * @property {number | null} started_unix_ms
 * @property {number | null} ended_unix_ms
 * @property {string[]} failures
 * @property {{ number: number, name: string } | null} [engine] that made it, if one did
 */

/**
 * @typedef {object} Attempt
 * @property {number} attempt
 * @property {number} node
 * @property {string} outcome running, done, or what it failed by
 * @property {{ kind: string, cause: string, hint: string } | null} [problem]
 * @property {number | null} [started_unix_ms]
 * @property {number | null} [ended_unix_ms]
 */

/** @typedef {Record<string, any>} Job as docs/json.md has it */
/** @typedef {{ tasks: Task[], token: string, next: string | null }} Page */

const PAGE = 500;
/** Tasks are asked for at most so often, */
const TASKS_EVERY_MS = 1_200;
/** and wait for this many times what the last answer took. */
const REST_FACTOR = 6;
const JOB_EVERY_MS = 2_000;
/** What no event tells of (waiting, homes, sound) is looked for so often. */
const LOOK_EVERY_MS = 5_000;
/** Tasks whose former attempts are asked for. */
const DETAILS_MAX = 200;

const ENDED = new Set(["succeeded", "failed", "cancelled", "deleted"]);

/** @param {Job | null} job */
export function ended(job) {
  return job !== null && ENDED.has(job.state);
}

/** @param {Task} task */
export function keyOf(task) {
  return `${task.kind}/${task.number}`;
}

/** Follows one job. */
export class JobData {
  /**
   * @param {import("../../app.js").Context} ctx
   * @param {string} id
   * @param {() => void} changed
   */
  constructor(ctx, id, changed) {
    this.api = ctx.api;
    this.id = id;
    this.changed = changed;
    this.path = `/jobs/${encodeURIComponent(id)}`;
    this.abort = new AbortController();
    /** @type {Job | null} */
    this.job = null;
    /** @type {Task[]} */
    this.tasks = [];
    /** What keeps the job from being shown. @type {any} */
    this.problem = null;
    /** Whether what is shown may be old. */
    this.stale = false;
    this.tasksKnown = false;
    /** @type {any} */
    this.metadata = null;
    /** @private @type {Page[]} */
    this.pages = [];
    /** @private @type {Map<string, { at: string, attempts: Attempt[] }>} */
    this.details = new Map();
    /** @private @type {Map<string, Map<number, Attempt>>} */
    this.seen = new Map();
    /** Engines whose names were asked for. @private @type {Set<number>} */
    this.asked = new Set();
    /** @private @type {Record<string, { timer: any, running: boolean, again: boolean, lastMs: number, tookMs: number }>} */
    this.loops = {};
    const offs = [
      ctx.live.on("job", (/** @type {any} */ turn) => turn.job === id && this.turned()),
      ctx.live.on("progress", (/** @type {any} */ news) => news.job === id && this.progressed(news)),
      ctx.live.on("reset", () => this.refresh()),
    ];
    const lookAgain = () => document.hidden || ended(this.job) || this.refresh();
    const look = setInterval(lookAgain, LOOK_EVERY_MS);
    document.addEventListener("visibilitychange", lookAgain, { signal: this.abort.signal });
    this.abort.signal.addEventListener("abort", () => {
      for (const off of offs) off?.();
      clearInterval(look);
      for (const loop of Object.values(this.loops)) clearTimeout(loop.timer);
    });
    this.refresh();
  }

  close() {
    this.abort.abort();
  }

  /** Asks for all of it anew. */
  refresh() {
    this.soon("job", JOB_EVERY_MS, () => this.loadJob());
    this.soon("tasks", TASKS_EVERY_MS, () => this.loadTasks());
  }

  /** @private */
  turned() {
    this.refresh();
  }

  /**
   * @private
   * @param {any} news
   */
  progressed(news) {
    if (!this.job || ended(this.job)) return;
    const { job: _, tenant: __, ...figures } = news;
    const moved =
      figures.shards_done !== this.job.shards_done || figures.shards_running !== this.job.shards_running;
    Object.assign(this.job, figures);
    this.changed();
    this.soon("job", JOB_EVERY_MS, () => this.loadJob());
    if (moved) this.soon("tasks", TASKS_EVERY_MS, () => this.loadTasks());
  }

  /**
   * Runs a request soon, never beside itself and never more often than it should.
   * @private
   * @param {string} what
   * @param {number} everyMs
   * @param {() => Promise<void>} load
   */
  soon(what, everyMs, load) {
    const loop = (this.loops[what] ??= {
      timer: null,
      running: false,
      again: false,
      lastMs: -Infinity,
      tookMs: 0,
    });
    if (loop.running) loop.again = true;
    if (loop.running || loop.timer !== null || this.abort.signal.aborted) return;
    const rest = Math.max(everyMs, REST_FACTOR * loop.tookMs);
    const wait = Math.max(0, loop.lastMs + rest - performance.now());
    loop.timer = setTimeout(async () => {
      const began = performance.now();
      Object.assign(loop, { timer: null, running: true, again: false });
      try {
        await load();
        this.stale = false;
      } catch (error) {
        this.failed(error);
      }
      const now = performance.now();
      Object.assign(loop, { running: false, lastMs: now, tookMs: now - began });
      if (this.abort.signal.aborted) return;
      this.changed();
      if (loop.again) this.soon(what, everyMs, load);
    }, wait);
  }

  /**
   * @private
   * @param {any} error
   */
  failed(error) {
    if (this.abort.signal.aborted) return;
    this.stale = true;
    if (!this.job || error?.status === 404) this.problem = error;
  }

  /** @private */
  get options() {
    return { signal: this.abort.signal };
  }

  /** @private */
  async loadJob() {
    const job = await this.api.get(this.path, this.options);
    const before = this.job;
    // Done shards that are undone, or a new plan: what was settled is not.
    const undone = before && (job.shards_done < before.shards_done || job.epoch !== before.epoch);
    if (undone || before?.shards_total !== job.shards_total) this.pages = [];
    this.job = job;
    this.problem = null;
    if (before && before.state !== job.state) {
      this.soon("tasks", TASKS_EVERY_MS, () => this.loadTasks());
    }
    const wanted = job.state === "succeeded" ? "output" : "source";
    if (!this.metadata?.[wanted]) this.soon("metadata", LOOK_EVERY_MS, () => this.loadMetadata());
  }

  /** @private */
  async loadMetadata() {
    if (this.job?.state === "uploading") return;
    try {
      this.metadata = await this.api.get(`${this.path}/metadata`, this.options);
    } catch (error) {
      // It is not known yet, or not kept.
      if (/** @type {any} */ (error)?.status < 500) return;
      throw error;
    }
  }

  /** @private */
  async loadTasks() {
    /** @type {Page[]} */
    const pages = [];
    /** @type {string | null} */
    let token = "";
    while (token !== null) {
      const known = this.pages[pages.length];
      if (known && known.token === token && settled(known)) {
        pages.push(known);
        token = known.next;
        continue;
      }
      const query = { page_size: PAGE, page_token: token };
      const answer = await this.api.get(`${this.path}/tasks`, { ...this.options, query });
      pages.push({ tasks: answer.tasks, token, next: answer.next_page_token });
      token = answer.next_page_token;
    }
    this.pages = pages;
    this.tasks = pages.flatMap((page) => page.tasks);
    this.tasksKnown = true;
    for (const task of this.tasks) this.remember(task);
    await this.nameEngines();
    this.soon("details", TASKS_EVERY_MS, () => this.loadDetails());
  }

  /**
   * Finds out what engines are called. Tasks say it of those that made them; of those that
   * work on one the cluster is asked, once each.
   * @private
   */
  async nameEngines() {
    for (const { engine } of this.tasks) if (engine) knowEngine(engine);
    for (const engine of this.job?.engines ?? []) knowEngine(engine);
    const nameless = this.tasks.map((task) => task.node ?? 0).filter((id) => isNameless(id) && !this.asked.has(id));
    if (nameless.length === 0) return;
    for (const id of nameless) this.asked.add(id);
    try {
      const found = await this.api.get("/engines", this.options);
      for (const engine of found.engines) knowEngine(engine);
    } catch (error) {
      // A key may have no leave to see them: they are shown by their numbers.
      if (/** @type {any} */ (error)?.status < 500) return;
      throw error;
    }
  }

  /**
   * Remembers when attempts were seen to run, for where nobody else does.
   * @private
   * @param {Task} task
   */
  remember(task) {
    const key = keyOf(task);
    const known = this.seen.get(key);
    if (task.state === "running" && task.node) {
      const attempts = known ?? new Map();
      this.seen.set(key, attempts);
      if (!attempts.has(task.attempt)) {
        const { attempt, node, started_unix_ms } = task;
        attempts.set(attempt, { attempt, node, outcome: "running", started_unix_ms });
      }
    }
    for (const attempt of known?.values() ?? []) {
      const over = attempt.attempt < task.attempt || task.state !== "running";
      if (over) attempt.ended_unix_ms ??= Date.now();
    }
  }

  /** @private */
  async loadDetails() {
    const wanted = this.tasks.filter((task) => {
      const tried = task.attempt > 1 || task.failures.length > 0;
      return tried && this.details.get(keyOf(task))?.at !== stamp(task);
    });
    for (const task of wanted.slice(0, DETAILS_MAX)) {
      const at = stamp(task);
      const found = await this.api.get(`${this.path}/tasks/${keyOf(task)}`, this.options);
      this.details.set(keyOf(task), { at, attempts: found.attempts });
      this.changed();
    }
  }

  /**
   * A task's attempts in their order, with the times that are known.
   * @param {Task} task
   * @returns {Attempt[]}
   */
  attempts(task) {
    const detailed = this.details.get(keyOf(task))?.attempts ?? [];
    const former = detailed.filter((it) => it.attempt < task.attempt || task.state === "pending");
    const seen = this.seen.get(keyOf(task));
    const timed = former.map((it) => ({
      ...it,
      started_unix_ms:
        it.started_unix_ms ??
        seen?.get(it.attempt)?.started_unix_ms ??
        (it.attempt === task.attempt ? task.started_unix_ms : null),
      ended_unix_ms: it.ended_unix_ms ?? seen?.get(it.attempt)?.ended_unix_ms ?? null,
    }));
    if (task.state === "pending" || !task.node) return timed;
    const { attempt, node, started_unix_ms, ended_unix_ms } = task;
    const outcome = task.state === "done" ? "done" : this.unfinished();
    const end = task.state === "done" ? ended_unix_ms : null;
    return [...timed, { attempt, node, outcome, started_unix_ms, ended_unix_ms: end }];
  }

  /** What a task is that runs no more as its job has ended. @private */
  unfinished() {
    return ended(this.job) ? "stopped" : "running";
  }
}

/** @param {Page} page */
function settled(page) {
  return page.next !== null && page.tasks.every((task) => task.state === "done");
}

/** @param {Task} task */
function stamp(task) {
  return `${task.attempt} ${task.state} ${task.failures.length}`;
}
