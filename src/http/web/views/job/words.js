/** What tasks and attempts are called, and how they look. */

import { bytes, duration } from "../../lib/format.js";

/** @typedef {import("./data.js").Task} Task */
/** @typedef {import("./data.js").Attempt} Attempt */

/** @param {Pick<Task, "kind" | "number">} task */
export function taskName(task) {
  switch (task.kind) {
    case "analyze":
      return "Analysis";
    case "audio":
      return `Sound ${task.number}`;
    case "shard":
      return `Shard ${task.number}`;
    case "extras":
      return "Extras";
    case "assemble":
      return `Assembly on n${task.number}`;
  }
}

/** Outcomes by which a node gave a task back, through no fault of the work. */
const GIVEN_BACK = new Set(["stopped", "out-of-reach"]);
const OF_NODE = new Set(["node-fault", "node-lost"]);

/**
 * How an attempt's outcome is drawn.
 * @param {string} outcome
 * @returns {{ look: "done" | "running" | "failed" | "lost" | "back", icon: "check" | "clock" | "cross" | "bolt" | "again", words: string }}
 */
export function outcomeLook(outcome) {
  if (outcome === "done") return { look: "done", icon: "check", words: "done" };
  if (outcome === "running") return { look: "running", icon: "clock", words: "running" };
  const words = outcome.replace(/[-_]/g, " ");
  if (OF_NODE.has(outcome)) return { look: "lost", icon: "bolt", words };
  if (GIVEN_BACK.has(outcome)) return { look: "back", icon: "again", words };
  return { look: "failed", icon: "cross", words: words.startsWith("fail") ? words : `failed: ${words}` };
}

/**
 * A task's state in a word or two.
 * @param {Task} task
 * @param {boolean} over whether its job has ended
 */
export function stateWords(task, over) {
  if (task.state === "done") return "done";
  if (over) return "not finished";
  if (task.state === "running") return task.attempt > 1 ? `running, attempt ${task.attempt}` : "running";
  return task.failures.length > 0 ? "waiting to be tried again" : "waiting";
}

/**
 * Milliseconds that a task's last attempt took, so far or in all.
 * @param {Task} task
 */
export function tookMs(task) {
  if (!task.started_unix_ms) return null;
  if (task.state === "done" && task.ended_unix_ms) return task.ended_unix_ms - task.started_unix_ms;
  return task.state === "running" ? Date.now() - task.started_unix_ms : null;
}

/**
 * A short time with tenths, a long one as a clock.
 * @param {number | null} ms
 */
export function took(ms) {
  if (ms === null) return "–";
  return ms < 60_000 ? `${(Math.max(0, ms) / 1000).toFixed(1)} s` : duration(ms / 1000);
}

/**
 * A time of the film: "1:02.5", or "1:02:03" in a long one.
 * @param {number | null} seconds
 */
export function filmTime(seconds) {
  if (seconds === null || !Number.isFinite(seconds)) return "–";
  const tenths = Math.max(0, Math.round(seconds * 10));
  const clock = duration(Math.floor(tenths / 10));
  return tenths < 36_000 ? `${clock}.${tenths % 10}` : clock;
}

/** @param {Task} task */
export function sizes(task) {
  if (!task.bytes_out) return "–";
  const ratio = task.ratio_milli ? ` (${Math.round(task.ratio_milli / 10)} %)` : "";
  return task.bytes_in ? `${bytes(task.bytes_in)} → ${bytes(task.bytes_out)}${ratio}` : bytes(task.bytes_out);
}
