/** The head of a job's page: what it is, how far it is, and what can be done with it. */

import { TEXT_CHARS_MAX, h, icon, name, replace, setAttribute, setText, visible } from "../../lib/dom.js";
import { ago, bytes, count, duration, percent, plural, rate, time } from "../../lib/format.js";
import { shareDone, shownState } from "../../lib/jobs.js";
import { problemBox, stateBadge } from "../../lib/shell.js";
import { confirm, copyButton } from "../ask.js";
import { asCli, asCurl } from "./command.js";
import { ended } from "./data.js";
import { download } from "./output.js";

/** @typedef {import("./data.js").Job} Job */
/** @typedef {import("./data.js").JobData} JobData */

/** The head. */
export class Head {
  /**
   * @param {import("../../app.js").Context} ctx
   * @param {JobData} data
   */
  constructor(ctx, data) {
    this.ctx = ctx;
    this.data = data;
    this.title = h("h1", null, "…");
    this.badge = h("span", { class: "state-at" });
    this.line = h("p", { class: "soft line" });
    this.bar = h("div", { class: "bar", role: "progressbar", "aria-label": "Progress", "aria-valuemin": "0", "aria-valuemax": "100" });
    this.share = h("strong", { class: "share" });
    this.done = h("span", { class: "soft" });
    this.progress = h("div", { class: "progress" }, this.bar, h("div", { class: "row" }, this.share, this.done));
    this.facts = h("dl", { class: "figures" });
    /** @type {Map<string, HTMLElement>} */
    this.figures = new Map();
    for (const what of ["Speed", "Left", "Running for", "Source", "Output", "Age"]) this.figure(what);
    this.actions = h("div", { class: "actions" });
    this.notes = h("div", { class: "notes" });
    this.node = h(
      "section",
      { class: "panel job-head", "aria-label": "The job" },
      h("div", { class: "lead" }, h("div", { class: "grow" }, h("div", { class: "row title" }, this.title, this.badge), this.line), this.actions),
      this.progress,
      this.facts,
      this.notes,
    );
  }

  /**
   * @private
   * @param {string} what
   */
  figure(what) {
    const value = h("dd", null, "–");
    this.figures.set(what, value);
    this.facts.append(h("div", null, h("dt", null, what), value));
  }

  /**
   * @private
   * @param {string} what
   * @param {string} value
   */
  setFigure(what, value) {
    const shown = this.figures.get(what);
    if (shown) setText(shown, value);
  }

  draw() {
    const { job } = this.data;
    if (!job) return;
    if (this.title.dataset.name !== (job.source_name ?? "") || !this.title.dataset.drawn) {
      replace(this.title, name(job.source_name, "a film without a name"));
      this.title.dataset.name = job.source_name ?? "";
      this.title.dataset.drawn = "yes";
    }
    const shown = shownState(job);
    const drawn = `${job.state} ${shown}`;
    if (this.badge.dataset.drawn !== drawn) {
      replace(this.badge, stateBadge(shown));
      this.badge.dataset.drawn = drawn;
      this.drawActions(job);
    }
    this.drawLine(job);
    this.drawProgress(job);
    this.drawFigures(job);
    this.drawNotes(job);
  }

  /**
   * @private
   * @param {Job} job
   */
  drawLine(job) {
    const drawn = `${job.tenant} ${job.created_unix_ms} ${job.priority} ${job.deadline_unix_ms} ${JSON.stringify([job.homes, job.engines])}`;
    if (this.line.dataset.drawn === drawn) return;
    this.line.dataset.drawn = drawn;
    const parts = [h("code", null, job.id), h("span", null, "tenant ", name(job.tenant))];
    parts.push(h("span", { title: "When it was made" }, time(job.created_unix_ms)));
    if (job.priority) parts.push(h("span", null, `priority ${job.priority}`));
    if (job.deadline_unix_ms) parts.push(h("span", null, "due ", time(job.deadline_unix_ms)));
    const homes = (job.homes ?? []).map((/** @type {any} */ home) => {
      const how = home.retiring ? " (retiring)" : home.filled ? "" : " (being filled)";
      return `n${home.node}${how}`;
    });
    if (homes.length > 0) parts.push(h("span", { title: "The nodes that keep its bytes" }, `kept on ${homes.join(", ")}`));
    const made = (job.engines ?? []).map((/** @type {any} */ it) => `${visible(it.name)} made ${it.shards}`);
    if (made.length > 0) parts.push(h("span", { title: "Shards that engines made; all others are nodes'" }, made.join(", ")));
    if (job.source_url) parts.push(h("span", null, "from ", name(job.source_url)));
    replace(this.line, parts);
  }

  /**
   * @private
   * @param {Job} job
   */
  drawProgress(job) {
    const upload = job.state === "uploading" ? this.ctx.uploads?.of?.(job.id) : null;
    const share = upload ? upload.sent / upload.bytes : shareDone(job);
    const known = share !== null;
    this.bar.style.setProperty("--share", String(share ?? 0));
    setAttribute(this.progress, "data-state", job.state);
    setAttribute(this.bar, "class", known || ended(job) ? "bar" : "bar unknown");
    setAttribute(this.bar, "aria-valuenow", known ? Math.floor(share * 100) : null);
    setText(this.share, known ? percent(share) : "");
    setText(this.done, upload ? `${bytes(upload.sent)} of ${bytes(upload.bytes)} sent` : doneWords(job));
  }

  /**
   * @private
   * @param {Job} job
   */
  drawFigures(job) {
    const upload = job.state === "uploading" ? this.ctx.uploads?.of?.(job.id) : null;
    const over = ended(job);
    const until = job.ended_unix_ms ?? Date.now();
    this.setFigure("Speed", upload ? rate(upload.speed, "bytes") : over ? meanSpeed(job) : rate(job.speed, "fps"));
    this.setFigure("Left", over ? "–" : duration(upload ? upload.etaS : job.eta_s));
    this.setFigure("Running for", duration((until - job.created_unix_ms) / 1000));
    this.setFigure("Source", bytes(job.source_bytes || null));
    const estimated = job.estimated_output_bytes;
    this.setFigure("Output", outputWords(job, estimated));
    this.setFigure("Age", ago(job.created_unix_ms));
  }

  /**
   * What is unusual: why it failed, what it waits for, what was left out.
   * @private
   * @param {Job} job
   */
  drawNotes(job) {
    const upload = job.state === "uploading" ? this.ctx.uploads.of(job.id) : null;
    const asleep = upload?.state === "asleep" ? "for the rest of its file; give it again under New" : null;
    const place = job.queue_position ? `place ${count(job.queue_position)} in the queue` : null;
    const notes = [
      job.problem ? problemBox(job.problem) : null,
      place ? note("clock", "In line", place) : null,
      job.waiting ? note("clock", "Waits", job.waiting) : null,
      asleep ? note("alert", "Waits", asleep) : null,
      job.makers ? note("alert", "Not every node can make it", job.makers) : null,
      job.plan_note ? note("alert", "Note", job.plan_note) : null,
    ];
    const drawn = JSON.stringify([job.problem, place, asleep, job.waiting, job.makers, job.plan_note]);
    if (this.notes.dataset.drawn === drawn) return;
    this.notes.dataset.drawn = drawn;
    replace(this.notes, notes);
  }

  /**
   * @private
   * @param {Job} job
   */
  drawActions(job) {
    const { ctx } = this;
    const over = ended(job);
    const done = job.state === "succeeded";
    const focused = this.actions.contains(document.activeElement);
    const playable = done || job.state === "encoding" || job.state === "assembling";
    const play = { class: done ? "button primary" : "button", href: `#/jobs/${encodeURIComponent(job.id)}/play` };
    replace(
      this.actions,
      playable ? h("a", play, icon("play"), done ? "Play" : "Look inside") : null,
      done ? this.action("Download", "down", () => download(ctx.api, job)) : null,
      job.state === "failed" || job.state === "cancelled" ? this.action("Try again", "again", () => this.retry(job)) : null,
      !over && job.state !== "uploading" ? this.action("Plan anew", "again", () => this.replan(job)) : null,
      over ? null : this.action("Cancel", "cross", () => this.cancel(job)),
      job.state === "deleted" ? null : this.action("Delete", "trash", () => this.remove(job), "danger"),
      copyButton(ctx, "Copy as CLI", () => asCli(ctx.api, job), "plain"),
      copyButton(ctx, "Copy as curl", () => asCurl(ctx.api, job), "plain"),
    );
    if (focused) this.actions.querySelector("button")?.focus();
  }

  /**
   * @private
   * @param {string} label
   * @param {"down" | "again" | "cross" | "trash"} which
   * @param {() => unknown} does
   * @param {string} [kind]
   */
  action(label, which, does, kind = "") {
    const button = h("button", { type: "button", class: kind, onclick: run }, icon(which), label);
    const { ctx } = this;
    async function run() {
      button.disabled = true;
      try {
        await does();
      } catch (error) {
        ctx.problem(error);
      } finally {
        button.disabled = false;
      }
    }
    return button;
  }

  /** @private @param {string} verb */
  async change(verb) {
    // A second retry would find its job begun, and a second plan undo what is done.
    const repeatable = verb === "cancel";
    const job = await this.ctx.api.post(`${this.data.path}/${verb}`, undefined, { repeatable });
    this.data.job = job;
    this.data.refresh();
    this.data.changed();
  }

  /** @private @param {Job} _ */
  async retry(_) {
    await this.change("retry");
    this.ctx.notice("It begins again with its analysis.", "good");
  }

  /** @private @param {Job} job */
  async replan(job) {
    const text = `${plural(job.shards_done, "finished shard")} will be made again. It begins with its analysis, on the encoders that most nodes have.`;
    if (!(await confirm({ title: "Plan this job anew?", text, yes: "Plan anew" }))) return;
    await this.change("replan");
    this.ctx.notice("The job is planned anew.", "good");
  }

  /** @private @param {Job} job */
  async cancel(job) {
    const kept = job.state === "uploading" ? "What was uploaded goes." : "Its parts go; its source is kept for a while, so that it can be tried again.";
    if (!(await confirm({ title: "Cancel this job?", text: kept, yes: "Cancel the job", danger: true }))) return;
    await this.change("cancel");
    this.ctx.notice("The job is cancelled.", "good");
  }

  /** @private @param {Job} job */
  async remove(job) {
    const text = "Its bytes go from all nodes, the finished file too. This can't be undone.";
    const content = h("p", null, name(job.source_name, "a film without a name"));
    if (!(await confirm({ title: "Delete this job?", text, content, yes: "Delete for good", danger: true }))) return;
    await this.ctx.api.delete(this.data.path);
    this.ctx.notice("The job is deleted.", "good");
    this.ctx.go("#/");
  }
}

/**
 * @param {"clock" | "alert"} which
 * @param {string} title
 * @param {string} text
 */
function note(which, title, text) {
  return h("p", { class: "note" }, icon(which), h("strong", null, title), h("span", { dir: "auto" }, visible(text, TEXT_CHARS_MAX)));
}

/** @param {Job} job */
function doneWords(job) {
  if (job.state === "uploading") return job.source_url ? "the source is being fetched" : "the source is on its way";
  if (job.state === "analyzing") return "looking for where the film can be cut";
  if (job.shards_total === 0 && ended(job) && job.state !== "succeeded") return "";
  if (job.shards_total === 0) return job.frames_total > 0 ? `${count(job.frames_total)} frames` : "no picture to encode";
  const running = ended(job) || !job.shards_running ? "" : `, ${count(job.shards_running)} running`;
  const frames = `${count(job.frames_done)} of ${count(job.frames_total)} frames`;
  return `${frames} · ${count(job.shards_done)} of ${plural(job.shards_total, "shard")}${running}`;
}

/** @param {Job} job */
function meanSpeed(job) {
  const seconds = (job.ended_unix_ms - job.created_unix_ms) / 1000;
  if (job.state !== "succeeded" || !(seconds > 0)) return "–";
  return `${rate(job.frames_total / seconds, "fps")} in all`;
}

/**
 * @param {Job} job
 * @param {number | null | undefined} estimated
 */
function outputWords(job, estimated) {
  if (job.output_bytes) {
    const share = job.source_bytes ? ` (${Math.round((100 * job.output_bytes) / job.source_bytes)} %)` : "";
    return `${bytes(job.output_bytes)}${share}`;
  }
  return estimated ? `about ${bytes(estimated)}` : "–";
}
