/**
 * Requests to the cluster: with the person's key, to the node that answers.
 * Any node answers anything, so where one fails the next is asked.
 */

import { kept, keptByTab } from "./kept.js";

/** A refusal, or that nothing answered (status 0). */
export class Problem extends Error {
  /**
   * @param {number} status of HTTP
   * @param {string} kind
   * @param {string} cause
   * @param {string} hint
   */
  constructor(status, kind, cause, hint) {
    super(cause);
    this.name = "Problem";
    this.status = status;
    this.kind = kind;
    /** @type {string} */
    this.cause = cause;
    this.hint = hint;
  }
}

/**
 * @typedef {object} Options
 * @property {AbortSignal} [signal]
 * @property {boolean} [repeatable] whether it may be sent twice; GET, PUT and DELETE always may
 * @property {Record<string, string>} [headers]
 * @property {number} [timeoutMs]
 * @property {Record<string, unknown>} [query] parameters; what is null or "" is left out
 */

/** A node that is silent for so long is left for the next: it may be paused or cut off. */
const ANSWER_MS_MAX = 10_000;
/** A document on a slow line; a node may also stop in the middle of one. */
const BODY_MS_MAX = 60_000;
/** Rounds over all nodes before a request is given up: an election takes a second or two. */
const ROUNDS = 4;
const ROUND_PAUSE_MS = 700;
const KEY = "reelraft.key";

/** Requests to the nodes of one cluster. */
export class Api {
  constructor() {
    /** Origins, ours first. @type {string[]} */
    this.nodes = [location.origin];
    /** The origin that is asked. */
    this.node = location.origin;
    /** @type {Set<() => void>} */
    this.listeners = new Set();
    /** How often a key was given: the same one may hold now that was refused before. */
    this.keysGiven = 0;
    /** @type {string} */
    this.key = keptByTab.get(KEY) ?? kept.get(KEY) ?? "";
  }

  /**
   * Tells when the node that is asked, the nodes that are known or the key change.
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

  /**
   * Whether the key is kept when the browser is closed.
   * @returns {boolean}
   */
  get keyKept() {
    return kept.get(KEY) !== null;
  }

  /**
   * @param {string} key empty to forget it
   * @param {boolean} keep beyond this tab
   */
  setKey(key, keep) {
    keptByTab.set(KEY, keep ? null : key || null);
    kept.set(KEY, keep ? key || null : null);
    this.key = key;
    this.keysGiven += 1;
    this.changed();
  }

  /**
   * Takes in the nodes that the cluster names, each with its `http` origin.
   * @param {{ http?: string | null, reachable?: boolean }[]} nodes
   */
  learn(nodes) {
    const origins = nodes.flatMap((node) => origin(node.http) ?? []).filter(isAsSafe);
    if (origins.length === 0) return;
    const all = [...new Set([location.origin, ...origins])];
    if (all.join() === this.nodes.join()) return;
    this.nodes = all;
    this.changed();
  }

  /**
   * Leaves a node that failed.
   * @param {string} failed
   */
  leave(failed) {
    if (this.node !== failed || this.nodes.length < 2) return;
    this.node = this.after(failed);
    this.changed();
  }

  /** @private @param {string} node @returns {string} the one that is asked after it */
  after(node) {
    return this.nodes[(this.nodes.indexOf(node) + 1) % this.nodes.length];
  }

  /**
   * Asks a node that answered.
   * @param {string} answered
   */
  settle(answered) {
    if (this.node === answered) return;
    this.node = answered;
    this.changed();
  }

  /**
   * The address of a path at the node that is asked.
   * @param {string} path
   * @param {Record<string, unknown>} [query]
   * @param {string} [node]
   */
  url(path, query = {}, node = this.node) {
    const url = new URL(path.startsWith("/api/") ? path : `/api/v1${path}`, node);
    for (const [name, value] of Object.entries(query)) {
      if (value !== null && value !== undefined && value !== "") {
        url.searchParams.append(name, String(value));
      }
    }
    return url.href;
  }

  /** What each request carries of the key. @returns {Record<string, string>} */
  headers() {
    return this.key ? { authorization: `Bearer ${this.key}` } : {};
  }

  /** @param {string} path @param {Options} [options] @returns {Promise<any>} */
  get(path, options) {
    return this.json("GET", path, undefined, options);
  }
  /** @param {string} path @param {unknown} [body] @param {Options} [options] @returns {Promise<any>} */
  post(path, body, options) {
    return this.json("POST", path, body, options);
  }
  /** @param {string} path @param {unknown} [body] @param {Options} [options] @returns {Promise<any>} */
  put(path, body, options) {
    return this.json("PUT", path, body, options);
  }
  /** @param {string} path @param {unknown} [body] @param {Options} [options] @returns {Promise<any>} */
  patch(path, body, options) {
    return this.json("PATCH", path, body, options);
  }
  /** @param {string} path @param {Options} [options] @returns {Promise<any>} */
  delete(path, options) {
    return this.json("DELETE", path, undefined, options);
  }

  /**
   * @param {string} method
   * @param {string} path
   * @param {unknown} body
   * @param {Options} [options]
   * @returns {Promise<any>} the document; the text of an answer that is none
   */
  async json(method, path, body, options) {
    const response = await this.fetch(method, path, body, options, true);
    if (response.status === 204) return null;
    const type = response.headers.get("content-type") ?? "";
    return type.includes("json") ? response.json() : response.text();
  }

  /**
   * Sends a request to one node after the other until one answers.
   * @param {string} method
   * @param {string} path
   * @param {unknown} body a string, a Blob, or what becomes JSON
   * @param {Options} [options]
   * @param {boolean} [whole] whether an answer counts only once all of it is here
   * @returns {Promise<Response>} of a status below 400
   * @throws {Problem} refused, or nothing answered
   */
  async fetch(method, path, body, options = {}, whole = false) {
    const repeatable = options.repeatable ?? (method !== "POST" && method !== "PATCH");
    /** @type {Problem} */
    let problem = nothingAnswers();
    for (let round = 0; round < (repeatable ? ROUNDS : 1); round++) {
      if (round > 0) await pause(ROUND_PAUSE_MS * round, options.signal);
      let node = this.node;
      for (let turn = 0; turn < (repeatable ? this.nodes.length : 1); turn++) {
        const answer = await this.ask(node, method, path, body, options, whole);
        if (answer instanceof Response) return answer;
        problem = answer;
        if (!isOfNode(problem)) throw problem;
        // One that is only busy is still the one to ask for all else.
        if (problem.status === 0) this.leave(node);
        node = problem.status === 0 ? this.node : this.after(node);
      }
    }
    throw problem;
  }

  /**
   * @private
   * @param {string} node
   * @param {string} method
   * @param {string} path
   * @param {unknown} body
   * @param {Options} options
   * @param {boolean} whole
   * @returns {Promise<Response | Problem>}
   */
  async ask(node, method, path, body, options, whole) {
    const silence = new AbortController();
    let timer = setTimeout(() => silence.abort(), options.timeoutMs ?? ANSWER_MS_MAX);
    const signals = options.signal ? [options.signal, silence.signal] : [silence.signal];
    const json = body !== undefined && typeof body !== "string" && !(body instanceof Blob);
    try {
      const response = await fetch(this.url(path, options.query, node), {
        method,
        headers: {
          ...this.headers(),
          ...(json ? { "content-type": "application/json" } : {}),
          ...options.headers,
        },
        body: json ? JSON.stringify(body) : /** @type {BodyInit | undefined} */ (body),
        signal: AbortSignal.any(signals),
        cache: "no-store",
        credentials: "omit",
      });
      clearTimeout(timer);
      timer = setTimeout(() => silence.abort(), BODY_MS_MAX);
      if (!response.ok) return await refusal(response);
      if (!whole || response.status === 204) return response;
      return new Response(await response.blob(), response);
    } catch (error) {
      if (options.signal?.aborted) throw error;
      return nothingAnswers(node);
    } finally {
      clearTimeout(timer);
    }
  }
}

/** @param {string | null | undefined} url @returns {string | null} */
function origin(url) {
  if (!url || !URL.canParse(url)) return null;
  return new URL(url).origin;
}

/**
 * Whether the key may be sent there: a page that came encrypted sends it to nobody
 * in plain text.
 * @param {string} origin
 */
function isAsSafe(origin) {
  return origin.startsWith("https:") || (origin.startsWith("http:") && location.protocol === "http:");
}

/**
 * Whether another node may answer what this one could not.
 * @param {Problem} problem
 */
export function isOfNode(problem) {
  return problem.status === 0 || problem.status === 503;
}

/** @param {string} [node] */
function nothingAnswers(node) {
  const who = node ? new URL(node).host : "the cluster";
  const hint = "is a node running, and can this machine reach it? It is tried again meanwhile";
  return new Problem(0, "unreachable", `${who} does not answer`, hint);
}

/**
 * A refusal as the server words it.
 * @param {Response} response
 * @returns {Promise<Problem>}
 */
export async function refusal(response) {
  const text = await response.text().catch(() => "");
  return problemOf(response.status, text);
}

/**
 * @param {number} status
 * @param {string} text the body of a refusal
 */
export function problemOf(status, text) {
  try {
    const { kind, cause, hint } = JSON.parse(text);
    if (kind) return new Problem(status, kind, cause ?? "", hint ?? "");
  } catch {
    // It comes from something between us and the node.
  }
  const hint = "this answer does not come from a node; look at what stands before it";
  return new Problem(status, "no-answer", `the answer was HTTP ${status}`, hint);
}

/**
 * Waits, unless it is told to end.
 * @param {number} milliseconds
 * @param {AbortSignal} [signal]
 * @returns {Promise<void>}
 */
export function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const stop = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, milliseconds);
    signal?.addEventListener("abort", stop, { once: true });
  });
}
