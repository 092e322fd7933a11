/** New jobs: films on the left, what becomes of them on the right. */

import { Problem } from "../lib/api.js";
import { h, icon, name, replace, setAttribute, setText, visible } from "../lib/dom.js";
import { bytes, plural } from "../lib/format.js";
import { specWords } from "../lib/jobs.js";
import { drop, keep, presets } from "../lib/presets.js";
import { randomId } from "../lib/remembered.js";
import { options } from "../lib/schema.js";
import { dialog, problemBox } from "../lib/shell.js";
import { SpecForm } from "../lib/spec_form.js";
import { StagedList } from "../lib/staged_list.js";
import { UploadList } from "../lib/upload_list.js";
import { copyButton } from "./ask.js";

/** Who types or clicks through options is asked about once, after so long. */
const CHECK_MS = 200;
/** A slow server of a source may take so long to say how long it is. */
const URL_MS_MAX = 60_000;
/** Options of a job beside its spec that the form has. */
const JOB_OPTIONS = ["priority", "max_retries", "webhook_url", "output_url"];

/** What was set when the view was left. @type {{ preset: string, values: Record<string, any> } | null} */
let left = null;

/** @type {import("../app.js").Module["open"]} */
export function open(root, ctx) {
  const view = new NewJob(root, ctx);
  return { close: () => view.close() };
}

class NewJob {
  /**
   * @param {HTMLElement} root
   * @param {import("../app.js").Context} ctx
   */
  constructor(root, ctx) {
    this.ctx = ctx;
    this.request = new AbortController();
    this.checking = 0;
    this.closed = false;
    /** @type {SpecForm | null} */
    this.form = null;
    this.refused = false;
    /** What the cluster makes of the options. @type {any} */
    this.resolved = null;
    this.presetId = left?.preset ?? presets()[0].id;
    this.uploads = new UploadList(ctx);
    this.cards = h("div", { class: "presets", role: "radiogroup", "aria-label": "Presets" });
    this.more = h("details", { class: "panel all-options" }, h("summary", null, h("h2", null, "All options"), h("span", { class: "soft changed" })));
    this.outcome = h("div", { class: "outcome", "aria-live": "polite" });
    this.what = h("div", { class: "what soft" });
    this.startButton = h("button", { class: "primary large", disabled: true, onclick: () => void this.start() }, "Start");
    this.films = new StagedList(ctx, () => this.draw());
    replace(
      root,
      h("h1", { class: "unseen" }, "New job"),
      h(
        "div",
        { class: "halves" },
        h("div", { class: "stack" }, this.films.element, this.uploads.element),
        h("div", { class: "stack" }, this.cards, this.more, h("div", { class: "start" }, this.outcome, this.what, this.startButton)),
      ),
    );
    this.drawCards();
    // What could not be asked for is asked for again once a node answers.
    this.end = ctx.live.on("start", () => {
      if (this.form === null) void this.load();
      else if (this.resolved === null) this.touched();
    });
    void this.load();
    this.draw();
  }

  close() {
    this.closed = true;
    if (this.form) left = { preset: this.presetId, values: this.form.values };
    clearTimeout(this.checking);
    this.request.abort();
    this.end();
    this.films.close();
    this.uploads.close();
  }

  /** @private */
  async load() {
    try {
      const { spec, job } = await options(this.ctx.api);
      if (this.closed || this.form) return;
      const names = this.ctx.seesAll() ? [...JOB_OPTIONS, "tenant"] : JOB_OPTIONS;
      const beside = Object.fromEntries(names.filter((one) => job[one]).map((one) => [one, job[one]]));
      this.form = new SpecForm({ ...spec, ...beside }, () => this.touched());
      const reset = () => this.choose(this.preset);
      this.more.append(
        h("div", { class: "body stack" }, this.form.element, h("div", { class: "row wrap" }, h("button", { onclick: reset }, "Reset to the preset"), h("button", { onclick: () => this.keepPreset() }, "Keep as a preset"))),
      );
      this.form.values = left?.values ?? this.preset.spec;
      this.touched();
      await this.markPresets();
    } catch (error) {
      replace(this.outcome, problemBox(error));
    }
  }

  /** @private */
  get preset() {
    const all = presets();
    return all.find(({ id }) => id === this.presetId) ?? all[0];
  }

  /** @private */
  drawCards() {
    const cards = presets().map((preset, at) => {
      const id = `preset-${at}`;
      const input = h("input", { type: "radio", name: "preset", id, checked: preset.id === this.presetId, onchange: () => this.choose(preset), "aria-describedby": `${id}-line` });
      const remove = () => {
        drop(preset);
        this.drawCards();
      };
      const whole = (/** @type {Event} */ { target }) => {
        if (target instanceof Element && !target.closest("label, input, button")) input.click();
      };
      return h(
        "div",
        { class: "preset", onclick: whole },
        input,
        h("label", { for: id }, name(preset.word)),
        h("span", { class: "mark", data: { mark: preset.id } }),
        h("p", { id: `${id}-line` }, visible(preset.line)),
        preset.own && h("button", { class: "plain small square", "aria-label": `Remove the preset ${visible(preset.word)}`, onclick: remove }, icon("trash")),
      );
    });
    replace(this.cards, cards);
  }

  /** Says of presets that no node can make now, or that are refused. @private */
  async markPresets() {
    for (const { id, spec } of presets()) {
      if (this.closed) return;
      const mark = this.cards.querySelector(`[data-mark="${CSS.escape(id)}"]`);
      try {
        const { nodes } = await this.ctx.api.post("/spec", { spec }, { repeatable: true });
        setText(/** @type {Element} */ (mark), nodes > 0 ? "" : "no node makes it now");
      } catch (error) {
        if (error instanceof Problem && error.status === 400) setText(/** @type {Element} */ (mark), "refused");
      }
    }
  }

  /** @private @param {import("../lib/presets.js").Preset} preset */
  choose(preset) {
    this.presetId = preset.id;
    if (!this.form) return;
    const beside = Object.entries(this.form.values).filter(([one]) => this.isBeside(one));
    this.form.values = { ...preset.spec, ...Object.fromEntries(beside) };
    this.touched();
  }

  /** @private */
  keepPreset() {
    const input = h("input", { id: "preset-name", maxlength: 40, required: true });
    const field = h("div", { class: "field" }, h("label", { for: "preset-name" }, "Name"), input);
    const act = () => {
      const { spec } = this.wish();
      const preset = keep(input.value.trim(), this.resolved ? specWords(this.resolved.spec) : "", spec);
      this.presetId = preset.id;
      this.drawCards();
      this.drawChanged();
    };
    dialog("Keep these options as a preset", [field, h("p", { class: "soft" }, "It is kept by this browser.")], { word: "Keep", act });
    input.focus();
  }

  /** @private @param {string} option whether it is of the job, not of its spec */
  isBeside(option) {
    return option === "tenant" || JOB_OPTIONS.includes(option);
  }

  /** What jobs are made with. @private @returns {{ spec: Record<string, any> } & Record<string, any>} */
  wish() {
    const all = Object.entries(this.form?.values ?? {});
    const spec = Object.fromEntries(all.filter(([one]) => !this.isBeside(one)));
    return { ...Object.fromEntries(all.filter(([one]) => this.isBeside(one))), spec };
  }

  /** @private */
  touched() {
    this.drawChanged();
    clearTimeout(this.checking);
    this.checking = window.setTimeout(() => void this.check(), CHECK_MS);
  }

  /** Tells in how many options the form differs from its preset. @private */
  drawChanged() {
    const { spec } = this.wish();
    const keys = new Set([...Object.keys(spec), ...Object.keys(this.preset.spec)]);
    const same = (/** @type {string} */ key) => JSON.stringify(spec[key]) === JSON.stringify(this.preset.spec[key]);
    const changed = [...keys].filter((key) => !same(key)).length;
    const note = /** @type {Element} */ (this.more.querySelector(".changed"));
    setText(note, changed > 0 ? `${changed} changed from ${visible(this.preset.word)}` : `as in ${visible(this.preset.word)}`);
  }

  /** Has the cluster say what the options come to, or why it refuses them. @private */
  async check() {
    this.request.abort();
    this.request = new AbortController();
    const { signal } = this.request;
    const { spec } = this.wish();
    const wrong = this.form?.wrong;
    try {
      this.resolved = await this.ctx.api.post("/spec", { spec }, { signal, repeatable: true });
      this.refused = wrong !== undefined;
      this.form?.resolve(this.resolved.spec);
      this.form?.blame("");
      replace(this.outcome, this.resultBox());
      if (wrong) replace(this.outcome, problemBox(new Error(`${wrong.name}: ${wrong.input.validationMessage}`)));
    } catch (error) {
      if (signal.aborted) return;
      this.refused = true;
      this.resolved = null;
      const problem = /** @type {any} */ (error);
      this.form?.blame(String(problem.cause ?? ""));
      replace(this.outcome, problemBox(error));
    }
    this.draw();
  }

  /** @private */
  resultBox() {
    const { command, nodes } = this.resolved;
    return h(
      "div",
      { class: "result" },
      h("span", { class: nodes > 0 ? "soft makers" : "soft makers none" }, icon(nodes > 0 ? "check" : "alert"), nodes > 0 ? `${plural(nodes, "node")} can make it` : "No node can make it now; it would wait for one"),
      h("code", { class: "command grow", title: command }, visible(command)),
      copyButton(this.ctx, "Copy", () => command, "plain small"),
    );
  }

  /** @private */
  draw() {
    const { items } = this.ctx.staging;
    const sendable = items.filter((item) => item.bytes !== 0).length;
    const clash = sendable > 1 && this.wish().output_url !== undefined;
    setAttribute(this.startButton, "disabled", sendable === 0 || this.refused || !this.form || clash);
    setText(this.startButton, sendable === 0 ? "Start" : `Start ${plural(sendable, "job")}`);
    const all = items.reduce((sum, item) => sum + (item.bytes ?? 0), 0);
    const to = this.resolved ? specWords(this.resolved.spec) : "";
    if (clash) setText(this.what, "An output URL takes the output of one film");
    else setText(this.what, sendable === 0 ? "Add a film first" : [all > 0 ? bytes(all) : "", to].filter(Boolean).join(" → "));
  }

  /** Makes a job of each film: uploads take their turn, URLs are fetched by the cluster. @private */
  async start() {
    const wish = this.wish();
    const items = this.ctx.staging.empty().filter((item) => item.bytes !== 0);
    for (const { file, handle } of items) {
      if (file) this.ctx.uploads.add(file, wish, handle);
    }
    let made = 0;
    for (const { url } of items) {
      if (!url) continue;
      try {
        const headers = { "idempotency-key": randomId() };
        // The node asks that server first how long the file is.
        const asking = { headers, repeatable: true, timeoutMs: URL_MS_MAX };
        await this.ctx.api.post("/jobs", { ...wish, source_url: url }, asking);
        made += 1;
      } catch (error) {
        this.ctx.staging.take({ found: [], others: [], urls: [url] });
        this.ctx.problem(error);
      }
    }
    if (made > 0) this.ctx.notice(`${plural(made, "film")} will be fetched by the cluster`, "good");
    if (made > 0 && made === items.length && !this.closed) this.ctx.go("#/");
  }
}
