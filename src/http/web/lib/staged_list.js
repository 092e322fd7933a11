/** Where films are let go or picked, and the list of those that were. */

import { bytes, plural } from "./format.js";
import { h, icon, name, replace, visible } from "./dom.js";
import { picked, urlsIn } from "./dropped.js";

/** More rows tell nothing and cost much; the rest is counted. */
const ROWS_MAX = 200;

/** The left half of a new job. */
export class StagedList {
  /**
   * @param {import("../app.js").Context} ctx
   * @param {() => void} changed
   */
  constructor(ctx, changed) {
    this.ctx = ctx;
    this.changed = changed;
    /** Uploads that others left unfinished, by the staged file that may go on with one. @type {Map<string, any>} */
    this.unfinished = new Map();
    this.files = h("input", { type: "file", id: "files", multiple: true, hidden: true, "aria-label": "Films", onchange: () => this.take(this.files) });
    this.folder = h("input", { type: "file", id: "folder", webkitdirectory: true, multiple: true, hidden: true, "aria-label": "Folder of films", onchange: () => this.take(this.folder) });
    this.url = h("input", { id: "url", type: "text", inputmode: "url", placeholder: "https://…", autocomplete: "off", spellcheck: "false" });
    this.list = h("ul", { class: "staged" });
    this.note = h("div", { class: "left-out row wrap", hidden: true });
    this.head = h("div", { class: "head", hidden: true });
    this.element = h(
      "section",
      { class: "panel films", "aria-label": "Films" },
      this.zone(),
      this.head,
      this.list,
      this.note,
    );
    this.end = ctx.staging.onchange(() => {
      this.draw();
      void this.findUnfinished();
    });
    this.draw();
    void this.findUnfinished();
  }

  close() {
    this.end();
  }

  /** @private */
  zone() {
    const addUrl = (/** @type {Event} */ event) => {
      event.preventDefault();
      const urls = urlsIn(this.url.value);
      if (urls.length === 0) this.ctx.notice("An address begins with http:// or https://", "bad");
      else this.url.value = "";
      this.ctx.staging.take({ found: [], others: [], urls });
    };
    return h(
      "div",
      { class: "zone" },
      icon("film"),
      h("p", { class: "invite" }, "Drop films or folders anywhere"),
      h(
        "div",
        { class: "row wrap center" },
        h("button", { onclick: () => void this.pick() }, icon("film"), "Choose files"),
        h("button", { onclick: () => this.folder.click() }, icon("folder"), "Choose a folder"),
      ),
      h(
        "form",
        { class: "row url", onsubmit: addUrl },
        h("label", { for: "url" }, "or fetch from"),
        this.url,
        h("button", null, icon("link"), "Add"),
      ),
      this.files,
      this.folder,
    );
  }

  /** Asks for files; where the browser gives handles, uploads go on after a reload. @private */
  async pick() {
    const picker = /** @type {any} */ (window).showOpenFilePicker;
    if (!picker) return this.files.click();
    try {
      const handles = await picker({ multiple: true });
      const found = [];
      for (const handle of handles) found.push({ file: await handle.getFile(), handle });
      this.ctx.staging.take({ found, others: [] });
    } catch (error) {
      if (!(error instanceof DOMException && error.name === "AbortError")) this.files.click();
    }
  }

  /** @private @param {HTMLInputElement} input */
  take(input) {
    this.ctx.staging.take(picked(/** @type {FileList} */ (input.files)));
    input.value = "";
  }

  /** @private */
  draw() {
    const { items, others } = this.ctx.staging;
    const shown = items.slice(0, ROWS_MAX).map((item) => this.row(item));
    const more = items.length - shown.length;
    replace(this.list, shown, more > 0 && h("li", { class: "soft" }, `and ${plural(more, "more film")}`));
    const all = items.reduce((sum, item) => sum + (item.bytes ?? 0), 0);
    this.head.hidden = items.length === 0;
    replace(
      this.head,
      h("h2", null, plural(items.length, "film")),
      h("span", { class: "soft" }, all > 0 ? bytes(all) : ""),
      h("span", { class: "grow" }),
      h("button", { class: "plain small", onclick: () => this.ctx.staging.empty() }, "Remove all"),
    );
    this.note.hidden = others.length === 0;
    replace(
      this.note,
      h("span", { class: "soft" }, `${plural(others.length, "file")} left out that ${others.length === 1 ? "looks" : "look"} like no film.`),
      h("button", { class: "plain small", onclick: () => this.ctx.staging.takeOthers() }, "Add them too"),
    );
    this.element.classList.toggle("filled", items.length > 0);
    this.changed();
  }

  /** @private @param {import("./staging.js").Staged} item */
  row(item) {
    const called = visible(item.name);
    const job = item.file && this.unfinished.get(keyOf(item.name, item.bytes));
    const goOn = () => {
      const upload = this.ctx.uploads.adopt(job);
      this.ctx.uploads.wake(upload, /** @type {File} */ (item.file));
      this.ctx.staging.remove(item);
    };
    return h(
      "li",
      null,
      icon(item.url ? "link" : "film"),
      h("span", { class: "grow" }, name(item.name), job && h("span", { class: "hint" }, "An upload of this name and size waits for its rest. ", h("button", { class: "small", onclick: goOn }, "Go on with it"))),
      item.bytes === 0 ? h("span", { class: "empty-file" }, "is empty") : h("span", { class: "num soft" }, item.url ? "fetched" : bytes(item.bytes)),
      h("button", { class: "plain small square", "aria-label": `Remove ${called}`, title: "Remove", onclick: () => this.ctx.staging.remove(item) }, icon("cross")),
    );
  }

  /** Looks for unfinished uploads of the same films, of another browser or node. @private */
  async findUnfinished() {
    const { staging, api, uploads } = this.ctx;
    if (!staging.items.some(({ file }) => file)) return;
    try {
      const { jobs } = await api.get("/jobs", { query: { state: "uploading", page_size: 200 } });
      const open = jobs.filter((/** @type {any} */ job) => !job.source_url && !uploads.of(job.id));
      this.unfinished = new Map(open.map((/** @type {any} */ job) => [keyOf(job.source_name, job.source_bytes), job]));
      if (this.unfinished.size > 0) this.draw();
    } catch {
      // It is an offer only; without it the film is sent from its start.
    }
  }
}

/** @param {string} name @param {number | null} bytes */
function keyOf(name, bytes) {
  return `${bytes} ${name}`;
}
