/** One task looked at closely: its facts, its attempts, its log, its bytes. */

import { TEXT_CHARS_MAX, h, icon, replace, setText, visible } from "../../lib/dom.js";
import { bytes, count, time } from "../../lib/format.js";
import { problemBox } from "../../lib/shell.js";
import { copyButton } from "../ask.js";
import { nodeName, nodeTag, setNodeTag } from "../nodes.js";
import { secondsAt } from "./clock.js";
import { ended, keyOf } from "./data.js";
import { filmTime, outcomeLook, sizes, stateWords, taskName, took, tookMs } from "./words.js";

/** @typedef {import("./data.js").JobData} JobData */
/** @typedef {import("./data.js").Task} Task */
/** @typedef {import("./data.js").Attempt} Attempt */
/** @typedef {import("./clock.js").FilmClock} FilmClock */

const NONE = "Choose a shard to see more of it";
const FACTS = ["Film", "Frames", "Took", "Bytes", "Started", "Hash"];

/** What stands below the strip. */
export class Chosen {
  /**
   * @param {import("../../app.js").Context} ctx
   * @param {JobData} data
   */
  constructor(ctx, data) {
    this.ctx = ctx;
    this.data = data;
    this.title = h("h3", null, NONE);
    this.tag = nodeTag(null);
    this.state = h("span", { class: "chip-state" });
    /** @type {Map<string, HTMLElement>} */
    this.facts = new Map(FACTS.map((fact) => [fact, h("dd", null, "–")]));
    const facts = [...this.facts].map(([fact, value]) => h("div", null, h("dt", null, fact), value));
    this.buttons = h("div", { class: "row wrap" });
    this.attempts = h("div", { class: "attempts" });
    this.log = h("div", { class: "log", hidden: true });
    this.node = h(
      "div",
      { class: "chosen" },
      h("div", { class: "row wrap" }, this.title, this.tag, this.state, h("span", { class: "grow" }), this.buttons),
      h("dl", { class: "figures small" }, facts),
      this.attempts,
      this.log,
    );
    /** @private @type {string | null} */
    this.shown = null;
    this.drawn = "";
  }

  /** Whether a log is open. */
  get reads() {
    return !this.log.hidden;
  }

  /**
   * @param {Task | undefined} task
   * @param {FilmClock} clock
   * @param {boolean} fixed whether it was chosen, or only is under the pointer
   */
  draw(task, clock, fixed) {
    if (!task) {
      setText(this.title, NONE);
      this.shown = null;
      this.log.hidden = true;
    }
    this.node.dataset.empty = task ? "" : "yes";
    if (!task) return;
    const key = keyOf(task);
    if (this.shown !== key) {
      this.shown = key;
      this.log.hidden = true;
    }
    setText(this.title, taskName(task));
    setNodeTag(this.tag, task.state === "pending" ? null : task.node);
    setText(this.state, stateWords(task, ended(this.data.job)));
    this.drawFacts(task, clock);
    const attempts = this.data.attempts(task);
    const names = attempts.map((attempt) => nodeName(attempt.node));
    const drawn = JSON.stringify([key, attempts, names, task.state, fixed, task.failures, this.data.job?.state]);
    if (drawn === this.drawn) return;
    this.drawn = drawn;
    this.drawAttempts(task, attempts);
    this.drawButtons(task);
  }

  /**
   * @private
   * @param {Task} task
   * @param {FilmClock} clock
   */
  drawFacts(task, clock) {
    const [from, to] = [secondsAt(clock, task.from_pts), secondsAt(clock, task.to_pts)];
    const shard = task.kind === "shard";
    this.fact("Film", shard ? `${filmTime(from)} – ${filmTime(to)}` : "–");
    this.fact("Frames", task.frames > 0 ? count(task.frames) : "–");
    this.fact("Took", took(tookMs(task)));
    this.fact("Bytes", sizes(task));
    this.fact("Started", task.started_unix_ms ? time(task.started_unix_ms) : "–");
    this.fact("Hash", task.hash ? `${task.hash.slice(0, 16)}…` : "–");
    const hash = this.facts.get("Hash");
    if (hash) hash.title = task.hash ?? "";
  }

  /**
   * @private
   * @param {string} fact
   * @param {string} text
   */
  fact(fact, text) {
    const shown = this.facts.get(fact);
    if (shown) setText(shown, text);
  }

  /**
   * @private
   * @param {Task} task
   * @param {Attempt[]} attempts
   */
  drawAttempts(task, attempts) {
    const failed = attempts.filter((it) => it.outcome !== "done" && it.outcome !== "running");
    const rows = attempts.map((attempt) => {
      const { look, icon: which, words } = outcomeLook(attempt.outcome);
      const { started_unix_ms: from, ended_unix_ms: to } = attempt;
      const ran = from && to ? took(to - from) : "";
      const problem = attempt.problem;
      return h(
        "li",
        { data: { look } },
        icon(which),
        h("span", null, `attempt ${attempt.attempt}`),
        nodeTag(attempt.node),
        h("span", { class: "came-out" }, words),
        h("span", { class: "num soft" }, ran),
        problem ? h("span", { class: "why", title: visible(problem.hint) }, visible(problem.cause, TEXT_CHARS_MAX)) : null,
      );
    });
    const texts = failed.length > 0 ? [] : task.failures.map((text) => h("li", { data: { look: "failed" } }, icon("cross"), h("span", { class: "why" }, visible(text, TEXT_CHARS_MAX))));
    const many = attempts.length > 1 || failed.length > 0 || texts.length > 0;
    replace(this.attempts, many ? h("ol", null, rows, texts) : null);
  }

  /**
   * @private
   * @param {Task} task
   */
  drawButtons(task) {
    const over = ended(this.data.job);
    const part = !["analyze", "assemble", "probe"].includes(task.kind);
    const onclick = () => this.showLog(task);
    replace(
      this.buttons,
      h("button", { type: "button", class: "small", onclick }, "Log"),
      part && task.state === "done" && !over
        ? h("button", { type: "button", class: "small", onclick: () => this.save(task) }, icon("down"), `Part, ${bytes(task.bytes_out)}`)
        : null,
      task.hash ? copyButton(this.ctx, "Hash", () => task.hash ?? "") : null,
    );
  }

  /**
   * @private
   * @param {Task} task
   */
  async showLog(task) {
    const path = `${this.data.path}/tasks/${keyOf(task)}/log`;
    this.log.hidden = false;
    replace(this.log, h("p", { class: "soft" }, "Asking for the log…"));
    try {
      const text = await this.ctx.api.get(path, { signal: this.data.abort.signal });
      if (this.shown !== keyOf(task)) return;
      const head = h("div", { class: "row" }, h("strong", { class: "grow" }, `Log of ${taskName(task)}`), copyButton(this.ctx, "Log", () => text));
      const pre = { tabindex: "0", role: "region", "aria-label": `Log of ${taskName(task)}` };
      replace(this.log, head, h("pre", pre, text || "nothing to say"));
    } catch (error) {
      if (!this.data.abort.signal.aborted) replace(this.log, problemBox(error));
    }
  }

  /**
   * Gives a part's bytes as a file. They are fetched first, since a link can't
   * carry a key.
   * @private
   * @param {Task} task
   */
  async save(task) {
    try {
      const path = `${this.data.path}/tasks/${keyOf(task)}/output`;
      const response = await this.ctx.api.fetch("GET", path, undefined, { signal: this.data.abort.signal });
      const url = URL.createObjectURL(await response.blob());
      const link = h("a", { href: url, download: `${this.data.id}-${task.kind}-${task.number}` });
      link.click();
      setTimeout(() => URL.revokeObjectURL(url), 10_000);
    } catch (error) {
      if (!this.data.abort.signal.aborted) this.ctx.problem(error);
    }
  }
}
