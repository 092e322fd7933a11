/**
 * All jobs, a page at a time. Events change the rows that are seen, once a frame;
 * which jobs belong to the page is asked anew, at most once in a while.
 */

import { countsByState } from "../lib/counts.js";
import { eachFrame, h, icon, replace, setAttribute, setText } from "../lib/dom.js";
import { count, plural } from "../lib/format.js";
import { Filters } from "../lib/job_filters.js";
import { JobRow } from "../lib/job_row.js";
import { onKeys } from "../lib/keyboard.js";
import { ask, fitting, perform } from "../lib/batch.js";
import { problemBox } from "../lib/shell.js";

/** Between two requests of the same page, however many events come. */
const REFRESH_MS_MIN = 1_000;
/** As many times as long as the last one took, so that a slow cluster is asked less. */
const REFRESH_SHARE = 8;
/** After a failure. */
const FAILED_MS = 4_000;
/** Rows keep their places under a pointer that moved so lately. */
const POINTED_MS = 5_000;
/** Counts of all jobs are asked for at most so often. */
const COUNT_MS = 5_000;
const TICK_MS = 1_000;
/** Rows are drawn at most so often: each drawing costs a layout of the page. */
const DRAW_MS = 200;
/** What "all that match" takes at a time. */
const ALL_PAGE_SIZE = 500;

/** Where the list was left, for the way back. @type {{ hash: string, tokens: string[] } | null} */
let left = null;

const COLUMNS = [
  ["what", "Film", ""],
  ["state", "State", ""],
  ["progress", "Progress", ""],
  ["speed", "Speed", "num"],
  ["eta", "Left", "num"],
  ["age", "Age", "num"],
  ["in", "In", "num"],
  ["out", "Out", "num"],
];

/** @type {import("../app.js").Module["open"]} */
export function open(root, ctx, { query }) {
  const view = new Jobs(root, ctx, query);
  return { close: () => view.close() };
}

class Jobs {
  /**
   * @param {HTMLElement} root
   * @param {import("../app.js").Context} ctx
   * @param {URLSearchParams} query
   */
  constructor(root, ctx, query) {
    this.ctx = ctx;
    this.filters = new Filters(query, ctx.seesAll(), () => this.narrowed());
    const back = left?.hash === this.filters.hash() ? left.tokens : [];
    /** Tokens of the pages up to this one; the first has none. */
    this.tokens = [...back];
    /** @type {string | null} */
    this.next = null;
    /** @type {Map<string, JobRow>} */
    this.rows = new Map();
    /** Which jobs come next to those that are shown, held back under the pointer. @type {any[] | null} */
    this.held = null;
    /** @type {Map<string, any>} */
    this.chosen = new Map();
    /** @type {Set<JobRow>} */
    this.changed = new Set();
    this.request = new AbortController();
    this.loading = false;
    /** Whether something came while the page was asked for. */
    this.stale = false;
    this.refreshTimer = 0;
    this.refreshMs = 0;
    this.pointedAt = -POINTED_MS;
    this.countedAt = -COUNT_MS;
    this.countLater = false;
    /** @type {Map<string, number> | null} */
    this.counts = null;
    this.closing = new AbortController();
    this.frame = eachFrame(() => this.drawChanged(), DRAW_MS);
    this.parts = parts({
      chooseAll: () => this.chooseAll(),
      release: () => this.release(),
      point: () => {
        this.pointedAt = performance.now();
      },
      newer: () => this.turn(-1),
      older: () => this.turn(1),
    });
    const { list, bar } = this.parts;
    const fresh = h("a", { class: "button primary", href: "#/new" }, icon("plus"), "New job");
    replace(root, h("h1", { class: "unseen" }, "Jobs"), h("div", { class: "heading" }, this.filters.element, fresh), list, bar);
    this.ends = this.listen();
    void this.load();
  }

  close() {
    left = { hash: this.filters.hash(), tokens: this.tokens };
    this.request.abort();
    this.closing.abort();
    clearTimeout(this.refreshTimer);
    this.frame.close();
    for (const end of this.ends) end();
  }

  /** @private @returns {(() => void)[]} */
  listen() {
    const { live, uploads } = this.ctx;
    const clock = setInterval(() => this.tick(), TICK_MS);
    return [
      live.on("job", (news) => this.heard(news)),
      live.on("progress", (news) => this.patch(news.job, news)),
      live.on("reset", () => this.refresh()),
      live.on("start", () => this.refresh()),
      uploads.onchange(() => {
        for (const { id } of uploads.items) this.patch(id ?? "", {});
      }),
      onKeys({
        j: () => this.move(1),
        k: () => this.move(-1),
        x: () => this.chooseFocused(),
        "/": () => this.filters.name.select(),
        "[": () => this.parts.newer.click(),
        "]": () => this.parts.older.click(),
        Escape: () => this.chooseNone(),
      }),
      () => clearInterval(clock),
    ];
  }

  /** @private */
  narrowed() {
    // What was typed last may be told of once another view is open.
    if (this.closing.signal.aborted) return;
    this.tokens = [];
    history.replaceState(null, "", this.filters.hash());
    void this.load();
  }

  /** @private @param {1 | -1} by */
  turn(by) {
    if (by > 0 && this.next) this.tokens.push(this.next);
    else if (by < 0) this.tokens.pop();
    this.next = null;
    void this.load().then(() => window.scrollTo(0, 0));
  }

  /**
   * Asks for the page anew soon.
   * @private
   */
  refresh() {
    // A request that is on its way is not given up for a newer one, or none would arrive.
    this.stale = this.loading;
    if (this.refreshTimer || this.loading) return;
    const wait = Math.max(REFRESH_MS_MIN, this.refreshMs * REFRESH_SHARE);
    this.refreshTimer = window.setTimeout(() => void this.load(true), wait);
  }

  /** @private @param {boolean} [again] whether it is the page that is shown */
  async load(again = false) {
    if (this.closing.signal.aborted) return;
    clearTimeout(this.refreshTimer);
    this.refreshTimer = 0;
    this.request.abort();
    this.request = new AbortController();
    const { signal } = this.request;
    this.loading = true;
    this.stale = false;
    const begun = performance.now();
    const query = { ...this.filters.query(), page_token: this.tokens.at(-1) };
    try {
      const page = await this.ctx.api.get("/jobs", { query, signal });
      this.refreshMs = performance.now() - begun;
      this.loading = false;
      this.next = page.next_page_token;
      void this.count();
      const moved = page.jobs.map((/** @type {any} */ job) => job.id).join() !== [...this.rows.keys()].join();
      if (again && moved && this.pointed && this.rows.size > 0) this.hold(page.jobs);
      else this.show(page.jobs);
      this.drawPager();
    } catch (error) {
      if (signal.aborted) return;
      this.loading = false;
      this.failed(error, again);
    }
    if (this.stale) this.refresh();
    setAttribute(this.parts.table, "aria-busy", "false");
  }

  /** Shows how many jobs there are of each state, now or soon. @private */
  async count() {
    this.filters.showCounts(this.counts);
    this.countLater = performance.now() - this.countedAt < COUNT_MS;
    if (this.countLater) return;
    this.countedAt = performance.now();
    this.counts = await countsByState(this.ctx, this.closing.signal);
    this.filters.showCounts(this.counts);
  }

  /**
   * @private
   * @param {unknown} error
   * @param {boolean} again
   */
  failed(error, again) {
    if (this.rows.size === 0) replace(this.parts.below, problemBox(error));
    // While nodes are sought the header says so; a notice a second would say no more.
    else if (!again) this.ctx.problem(error);
    const { status } = /** @type {any} */ (error);
    if (status === 401) this.ctx.problem(error);
    if (status >= 400 && status < 500 && status !== 429) return;
    this.refreshMs = FAILED_MS / REFRESH_SHARE;
    this.refresh();
  }

  /**
   * Whether someone points at a row just now.
   * @private
   */
  get pointed() {
    return performance.now() - this.pointedAt < POINTED_MS && this.parts.body.matches(":hover");
  }

  /**
   * Changes the rows that are shown and keeps their places, so that none moves
   * from under the pointer.
   * @private
   * @param {any[]} jobs
   */
  hold(jobs) {
    this.held = jobs;
    const fresh = jobs.filter(({ id }) => !this.rows.has(id)).length;
    for (const job of jobs) this.rows.get(job.id)?.take(job);
    this.parts.waiting.hidden = false;
    setText(this.parts.waiting, fresh > 0 ? `${plural(fresh, "new job")}: show` : "The order has changed: show");
  }

  /** @private */
  release() {
    if (this.held) this.show(this.held);
  }

  /** @private @param {any[]} jobs */
  show(jobs) {
    this.held = null;
    this.parts.waiting.hidden = true;
    const acts = {
      choose: (/** @type {JobRow} */ row, /** @type {MouseEvent} */ event) => this.choose(row, event),
      retry: (/** @type {JobRow} */ row) => void perform(this.ctx, "retry", [row.job]),
      uploads: this.ctx.uploads,
      withTenant: this.ctx.seesAll(),
    };
    const rows = jobs.map((job) => {
      const row = this.rows.get(job.id) ?? new JobRow(job, acts);
      row.take(job);
      row.box.checked = this.chosen.has(job.id);
      if (this.chosen.has(job.id)) this.chosen.set(job.id, job);
      setAttribute(row.element, "data-chosen", row.box.checked);
      return row;
    });
    this.rows = new Map(rows.map((row) => [row.job.id, row]));
    this.place(rows.map((row) => row.element));
    this.drawNote();
    this.drawBatch();
  }

  /**
   * Puts rows in order and touches only those that are elsewhere, so that the
   * focus stays.
   * @private
   * @param {HTMLElement[]} elements
   */
  place(elements) {
    const wanted = new Set(elements);
    for (const old of [...this.parts.body.children]) {
      if (!wanted.has(/** @type {HTMLElement} */ (old))) old.remove();
    }
    elements.forEach((element, at) => {
      const there = this.parts.body.children[at];
      if (there !== element) this.parts.body.insertBefore(element, there ?? null);
    });
  }

  /** @private */
  drawNote() {
    if (this.rows.size > 0) {
      replace(this.parts.below);
    } else if (this.filters.narrow || this.tokens.length > 0) {
      const clear = () => {
        this.tokens = [];
        this.filters.clear();
      };
      replace(this.parts.below, h("div", { class: "empty" }, h("p", null, "No job matches."), h("button", { onclick: clear }, "Show all jobs")));
    } else {
      const auth = this.ctx.api.key ? '-H "Authorization: Bearer $REELRAFT_KEY" ' : "";
      replace(
        this.parts.below,
        h(
          "div",
          { class: "empty first" },
          icon("film"),
          h("h2", null, "No jobs yet"),
          h("p", null, "Drop films anywhere on this page, or a folder of them."),
          h("a", { class: "button primary", href: "#/new" }, "New job"),
          h("p", { class: "faint" }, "From a shell: ", h("code", null, `curl ${auth}-T film.mov '${location.origin}/api/v1/transcode?width=1280' -o film.mp4`)),
        ),
      );
    }
  }

  /** @private */
  drawPager() {
    const size = Number(this.filters.query().page_size);
    const from = this.tokens.length * size;
    const until = `${count(from + 1)}–${count(from + this.rows.size)}`;
    setText(this.parts.where, this.rows.size === 0 ? "" : `${until}, newest first`);
    this.parts.newer.disabled = this.tokens.length === 0;
    this.parts.older.disabled = !this.next;
  }

  /** @private @param {any} news */
  heard(news) {
    const known = this.rows.has(news.job);
    if (known) this.patch(news.job, news);
    if (known || (this.tokens.length === 0 && this.filters.mayHave(news))) this.refresh();
  }

  /** @private @param {string} id @param {any} news */
  patch(id, news) {
    const row = this.rows.get(id);
    if (!row) return;
    row.patch(news);
    this.changed.add(row);
    this.frame.ask();
  }

  /** @private */
  drawChanged() {
    for (const row of this.changed) row.draw();
    this.changed.clear();
  }

  /** @private */
  tick() {
    if (document.hidden) return;
    if (this.held && !this.pointed) this.release();
    if (this.countLater) void this.count();
    for (const row of this.rows.values()) row.tick();
  }

  /** @private @param {1 | -1} by */
  move(by) {
    const links = [...this.parts.body.querySelectorAll("a.title")];
    const here = document.activeElement?.closest("tr")?.querySelector("a.title");
    const at = here ? links.indexOf(here) + by : by > 0 ? 0 : links.length - 1;
    const link = /** @type {HTMLElement | undefined} */ (links[Math.min(links.length - 1, Math.max(0, at))]);
    link?.focus();
    link?.scrollIntoView({ block: "nearest" });
  }

  /** @private */
  chooseFocused() {
    const row = this.rows.get(document.activeElement?.closest("tr")?.dataset.id ?? "");
    row?.box.click();
  }

  /** @private @param {JobRow} row @param {MouseEvent} event */
  choose(row, event) {
    const all = [...this.rows.values()];
    const on = row.box.checked;
    const last = this.lastChosen ? all.indexOf(this.lastChosen) : -1;
    const here = all.indexOf(row);
    const range = event.shiftKey && last >= 0 ? all.slice(Math.min(last, here), Math.max(last, here) + 1) : [row];
    this.setChosen(range, on);
    this.lastChosen = row;
  }

  /** @private @param {JobRow[]} rows @param {boolean} on */
  setChosen(rows, on) {
    for (const row of rows) {
      row.box.checked = on;
      setAttribute(row.element, "data-chosen", on);
      if (on) this.chosen.set(row.job.id, row.job);
      else this.chosen.delete(row.job.id);
    }
    this.drawBatch();
  }

  /** @private */
  chooseAll() {
    this.setChosen([...this.rows.values()], this.parts.choosePage.checked);
  }

  /** @private */
  chooseNone() {
    this.chosen.clear();
    this.setChosen([...this.rows.values()], false);
  }

  /** Chooses all jobs of all pages that match. @private */
  async chooseMatching() {
    let token = "";
    const { signal } = this.closing;
    const query = { ...this.filters.query(), page_size: ALL_PAGE_SIZE };
    try {
      do {
        const page = await this.ctx.api.get("/jobs", { query: { ...query, page_token: token }, signal });
        for (const { id, state } of page.jobs) this.chosen.set(id, { id, state });
        token = page.next_page_token ?? "";
        this.drawBatch();
      } while (token);
    } catch (error) {
      if (!signal.aborted) this.ctx.problem(error);
    }
    for (const row of this.rows.values()) {
      row.box.checked = this.chosen.has(row.job.id);
      setAttribute(row.element, "data-chosen", row.box.checked);
    }
  }

  /** @private */
  drawBatch() {
    const jobs = [...this.chosen.values()];
    const here = [...this.rows.keys()].filter((id) => this.chosen.has(id)).length;
    this.parts.choosePage.checked = here > 0 && here === this.rows.size;
    this.parts.choosePage.indeterminate = here > 0 && here < this.rows.size;
    setAttribute(this.parts.bar, "hidden", jobs.length === 0);
    if (jobs.length === 0) return;
    const all = here === this.rows.size && this.next !== null && jobs.length <= this.rows.size;
    const act = (/** @type {import("../lib/batch.js").Act} */ which, /** @type {string} */ word) => {
      const fit = fitting(which, jobs).length;
      const run = () => ask(this.ctx, which, jobs, () => this.acted());
      return h("button", { class: which === "retry" ? "" : "danger", disabled: fit === 0, onclick: run }, `${word} ${fit > 0 ? count(fit) : ""}`);
    };
    replace(
      this.parts.bar,
      h("strong", null, `${count(jobs.length)} chosen`),
      all && h("button", { class: "plain small", onclick: () => void this.chooseMatching() }, "Choose all that match"),
      h("span", { class: "grow" }),
      act("retry", "Retry"),
      act("cancel", "Cancel"),
      act("delete", "Delete"),
      h("button", { class: "plain square", "aria-label": "Choose none", title: "Choose none   Esc", onclick: () => this.chooseNone() }, icon("cross")),
    );
  }

  /** @private */
  acted() {
    this.chooseNone();
    void this.load();
  }
}

/**
 * The fixed elements of the view.
 * @param {{ chooseAll(): void, release(): void, point(): void, newer(): void, older(): void }} acts
 */
function parts(acts) {
  const choosePage = h("input", { type: "checkbox", "aria-label": "Choose all on this page", onclick: acts.chooseAll });
  const header = (/** @type {string} */ kind, /** @type {Node | string} */ content) =>
    h("th", { role: "columnheader", scope: "col", class: kind }, content);
  const body = h("tbody", { role: "rowgroup", onpointerleave: acts.release, onpointermove: acts.point });
  const table = h(
    "table",
    { role: "table", class: "jobs", "aria-label": "Jobs", "aria-busy": "true" },
    h(
      "thead",
      { role: "rowgroup" },
      h(
        "tr",
        { role: "row" },
        header("choose", choosePage),
        COLUMNS.map(([id, word, kind]) => header(`${id} ${kind}`, word)),
        header("acts", h("span", { class: "unseen" }, "Actions")),
      ),
    ),
    body,
  );
  const below = h("div", { class: "below" });
  const newer = h("button", { class: "small", disabled: true, onclick: acts.newer }, "Newer");
  const older = h("button", { class: "small", disabled: true, onclick: acts.older }, "Older");
  const where = h("span", { class: "soft" });
  const waiting = h("button", { class: "small plain", hidden: true, onclick: acts.release });
  const pager = h("div", { class: "pager row" }, where, waiting, h("span", { class: "grow" }), newer, older);
  const list = h("div", { class: "panel list" }, table, below, pager);
  const bar = h("div", { class: "batch", role: "region", "aria-label": "Chosen jobs", hidden: true });
  return { choosePage, body, table, below, newer, older, where, waiting, list, bar };
}
