/** One job as a row of the list. It touches only what has changed. */

import { ago, bytes, count, duration, percent, rate, time } from "./format.js";
import { h, icon, name, replace, setAttribute, setText, visible } from "./dom.js";
import { ACTIVE, RETRIABLE, WORKING, shareDone, shownState, specWords } from "./jobs.js";
import { stateBadge } from "./shell.js";

/**
 * What a row asks of its list.
 * @typedef {object} Acts
 * @property {(row: JobRow, event: MouseEvent) => void} choose
 * @property {(row: JobRow) => void} retry
 * @property {import("./uploads.js").Uploads} uploads
 * @property {boolean} withTenant
 */

/** A row, and the job that it shows. */
export class JobRow {
  /**
   * @param {any} job
   * @param {Acts} acts
   */
  constructor(job, acts) {
    this.job = job;
    this.acts = acts;
    this.drawn = "";
    this.box = h("input", {
      type: "checkbox",
      "aria-label": `Choose ${visible(job.source_name || job.id)}`,
      onclick: (/** @type {MouseEvent} */ event) => acts.choose(this, event),
    });
    this.link = h("a", { class: "title", href: `#/jobs/${job.id}` }, name(job.source_name, job.id));
    this.under = h("span", { class: "under" });
    this.state = h("td", { role: "cell", class: "state" });
    this.bar = h("div", { class: "bar", role: "progressbar", "aria-label": "Done", "aria-valuemin": 0, "aria-valuemax": 100 });
    this.doing = h("span", { class: "doing" });
    this.speed = cell("speed");
    this.eta = cell("eta");
    this.age = cell("age");
    this.in = cell("in");
    this.out = cell("out");
    this.actions = h("td", { role: "cell", class: "acts" });
    this.element = h(
      "tr",
      { role: "row", data: { id: job.id } },
      h("td", { role: "cell", class: "choose" }, this.box),
      h("td", { role: "cell", class: "what" }, this.link, this.under),
      this.state,
      h("td", { role: "cell", class: "progress" }, this.bar, this.doing),
      this.speed,
      this.eta,
      this.age,
      this.in,
      this.out,
      this.actions,
    );
    this.draw();
  }

  /**
   * A newer document of the same job.
   * @param {any} job
   */
  take(job) {
    this.job = job;
    this.draw();
  }

  /**
   * What an event says of the job.
   * @param {any} news
   */
  patch(news) {
    const { job: _, ...fields } = news;
    Object.assign(this.job, fields);
  }

  /** Shows the job as it is now. */
  draw() {
    const { job } = this;
    const upload = job.state === "uploading" ? this.acts.uploads.of(job.id) : undefined;
    const state = shownState(job);
    if (this.drawn !== state) {
      this.drawn = state;
      setAttribute(this.element, "data-state", state);
      replace(this.state, stateBadge(state));
    }
    setText(this.under, this.underline());
    setAttribute(this.under, "title", this.underline());
    setAttribute(this.under, "class", job.problem ? "under bad" : job.waiting && job.queue_position === null ? "under waits" : "under");
    this.drawProgress(upload);
    this.drawNumbers(upload);
    this.drawActions(upload);
  }

  /** @private */
  underline() {
    const { job } = this;
    if (job.problem) return visible(`${job.problem.kind}: ${job.problem.cause}`);
    // Its place in the queue says it already.
    const queued = typeof job.queue_position === "number";
    if (job.waiting && !queued) return visible(`waits: ${job.waiting}`);
    const tenant = this.acts.withTenant && job.tenant !== "default" ? `${job.tenant} · ` : "";
    return visible(tenant + specWords(job.spec));
  }

  /** @private @param {import("./uploads.js").Upload | undefined} upload */
  drawProgress(upload) {
    const { job } = this;
    const active = ACTIVE.includes(job.state);
    const share = upload ? upload.sent / upload.bytes : job.state === "uploading" ? null : shareDone(job);
    const moves = shownState(job) !== "queued" && !(upload && upload.state !== "sending");
    const unknown = moves && (share === null || (job.state === "assembling" && share === 1));
    setAttribute(this.bar, "hidden", !active);
    setAttribute(this.bar, "class", unknown ? "bar unknown" : "bar");
    setAttribute(this.bar, "data-state", shownState(job));
    setAttribute(this.bar, "aria-valuenow", unknown ? null : Math.floor((share ?? 0) * 100));
    const drawn = (share ?? 0).toFixed(3);
    if (this.bar.style.getPropertyValue("--share") !== drawn) this.bar.style.setProperty("--share", drawn);
    setText(this.doing, this.doingWords(upload, share));
  }

  /** @private @param {import("./uploads.js").Upload | undefined} upload @param {number | null} share */
  doingWords(upload, share) {
    const { job } = this;
    if (upload) return UPLOAD_WORDS[upload.state](percent(share));
    if (job.state === "uploading") return job.source_url ? "is fetched" : "by someone else";
    if (shownState(job) === "queued") {
      return typeof job.queue_position === "number" ? `place ${count(job.queue_position)} in the queue` : "";
    }
    if (job.state === "succeeded") {
      const seconds = (job.ended_unix_ms - job.created_unix_ms) / 1000;
      return `in ${duration(seconds)}`;
    }
    if (!WORKING.includes(job.state)) return "";
    const shards = job.shards_total ? `${count(job.shards_done)}/${count(job.shards_total)} shards` : "";
    return [share === null ? "" : percent(share), shards].filter(Boolean).join(" · ");
  }

  /** @private @param {import("./uploads.js").Upload | undefined} upload */
  drawNumbers(upload) {
    const { job } = this;
    if (upload?.state === "sending") {
      setText(this.speed, rate(upload.speed, "bytes"));
      setText(this.eta, duration(upload.etaS));
    } else {
      const works = WORKING.includes(job.state);
      setText(this.speed, works && job.speed ? rate(job.speed, "fps") : "");
      setText(this.eta, works && typeof job.eta_s === "number" ? duration(job.eta_s) : "");
    }
    this.tick();
    setAttribute(this.age, "title", `made ${time(job.created_unix_ms)}`);
    setText(this.in, job.source_bytes ? bytes(job.source_bytes) : "");
    const guessed = job.estimated_output_bytes && WORKING.includes(job.state);
    const out = job.output_bytes ?? (guessed ? job.estimated_output_bytes : null);
    setText(this.out, out ? `${guessed ? "≈ " : ""}${bytes(out)}` : "");
    const share = out && job.source_bytes ? `${percent1(out / job.source_bytes)} of its source` : null;
    setAttribute(this.out, "title", share);
  }

  /** What changes by time alone. */
  tick() {
    setText(this.age, ago(this.job.created_unix_ms));
  }

  /** @private @param {import("./uploads.js").Upload | undefined} upload */
  drawActions(upload) {
    const { job } = this;
    const wanted = upload ? `upload-${upload.state}` : RETRIABLE.includes(job.state) ? "retry" : job.state;
    if (this.actions.dataset.for === wanted) return;
    this.actions.dataset.for = wanted;
    const { uploads } = this.acts;
    const called = visible(job.source_name || job.id);
    if (upload && ["sending", "waiting"].includes(upload.state)) {
      replace(this.actions, button("pause", `Pause ${called}`, () => uploads.pause(upload)));
    } else if (upload?.file && ["paused", "failed"].includes(upload.state)) {
      replace(this.actions, button("play", `Go on with ${called}`, () => uploads.resume(upload)));
    } else if (upload) {
      replace(this.actions, link("folder", `Give the file of ${called} again`, "#/new"));
    } else if (job.state === "succeeded") {
      replace(this.actions, link("play", `Play ${called}`, `#/jobs/${job.id}/play`));
    } else if (RETRIABLE.includes(job.state)) {
      replace(this.actions, button("again", `Retry ${called}`, () => this.acts.retry(this)));
    } else {
      replace(this.actions);
    }
  }
}

/** @type {Record<import("./uploads.js").State, (share: string) => string>} */
const UPLOAD_WORDS = {
  waiting: (share) => `${share} · waits`,
  sending: (share) => `${share} sent`,
  paused: (share) => `${share} · paused`,
  asleep: () => "give its file again",
  failed: () => "upload broke off",
  done: () => "",
};

/** @param {string} which */
function cell(which) {
  return h("td", { role: "cell", class: `num ${which}` });
}

/** @param {number} share */
function percent1(share) {
  return `${(share * 100).toFixed(share < 0.1 ? 1 : 0)} %`;
}

/**
 * @param {Parameters<typeof icon>[0]} which
 * @param {string} label
 * @param {string} href
 */
function link(which, label, href) {
  return h("a", { class: "button plain small square", href, title: label, "aria-label": label }, icon(which));
}

/**
 * @param {Parameters<typeof icon>[0]} which
 * @param {string} label
 * @param {() => void} act
 */
function button(which, label, act) {
  return h("button", { class: "plain small square", title: label, "aria-label": label, onclick: act }, icon(which));
}
