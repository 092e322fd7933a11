/** A job: how far it is, its film in shards, who worked on it when, and what came of it. */

import { eachFrame, h, replace, visible } from "../lib/dom.js";
import { percent } from "../lib/format.js";
import { shareDone } from "../lib/jobs.js";
import { problemBox } from "../lib/shell.js";
import { filmClock } from "./job/clock.js";
import { Chosen } from "./job/chosen.js";
import { JobData, ended, keyOf } from "./job/data.js";
import { Head } from "./job/head.js";
import { Metadata } from "./job/metadata.js";
import { deliveriesPanel, fold, optionsPanel, proofPanel, referencePanel } from "./job/panels.js";
import { Pictures } from "./job/pictures.js";
import { Strip } from "./job/strip.js";
import { TaskTable } from "./job/tasks.js";
import { Timeline } from "./job/timeline.js";
import { marks } from "./marks.js";

/** @typedef {"hover" | "focus" | "choose"} How */

/** What of the cluster's life stands on a job's timeline. */
const TIMELINE = new Set(["election", "lost", "back"]);
const TITLE_CHARS_MAX = 60;
/** Uploads and the pointer tell of themselves much more often than a film of 900 shards should be drawn. */
const DRAW_MS = 100;
/** Clocks that run are drawn anew so often. */
const TICK_MS = 1_000;

/**
 * @param {HTMLElement} root
 * @param {import("../app.js").Context} ctx
 * @param {{ id: string }} params
 */
export function open(root, ctx, params) {
  const view = new JobView(root, ctx, params.id);
  return { close: () => view.close() };
}

class JobView {
  /**
   * @param {HTMLElement} root
   * @param {import("../app.js").Context} ctx
   * @param {string} id
   */
  constructor(root, ctx, id) {
    this.root = root;
    this.frame = eachFrame(() => this.draw(), DRAW_MS);
    const ask = () => this.frame.ask();
    this.data = new JobData(ctx, id, ask);
    const choose = (/** @type {string | null} */ key, /** @type {How} */ how) => this.choose(key, how);
    /** @type {string | null} */
    this.fixed = null;
    /** @type {string | null} */
    this.hovered = null;
    this.head = new Head(ctx, this.data);
    this.strip = new Strip(choose);
    this.chosen = new Chosen(ctx, this.data);
    this.pictures = new Pictures(ctx, this.data);
    this.timeline = new Timeline(choose);
    this.metadata = new Metadata();
    this.table = new TaskTable(this.data, choose);
    this.panels = this.makePanels(ctx);
    this.problem = h("div");
    this.page = h("div", { class: "stack job" }, this.problem);
    replace(root, this.page);
    this.shown = false;
    const offs = [marks.onchange(ask), ctx.uploads?.onchange?.(ask)];
    this.tick = setInterval(() => ended(this.data.job) || ask(), TICK_MS);
    this.end = () => offs.forEach((off) => off?.());
    ask();
  }

  close() {
    clearInterval(this.tick);
    this.end();
    this.frame.close();
    this.data.close();
    this.strip.close();
    this.pictures.close();
  }

  /**
   * @private
   * @param {import("../app.js").Context} ctx
   */
  makePanels(ctx) {
    const table = fold("Tasks", "all of them as a table", this.table.node, (open) => {
      this.table.open = open;
      this.frame.ask();
    });
    return [
      table,
      optionsPanel(ctx, this.data),
      referencePanel(ctx, this.data),
      proofPanel(ctx, this.data),
      deliveriesPanel(ctx, this.data),
    ];
  }

  /**
   * @private
   * @param {string | null} key
   * @param {How} how
   */
  choose(key, how) {
    if (how === "choose") this.fixed = key === this.fixed ? null : key;
    this.hovered = key;
    this.frame.ask();
  }

  /** Puts the parts of the page into it, once there is a job. @private */
  show() {
    if (this.shown) return;
    this.shown = true;
    const film = h(
      "section",
      { class: "panel", "aria-label": "Film" },
      h("div", { class: "head" }, h("h2", null, "Film"), this.strip.count, h("span", { class: "grow" }), legend()),
      h("div", { class: "body" }, this.strip.node, this.chosen.node),
    );
    this.attempts = h(
      "section",
      { class: "panel", "aria-label": "Timeline" },
      h("div", { class: "head" }, h("h2", { class: "grow" }, "Timeline"), this.timeline.buttons),
      h("div", { class: "body" }, this.timeline.node),
    );
    replace(this.page, this.problem, this.head.node, film, this.pictures.node, this.attempts, this.metadata.node, this.panels);
  }

  /**
   * Says in the browser's tab how far it is.
   * @private
   * @param {import("./job/data.js").Job} job
   * @param {boolean} over
   */
  drawTitle(job, over) {
    const far = over ? job.state : percent(shareDone(job));
    const title = `${far} ${visible(job.source_name || "a film").slice(0, TITLE_CHARS_MAX)} · reelraft`;
    if (document.title !== title) document.title = title;
  }

  /** @private */
  draw() {
    const { data } = this;
    const { job, problem } = data;
    replace(this.problem, problem ? problemBox(problem) : null);
    this.problem.hidden = !problem;
    if (!job) {
      if (!problem) this.root.setAttribute("aria-busy", "true");
      return;
    }
    this.root.removeAttribute("aria-busy");
    this.show();
    this.page.dataset.stale = data.stale ? "yes" : "";
    const clock = filmClock(data.tasks, data.metadata);
    const over = ended(job);
    this.head.draw();
    this.drawTitle(job, over);
    this.strip.draw(data.tasks, clock, job);
    const none = over && data.tasks.length === 0;
    this.chosen.node.hidden = none;
    if (this.attempts) this.attempts.hidden = none;
    // A log that is read stays where the pointer goes over the strip.
    const key = (this.chosen.reads ? null : this.hovered) ?? this.fixed;
    this.chosen.draw(data.tasks.find((task) => keyOf(task) === key), clock, key === this.fixed);
    this.strip.mark(this.fixed);
    this.pictures.draw(clock);
    this.timeline.draw(data, marks.all.filter(({ kind }) => TIMELINE.has(kind)), nodesOf(job));
    this.timeline.mark(key);
    this.metadata.draw(data);
    this.table.draw(clock);
  }
}

/** The nodes that have a lane even if nothing runs there. @param {any} job @returns {number[]} */
function nodesOf(job) {
  const known = marks.last?.nodes.map((node) => node.id) ?? [];
  return known.length > 0 && !ended(job) ? known : [];
}

function legend() {
  const words = [
    ["pending", "waiting"],
    ["running", "running"],
    ["done", "done"],
    ["tried", "tried again"],
  ];
  const items = words.map(([look, word]) => h("li", null, h("span", { class: "swatch", data: { look } }), word));
  return h("ul", { class: "legend", "aria-label": "Colours" }, items);
}
