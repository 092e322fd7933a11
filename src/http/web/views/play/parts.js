/**
 * Plays the finished parts of a film that is still being made: each is a piece of
 * fragmented MP4 at its own place in time, and is put there into a media source.
 * Those around what is looked at are fetched, one after the other.
 */

import { pause } from "../../lib/api.js";
import { secondsAt } from "../job/clock.js";
import { keyOf } from "../job/data.js";
import { typeOf } from "./mp4.js";

/** @typedef {import("../job/data.js").JobData} JobData */
/** @typedef {import("../job/data.js").Task} Task */
/** @typedef {import("../job/clock.js").FilmClock} FilmClock */

/** Parts carry their times shifted by so much, which keeps them above zero. */
const SHIFT_S = 10;
const BEHIND_S = 20;
const AHEAD_S = 60;
/** So much is fetched at least, where a browser has no room for more. */
const AHEAD_LEAST_S = 5;
/** A part that is not there after so many tries is left out. */
const TRIES_MAX = 4;
const REST_MS = 400;
/** Sound is one part, held whole: what browsers take of it is some megabytes. */
const SOUND_BYTES_MAX = 12 * 1024 * 1024;

/** The finished parts as one film with holes. */
export class Parts {
  /**
   * @param {import("../../app.js").Context} ctx
   * @param {JobData} data
   * @param {HTMLVideoElement} video
   * @param {number} at seconds where it was left
   * @param {(type: string) => void} unplayable
   */
  constructor(ctx, data, video, at, unplayable) {
    this.ctx = ctx;
    this.data = data;
    this.video = video;
    this.at = at;
    this.unplayable = unplayable;
    this.abort = new AbortController();
    this.source = new MediaSource();
    this.url = URL.createObjectURL(this.source);
    /** @type {Map<string, SourceBuffer>} */
    this.buffers = new Map();
    /** How often parts were fetched. @type {Map<string, number>} */
    this.tries = new Map();
    this.ahead = AHEAD_S;
    /** @type {FilmClock | null} */
    this.clock = null;
    this.begun = false;
    this.soundRefused = false;
    video.src = this.url;
    this.source.addEventListener("sourceopen", () => void this.run(), { once: true });
  }

  close() {
    this.abort.abort();
    URL.revokeObjectURL(this.url);
  }

  /** @param {FilmClock} clock */
  draw(clock) {
    this.clock = clock;
  }

  /** @private */
  async run() {
    const { signal } = this.abort;
    while (!signal.aborted) {
      try {
        if (!this.begun) await this.begin();
        const wanted = this.begun ? this.wanted() : null;
        if (wanted) await this.add(wanted);
        else await pause(REST_MS, signal);
      } catch {
        if (signal.aborted) return;
        // A source that has failed takes nothing more.
        if (this.source.readyState !== "open") return;
        // What is not kept any more, or a node that is gone: looked at again.
        await pause(4 * REST_MS, signal).catch(() => undefined);
      }
    }
  }

  /** The sound, if it is made and small enough to be held. @private */
  get sound() {
    const task = this.data.tasks.find((it) => it.kind === "audio" && it.state === "done");
    return task && (task.bytes_out ?? Infinity) < SOUND_BYTES_MAX ? task : null;
  }

  /** Whether there is sound now, and was none when this began. */
  get lacksSound() {
    return this.begun && !this.buffers.has("audio") && !this.soundRefused && this.sound !== null;
  }

  /**
   * Opens the buffers: all of them, before anything is put into one, as browsers
   * take no further track after that.
   * @private
   */
  async begin() {
    const { clock, sound } = this;
    const first = clock?.shards.find((task) => task.state === "done");
    if (!clock || clock.unit === null || !first) return;
    const bytes = await this.fetch(first);
    const heard = sound && (await this.fetch(sound));
    const buffer = this.open("shard", bytes);
    if (!buffer) return;
    const soundBuffer = heard && this.open("audio", heard);
    this.soundRefused = heard !== null && !soundBuffer;
    this.begun = true;
    this.tries.set(keyOf(first), 1);
    await this.append(buffer, bytes);
    const from = secondsAt(clock, first.from_pts) ?? 0;
    const length = secondsAt(clock, clock.first + clock.length) ?? 0;
    // The whole film's length, so that one can go to each of its parts.
    const { duration } = this.source;
    if (!Number.isFinite(duration) || duration < length) this.source.duration = length;
    this.video.currentTime = this.at > 0 ? this.at : from;
    if (heard && soundBuffer) await this.append(soundBuffer, heard);
  }

  /**
   * The part that is to be fetched next: what is watched, then what follows.
   * @private
   * @returns {Task | null}
   */
  wanted() {
    const { clock } = this;
    if (!clock) return null;
    const now = this.video.currentTime;
    /** @param {Task} task */
    const distance = (task) => {
      const from = secondsAt(clock, task.from_pts) ?? 0;
      const to = secondsAt(clock, task.to_pts) ?? 0;
      // What was taken out to make room is not fetched again before it is looked at.
      const behind = this.ahead < AHEAD_S ? 0 : BEHIND_S;
      if (to < now) return now - to > behind ? Infinity : AHEAD_S + now - to;
      return from - now > this.ahead ? Infinity : Math.max(0, from - now);
    };
    const shards = clock.shards.filter((task) => task.state === "done" && this.lacks(task, clock));
    const near = shards.map((task) => ({ task, far: distance(task) })).filter(({ far }) => far < Infinity);
    near.sort((a, b) => a.far - b.far);
    return near[0]?.task ?? null;
  }

  /**
   * Whether a part is to be fetched: browsers make room by themselves, so that one
   * that was there may be gone.
   * @private
   * @param {Task} task
   * @param {FilmClock} clock
   */
  lacks(task, clock) {
    const tries = this.tries.get(keyOf(task)) ?? 0;
    if (tries === 0 || tries >= TRIES_MAX) return tries === 0;
    const buffered = this.buffers.get("shard")?.buffered;
    const middle = secondsAt(clock, (task.from_pts + task.to_pts) / 2) ?? 0;
    for (let at = 0; at < (buffered?.length ?? 0); at++) {
      if (buffered && middle >= buffered.start(at) && middle < buffered.end(at)) return false;
    }
    return true;
  }

  /**
   * @private
   * @param {Task} task
   * @returns {Promise<ArrayBuffer>}
   */
  async fetch(task) {
    const path = `${this.data.path}/tasks/${keyOf(task)}/output`;
    const response = await this.ctx.api.fetch("GET", path, undefined, { signal: this.abort.signal });
    return response.arrayBuffer();
  }

  /**
   * @private
   * @param {Task} task
   */
  async add(task) {
    const buffer = this.buffers.get("shard");
    const bytes = await this.fetch(task);
    if (!buffer || this.abort.signal.aborted) return;
    this.tries.set(keyOf(task), (this.tries.get(keyOf(task)) ?? 0) + 1);
    await this.append(buffer, bytes);
  }

  /**
   * @private
   * @param {string} kind
   * @param {ArrayBuffer} bytes
   * @returns {SourceBuffer | null}
   */
  open(kind, bytes) {
    const type = typeOf(bytes);
    if (!type || !MediaSource.isTypeSupported(type)) {
      if (kind === "shard") {
        this.unplayable(type ?? "");
        this.abort.abort();
      }
      return null;
    }
    const buffer = this.source.addSourceBuffer(type);
    buffer.timestampOffset = -SHIFT_S - this.firstSecond();
    this.buffers.set(kind, buffer);
    return buffer;
  }

  /** When the film begins, in its own times. @private */
  firstSecond() {
    const { clock } = this;
    return clock && clock.unit !== null ? clock.first * clock.unit : 0;
  }

  /**
   * @private
   * @param {SourceBuffer} buffer
   * @param {ArrayBuffer} bytes
   */
  async append(buffer, bytes) {
    try {
      await this.settled(buffer, () => buffer.appendBuffer(bytes));
    } catch (error) {
      if (!(error instanceof DOMException) || error.name !== "QuotaExceededError") throw error;
      this.ahead = Math.max(AHEAD_LEAST_S, this.ahead / 2);
      const keep = Math.max(0, this.video.currentTime - 2);
      await this.settled(buffer, () => buffer.remove(0, keep || 0.1));
      await this.settled(buffer, () => buffer.appendBuffer(bytes));
    }
  }

  /**
   * @private
   * @param {SourceBuffer} buffer
   * @param {() => void} act
   * @returns {Promise<void>}
   */
  settled(buffer, act) {
    const over = new AbortController();
    const { signal } = over;
    const settled = new Promise((resolve, reject) => {
      buffer.addEventListener("error", () => reject(new Error("a part could not be read")), { signal });
      buffer.addEventListener("updateend", resolve, { signal });
      act();
    });
    return settled.then(() => undefined).finally(() => over.abort());
  }
}

/** Times of the film are compared with this tolerance, in seconds. */
const JOINT_S = 0.05;

/**
 * Where a shard begins and ends, in seconds of the film.
 * @param {FilmClock} clock
 * @param {Task} task
 */
function range(clock, task) {
  return { from: secondsAt(clock, task.from_pts) ?? 0, to: secondsAt(clock, task.to_pts) ?? 0 };
}

/**
 * What of the film can be played, finished shards beside each other taken as one.
 * @param {FilmClock} clock
 * @returns {{ from: number, to: number }[]}
 */
export function madeOf(clock) {
  /** @type {{ from: number, to: number }[]} */
  const ranges = [];
  for (const task of clock.shards) {
    if (task.state !== "done") continue;
    const { from, to } = range(clock, task);
    const last = ranges.at(-1);
    if (last && from - last.to < JOINT_S) last.to = to;
    else ranges.push({ from, to });
  }
  return ranges;
}

/**
 * The shard that is not there yet at a time of the film, and where the next one
 * that is there begins.
 * @param {FilmClock} clock
 * @param {number} now
 * @returns {{ at: Task, next: number | null } | null}
 */
export function holeAt(clock, now) {
  const at = clock.shards.find((task) => {
    const { from, to } = range(clock, task);
    return now >= from - JOINT_S && now < to - JOINT_S;
  });
  if (!at || at.state === "done") return null;
  const next = clock.shards.find((task) => task.number > at.number && task.state === "done");
  return { at, next: next ? range(clock, next).from : null };
}
