/**
 * Uploads that survive a break, another leader, a dead node and a reload of the
 * page: by tus, whose offset the cluster keeps. They run beside all views.
 */

import { Problem, isOfNode, pause, problemOf } from "./api.js";
import { shortened } from "./dropped.js";
import { Pace } from "./pace.js";
import { Remembered, hasLock, holdLock, randomId } from "./remembered.js";

/**
 * `waiting` for its turn; `sending`; `paused` by the person; `asleep`: remembered
 * from before, its file must be given again; `failed`; `done`.
 * @typedef {"waiting" | "sending" | "paused" | "asleep" | "failed" | "done"} State
 */
/** What a job is asked for with, beside its source. @typedef {Record<string, unknown>} Wish */

/** More at once only share the same line, and a browser holds six connections to a node. */
const AT_ONCE_MAX = 3;
/** One request's bytes: few requests, and a bounded share to send again. */
const PART_BYTES = 64 * 1024 * 1024;
/** A connection that moves nothing for so long is given up for another node. */
const STALL_MS_MAX = 20_000;
const PAUSE_MS_MIN = 300;
const PAUSE_MS_MAX = 5_000;
/** Failures in a row without a byte of progress before the person is told. */
const FAILURES_MAX = 60;
const TUS = { "tus-resumable": "1.0.0" };

/** One file on its way. */
export class Upload {
  /**
   * @param {string} key
   * @param {{ name: string, bytes: number, modifiedMs: number, wish: Wish, id?: string | null }} of
   */
  constructor(key, of) {
    /** Its request's id, by which a job that was made is found again. */
    this.key = key;
    /** The job's id, once it is made. @type {string | null} */
    this.id = of.id ?? null;
    this.name = of.name;
    this.bytes = of.bytes;
    this.modifiedMs = of.modifiedMs;
    this.wish = of.wish;
    /** @type {State} */
    this.state = "waiting";
    this.sent = 0;
    this.pace = new Pace();
    /** @type {Problem | null} */
    this.problem = null;
    /** Why it does not move now, while another try is made. */
    this.trouble = "";
    /** @type {File | null} */
    this.file = null;
    /** @type {any} */
    this.handle = null;
    /** What events have said of its job since it was sent. @type {any} */
    this.job = null;
    /** @type {AbortController | null} */
    this.running = null;
    /** @type {() => void} */
    this.unlock = () => undefined;
  }

  /** Bytes a second; 0 while nothing is sent. */
  get speed() {
    return this.state === "sending" ? this.pace.perSecond() : 0;
  }

  /** Seconds to its end, or null where that is not known. */
  get etaS() {
    return this.speed > 0 ? (this.bytes - this.sent) / this.speed : null;
  }

  /**
   * Whether a file can be the one that was begun.
   * @param {File} file
   */
  isOf(file) {
    const same = file.name === this.name && file.size === this.bytes;
    return same && (this.modifiedMs === 0 || file.lastModified === this.modifiedMs);
  }
}

/** All uploads of this page. */
export class Uploads {
  /** @param {import("./api.js").Api} api */
  constructor(api) {
    this.api = api;
    /** @type {Upload[]} */
    this.items = [];
    /** @type {Set<() => void>} */
    this.listeners = new Set();
    this.remembered = new Remembered();
    window.addEventListener("beforeunload", (event) => {
      if (this.items.some((item) => item.state === "sending")) event.preventDefault();
    });
  }

  /**
   * Tells when an upload comes, goes or moves on.
   * @param {() => void} listener
   * @returns {() => void} ends it
   */
  onchange(listener) {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** @private */
  changed() {
    for (const listener of this.listeners) listener();
  }

  /** @param {string} id of a job @returns {Upload | undefined} */
  of(id) {
    return this.items.find((item) => item.id === id && item.state !== "done");
  }

  /**
   * Takes in what an event says of a job.
   * @param {{ job: string }} news
   * @returns {Upload | undefined} the upload that the job came of
   */
  hear(news) {
    const item = this.items.find(({ id }) => id === news.job);
    if (!item) return undefined;
    const { job: _, ...fields } = news;
    item.job = { ...item.job, ...fields };
    this.changed();
    return item;
  }

  /** Asks what became of films that are sent, after news of them were missed. */
  async recheck() {
    for (const { id, state, job } of this.items) {
      if (state !== "done" || ["succeeded", "failed", "cancelled", "deleted"].includes(job?.state)) continue;
      const now = await this.api.get(`/jobs/${id}`).catch(() => null);
      if (now) this.hear({ ...now, job: now.id });
    }
  }

  /** How all that are not done stand together. */
  summary() {
    const open = this.items.filter((item) => item.state !== "done");
    const moving = open.filter((item) => item.state === "sending" || item.state === "waiting");
    const sum = (/** @type {(item: Upload) => number} */ of) =>
      moving.reduce((total, item) => total + of(item), 0);
    const [bytes, sent, speed] = [sum((i) => i.bytes), sum((i) => i.sent), sum((i) => i.speed)];
    return {
      open: open.length,
      moving: moving.length,
      bytes,
      sent,
      speed,
      etaS: speed > 0 ? (bytes - sent) / speed : null,
    };
  }

  /**
   * Goes on with an upload that broke off, if a file is the one that it was of.
   * @param {File} file
   * @returns {boolean} whether there is one
   */
  goOn(file) {
    const asleep = this.items.find((item) => item.state === "asleep" && item.isOf(file));
    if (asleep) this.wake(asleep, file);
    return asleep !== undefined;
  }

  /**
   * Sends a file as a new job.
   * @param {File} file
   * @param {Wish} wish the body of `POST /jobs` beside its source
   * @param {any} [handle] the file's handle, where the browser gave one
   * @returns {Upload}
   */
  add(file, wish, handle = null) {
    const item = new Upload(randomId(), {
      name: file.name,
      bytes: file.size,
      modifiedMs: file.lastModified,
      wish,
    });
    item.file = file;
    item.handle = handle;
    this.items.push(item);
    this.enqueue(item);
    return item;
  }

  /**
   * Takes in a job of the list that waits for the rest of its file.
   * @param {{ id: string, source_name: string, source_bytes: number }} job
   * @returns {Upload}
   */
  adopt(job) {
    const known = this.of(job.id);
    if (known) return known;
    const of = { name: job.source_name, bytes: job.source_bytes, modifiedMs: 0, wish: {}, id: job.id };
    const item = new Upload(randomId(), of);
    item.state = "asleep";
    this.items.push(item);
    this.changed();
    return item;
  }

  /**
   * Gives an upload of before its file.
   * @param {Upload} item
   * @param {File} file
   */
  wake(item, file) {
    item.file = file;
    this.enqueue(item);
  }

  /**
   * Asks the browser for the file that it has a handle of.
   * @param {Upload} item
   * @returns {Promise<boolean>} whether it goes on
   */
  async wakeByHandle(item) {
    if (!item.handle) return false;
    const allowed = await item.handle.requestPermission({ mode: "read" });
    if (allowed !== "granted") return false;
    const file = await item.handle.getFile();
    if (!item.isOf(file)) {
      const cause = `${item.name} has changed since its upload began`;
      this.fail(item, new Problem(409, "file-changed", cause, "cancel this upload, and add the file anew"));
      return false;
    }
    this.wake(item, file);
    return true;
  }

  /** @param {Upload} item */
  pause(item) {
    item.running?.abort();
    item.state = "paused";
    this.changed();
    this.pump();
  }

  /** Goes on after a pause or a failure. @param {Upload} item */
  resume(item) {
    if (item.file) this.enqueue(item);
    else void this.wakeByHandle(item);
  }

  /**
   * Gives an upload up, and its job with it.
   * @param {Upload} item
   */
  async cancel(item) {
    item.running?.abort();
    this.forget(item);
    this.pump();
    if (!item.id) return;
    try {
      await this.api.delete(`/uploads/${item.id}`, { headers: TUS });
    } catch (error) {
      const gone = error instanceof Problem && [404, 410].includes(error.status);
      if (!gone) throw error;
    }
  }

  /** Takes an upload from the list and from memory. @param {Upload} item */
  forget(item) {
    item.unlock();
    this.items = this.items.filter((other) => other !== item);
    void this.remembered.remove(item.key);
    this.changed();
  }

  /** Finds uploads again that an earlier page began. */
  async restore() {
    for (const record of await this.remembered.all()) {
      if (this.items.some((item) => item.key === record.key) || (await hasLock(record.key))) continue;
      const item = new Upload(record.key, record);
      item.handle = record.handle;
      item.state = "asleep";
      if (item.id && !(await this.isOpen(item))) continue;
      this.items.push(item);
      this.changed();
      const allowed = await item.handle?.queryPermission?.({ mode: "read" });
      if (allowed === "granted") await this.wakeByHandle(item);
    }
  }

  /**
   * Whether the cluster still waits for an upload; its offset is taken. One that is
   * whole is forgotten; one that can't be seen may be another key's.
   * @private
   * @param {Upload} item
   */
  async isOpen(item) {
    try {
      const job = await this.api.get(`/jobs/${item.id}`);
      if (job.state !== "uploading") {
        await this.remembered.remove(item.key);
        return false;
      }
      item.sent = await this.offset(item, undefined);
      return true;
    } catch (error) {
      return !(error instanceof Problem && [403, 404, 410].includes(error.status));
    }
  }

  /** @private @param {Upload} item */
  enqueue(item) {
    item.state = "waiting";
    item.problem = null;
    item.unlock();
    item.unlock = holdLock(item.key);
    void this.remembered.add(item);
    this.changed();
    this.pump();
  }

  /** Begins what may begin. @private */
  pump() {
    const sending = this.items.filter((item) => item.state === "sending").length;
    const waiting = this.items.filter((item) => item.state === "waiting");
    for (const item of waiting.slice(0, Math.max(0, AT_ONCE_MAX - sending))) {
      item.state = "sending";
      item.pace = new Pace();
      item.running = new AbortController();
      void this.run(item, item.running.signal);
    }
  }

  /** @private @param {Upload} item @param {AbortSignal} signal */
  async run(item, signal) {
    try {
      if (!item.id) await this.create(item, signal);
      await this.send(item, signal);
      // The file stays at hand, to be seen beside what becomes of it.
      item.state = "done";
      item.unlock();
      void this.remembered.remove(item.key);
    } catch (error) {
      if (signal.aborted) return;
      this.fail(item, error);
    }
    this.changed();
    this.pump();
  }

  /** @private @param {Upload} item @param {unknown} error */
  fail(item, error) {
    const hint = "try again; the page's console may say more";
    const cause = error instanceof Error ? error.message : String(error);
    item.problem = error instanceof Problem ? error : new Problem(0, "upload-failed", cause, hint);
    item.state = "failed";
    this.changed();
  }

  /** @private @param {Upload} item @param {AbortSignal} signal */
  async create(item, signal) {
    const body = { ...item.wish, source_bytes: item.bytes, source_name: shortened(item.name) };
    const headers = { "idempotency-key": item.key };
    // It is not broken off, so that a job that was made is known, and can be deleted.
    const made = await this.api.post("/jobs", body, { headers, repeatable: true });
    item.id = made.job.id;
    if (signal.aborted && !this.items.includes(item)) {
      await this.api.delete(`/uploads/${item.id}`, { headers: TUS });
    }
    signal.throwIfAborted();
    void this.remembered.add(item);
    this.changed();
  }

  /**
   * How many bytes are safe in the cluster.
   * @private
   * @param {Upload} item
   * @param {AbortSignal | undefined} signal
   */
  async offset(item, signal) {
    const path = `/uploads/${item.id}`;
    try {
      const response = await this.api.fetch("HEAD", path, undefined, { headers: TUS, signal });
      return Number(response.headers.get("upload-offset"));
    } catch (error) {
      // An answer to HEAD has no words of its own.
      const gone = error instanceof Problem && [404, 410].includes(error.status);
      if (!gone) throw error;
      const cause = "its job was cancelled or deleted meanwhile, or is another key's";
      throw new Problem(error.status, "upload-gone", cause, "add the file anew, or give the key that it was begun with");
    }
  }

  /** @private @param {Upload} item @param {AbortSignal} signal */
  async send(item, signal) {
    let failures = 0;
    let best = -1;
    for (;;) {
      const node = this.api.node;
      try {
        let at = await this.offset(item, signal);
        this.moved(item, at);
        while (at < item.bytes) at = await this.part(item, node, at, signal);
        return;
      } catch (error) {
        if (signal.aborted) throw error;
        const problem = await this.judged(item, error);
        failures = item.sent > best ? 1 : failures + 1;
        best = Math.max(best, item.sent);
        if (failures > FAILURES_MAX) throw problem;
        item.trouble = problem.cause;
        this.changed();
        if (isOfNode(problem)) this.api.leave(node);
        await pause(Math.min(PAUSE_MS_MAX, PAUSE_MS_MIN * 2 ** Math.min(failures, 5)), signal);
      }
    }
  }

  /**
   * Throws what no other try mends.
   * @private
   * @param {Upload} item
   * @param {unknown} error
   * @returns {Promise<Problem>}
   */
  async judged(item, error) {
    if (!(error instanceof Problem)) throw error;
    // 409: more or less is there than was thought; 408: the body broke off; 429: too fast.
    if (!isOfNode(error) && ![408, 409, 429, 504].includes(error.status)) throw error;
    if (error.status === 0) {
      const probe = item.file?.slice(item.sent, item.sent + 1);
      await probe?.arrayBuffer().catch(() => {
        const cause = `${item.name} can't be read any more: it was changed, moved or deleted`;
        throw new Problem(409, "file-changed", cause, "cancel this upload, and add the file anew");
      });
    }
    return error;
  }

  /** @private @param {Upload} item @param {number} sent */
  moved(item, sent) {
    item.sent = sent;
    item.trouble = "";
    item.pace.at(sent);
    this.changed();
  }

  /**
   * Sends one part.
   * @private
   * @param {Upload} item
   * @param {string} node
   * @param {number} from
   * @param {AbortSignal} signal
   * @returns {Promise<number>} the offset behind it
   */
  part(item, node, from, signal) {
    const part = /** @type {File} */ (item.file).slice(from, from + PART_BYTES);
    // fetch tells nothing of an upload's progress.
    const request = new XMLHttpRequest();
    request.open("PATCH", this.api.url(`/uploads/${item.id}`, {}, node));
    const headers = { ...this.api.headers(), ...TUS, "upload-offset": String(from) };
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    request.setRequestHeader("content-type", "application/offset+octet-stream");
    return new Promise((resolve, reject) => {
      let movedAt = performance.now();
      const watch = setInterval(() => {
        if (performance.now() - movedAt > STALL_MS_MAX) request.abort();
      }, 1_000);
      const stop = () => request.abort();
      signal.addEventListener("abort", stop);
      request.upload.onprogress = ({ loaded }) => {
        movedAt = performance.now();
        this.moved(item, from + loaded);
      };
      request.onloadend = () => {
        clearInterval(watch);
        signal.removeEventListener("abort", stop);
        if (request.status !== 204) {
          const lost = new Problem(0, "unreachable", "the connection broke off", "it is tried again");
          reject(request.status ? problemOf(request.status, request.responseText) : lost);
          return;
        }
        const at = Number(request.getResponseHeader("upload-offset"));
        this.moved(item, at);
        resolve(at);
      };
      request.send(part);
    });
  }
}
