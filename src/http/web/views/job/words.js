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
    case "probe":
      return `Probe ${task.number}`;
    case "shard":
      return `Shard ${task.number}`;
    case "extras":
      return "Extras";
    case "assemble":
      return `Assembly on n${task.number}`;
  }
}

/** @typedef {{ look: "done" | "running" | "failed" | "lost" | "back", icon: "check" | "clock" | "cross" | "bolt" | "again", words: string }} Look */

/** @type {Record<string, Look>} */
const OUTCOMES = {
  done: { look: "done", icon: "check", words: "done" },
  running: { look: "running", icon: "clock", words: "running" },
  work: { look: "failed", icon: "cross", words: "failed" },
  final: { look: "failed", icon: "cross", words: "failed, as it would again" },
  "plan-mismatch": { look: "failed", icon: "cross", words: "did not fit the plan" },
  "node-fault": { look: "lost", icon: "bolt", words: "its node had a fault" },
  "node-lost": { look: "lost", icon: "bolt", words: "its node was lost" },
  stopped: { look: "back", icon: "again", words: "stopped" },
  "out-of-reach": { look: "back", icon: "again", words: "could not reach its bytes" },
};

/**
 * How an attempt's outcome is drawn.
 * @param {string} outcome
 * @returns {Look}
 */
export function outcomeLook(outcome) {
  return OUTCOMES[outcome] ?? { look: "failed", icon: "cross", words: outcome };
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
