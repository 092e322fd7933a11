/**
 * One stream of events for the whole page. It is read by fetch, since the
 * browser's own EventSource can't send a key, and goes on at another node, from
 * the last event that was seen, where one fails or falls silent.
 */

import { Problem, isOfNode, pause, refusal } from "./api.js";

/**
 * `connecting`: for the first time; `live`: events come; `stale`: what is shown may be old, and a node is sought;
 * `unreachable`: no node that is known answers; `refused`: the key is not taken;
 * `resting`: the page is hidden, and the stream is closed.
 * @typedef {"connecting" | "live" | "stale" | "unreachable" | "refused" | "resting"} State
 */
/** @typedef {"start" | "reset" | "job" | "progress" | "cluster" | "ping"} EventName */

/** Pings come every 15 s: a little more, and what is shown may be old. */
const STALE_MS = 20_000;
/** Two pings are missing: another node is asked. */
const SILENT_MS_MAX = 30_000;
const PAUSE_MS_MIN = 250;
const PAUSE_MS_MAX = 4_000;
/**
 * A hidden page closes its stream after so long: browsers hold six connections to
 * a node, and many tabs would leave none for uploads.
 */
const HIDDEN_MS_MAX = 60_000;

/** The stream, and who listens to it. */
export class Live {
  /** @param {import("./api.js").Api} api */
  constructor(api) {
    this.api = api;
    /** @type {State} */
    this.state = "connecting";
    /** When something was heard, in milliseconds of the page's clock. */
    this.heardAt = performance.now();
    /** The latest `cluster` event. @type {any} */
    this.cluster = null;
    /** Why the stream is refused. @type {Problem | null} */
    this.problem = null;
    /** @type {Map<string, Set<(data: any) => void>>} */
    this.listeners = new Map();
    /** @type {Set<() => void>} */
    this.watchers = new Set();
    this.lastId = "";
    this.failures = 0;
    /** @type {AbortController | null} */
    this.running = null;
    this.hiddenTimer = 0;
    document.addEventListener("visibilitychange", () => this.seenOrHidden());
  }

  /**
   * @param {EventName} event
   * @param {(data: any) => void} listener
   * @returns {() => void} ends it
   */
  on(event, listener) {
    const listeners = this.listeners.get(event) ?? new Set();
    this.listeners.set(event, listeners);
    listeners.add(listener);
    return () => listeners.delete(listener);
  }

  /**
   * Tells when the state changes.
   * @param {() => void} watcher
   * @returns {() => void} ends it
   */
  onstate(watcher) {
    this.watchers.add(watcher);
    return () => this.watchers.delete(watcher);
  }

  /** Begins, or begins anew with what has changed, as the key. */
  start() {
    this.stop();
    this.running = new AbortController();
    this.failures = 0;
    this.problem = null;
    void this.run(this.running.signal);
  }

  stop() {
    this.running?.abort();
    this.running = null;
  }

  /** Forgets what was seen, as after another key was given. */
  forget() {
    this.lastId = "";
    this.cluster = null;
  }

  /** @private */
  seenOrHidden() {
    clearTimeout(this.hiddenTimer);
    if (!document.hidden) {
      if (this.state === "resting") this.start();
      return;
    }
    this.hiddenTimer = window.setTimeout(() => {
      if (this.state === "refused") return;
      this.stop();
      this.become("resting");
    }, HIDDEN_MS_MAX);
  }

  /** @private @param {State} state */
  become(state) {
    if (this.state === state) return;
    this.state = state;
    for (const watcher of this.watchers) watcher();
  }

  /** @private @param {AbortSignal} signal */
  async run(signal) {
    while (!signal.aborted) {
      const node = this.api.node;
      const problem = await this.follow(node, signal);
      if (signal.aborted) return;
      if (problem && problem.status === 400) this.lastId = "";
      else if (problem && !isOfNode(problem) && problem.status < 500 && problem.status !== 429) {
        this.problem = problem;
        this.become("refused");
        return;
      }
      this.failures += 1;
      this.api.leave(node);
      const rounds = this.failures / this.api.nodes.length;
      this.become(rounds > 2 ? "unreachable" : "stale");
      const wait = Math.min(PAUSE_MS_MAX, PAUSE_MS_MIN * 2 ** Math.floor(rounds));
      await pause(wait, signal).catch(() => undefined);
    }
  }

  /**
   * Reads one stream to its end.
   * @private
   * @param {string} node
   * @param {AbortSignal} ended
   * @returns {Promise<Problem | null>} why it could not be read
   */
  async follow(node, ended) {
    const silence = new AbortController();
    const signal = AbortSignal.any([ended, silence.signal]);
    // A node that was left as it did not answer is not waited for here either.
    const left = this.api.onchange(() => this.api.node !== node && silence.abort());
    let heard = performance.now();
    const watch = setInterval(() => {
      const silent = performance.now() - heard;
      if (silent > SILENT_MS_MAX) silence.abort();
      else if (silent > STALE_MS && this.state === "live") this.become("stale");
    }, 1_000);
    try {
      const response = await fetch(this.api.url("/events", {}, node), {
        headers: { ...this.api.headers(), ...(this.lastId ? { "last-event-id": this.lastId } : {}) },
        signal,
        cache: "no-store",
        credentials: "omit",
      });
      if (!response.ok || !response.body) return await refusal(response);
      const parser = new Parser((event, data, id) => this.heard(node, event, data, id));
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        const { value, done } = await reader.read();
        if (done) return null;
        heard = performance.now();
        this.heardAt = heard;
        parser.push(value);
      }
    } catch {
      return null;
    } finally {
      clearInterval(watch);
      left();
      silence.abort();
    }
  }

  /**
   * @private
   * @param {string} node
   * @param {string} event
   * @param {string} data
   * @param {string} id
   */
  heard(node, event, data, id) {
    if (id) this.lastId = id;
    if (this.state !== "live") {
      this.failures = 0;
      this.api.settle(node);
      this.become("live");
    }
    const listeners = this.listeners.get(event);
    if (event !== "cluster" && !listeners?.size) return;
    const document = JSON.parse(data);
    if (event === "cluster") this.cluster = document;
    for (const listener of listeners ?? []) {
      try {
        listener(document);
      } catch (error) {
        // It is a fault of the page; to begin the stream anew would not mend it.
        reportError(error);
      }
    }
  }
}

/** Server-sent events out of pieces of text, as the HTML standard says. */
export class Parser {
  /** @param {(event: string, data: string, id: string) => void} tell */
  constructor(tell) {
    this.tell = tell;
    this.rest = "";
    this.event = "";
    this.data = "";
    this.id = "";
  }

  /** @param {string} text */
  push(text) {
    const lines = (this.rest + text).split(/\r?\n/);
    this.rest = lines.pop() ?? "";
    for (const line of lines) this.line(line);
  }

  /** @private @param {string} line */
  line(line) {
    if (line === "") {
      if (this.data) this.tell(this.event || "message", this.data.slice(0, -1), this.id);
      this.event = this.data = this.id = "";
      return;
    }
    const colon = line.indexOf(":");
    if (colon === 0) return;
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "event") this.event = value;
    else if (field === "data") this.data += `${value}\n`;
    else if (field === "id") this.id = value;
  }
}
