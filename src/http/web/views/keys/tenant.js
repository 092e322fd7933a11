/** A tenant: what it has and may have, and who is told of its jobs. */

import { h, replace, setAttribute } from "../../lib/dom.js";
import { bytes, count, time } from "../../lib/format.js";
import { problemBox } from "../../lib/shell.js";
import { confirm } from "../ask.js";
import { field, once } from "./list.js";

const GIB = 2 ** 30;

/** @type {{ field: string, words: string, has: string | null, show: (value: number) => string, unit: number }[]} */
const BOUNDS = [
  { field: "jobs", words: "Jobs", has: "jobs", show: count, unit: 1 },
  { field: "bytes", words: "Bytes, in GiB", has: "bytes", show: bytes, unit: GIB },
  { field: "uploads", words: "Uploads at once", has: "uploads", show: count, unit: 1 },
  { field: "requests_per_second", words: "Requests a second", has: null, show: count, unit: 1 },
];

/** One tenant. */
export class TenantPanels {
  /**
   * @param {import("../../app.js").Context} ctx
   * @param {AbortSignal} signal
   */
  constructor(ctx, signal) {
    this.ctx = ctx;
    this.signal = signal;
    this.tenant = "default";
    /** Whether the tenant is more than a guess. */
    this.chosen = false;
    /** Whether the key may not see what was guessed. */
    this.refused = false;
    /** Tenants that have keys. @type {string[]} */
    this.known = [];
    this.quota = h("div", { class: "quota" });
    this.hook = h("div", { class: "stack" });
    this.names = h("datalist", { id: "known-tenants" });
    this.input = h("input", { id: "tenant-name", value: this.tenant, maxlength: "64", autocomplete: "off", list: "known-tenants", required: true });
    const form = h(
      "form",
      { class: "row pick-tenant", onsubmit: (/** @type {Event} */ event) => this.choose(event) },
      h("label", { for: "tenant-name" }, "Tenant"),
      this.input,
      h("button", null, "Show"),
      this.names,
    );
    this.node = h(
      "div",
      { class: "stack" },
      h("section", { class: "panel", "aria-label": "Tenant" }, h("div", { class: "head" }, h("h2", null, "What a tenant may have")), h("div", { class: "body stack" }, form, this.quota)),
      h("section", { class: "panel", "aria-label": "Webhook" }, h("div", { class: "head" }, h("h2", null, "Its webhook")), h("div", { class: "body" }, this.hook)),
    );
  }

  /** @param {string[]} names */
  know(names) {
    replace(this.names, [...new Set(["default", ...names])].map((known) => h("option", { value: known })));
    // A tenant's own key sees its own tenant alone.
    this.known = names;
    if (names.length === 1 && !this.chosen && this.refused) this.become(names[0]);
  }

  /**
   * Shows another tenant.
   * @private
   * @param {string} tenant
   */
  become(tenant) {
    this.chosen = true;
    this.tenant = tenant;
    this.input.value = tenant;
    for (const former of [this.quota, this.hook]) replace(former);
    void this.load();
  }

  /**
   * Finds the tenant of a key that may see no other.
   * @private
   * @returns {Promise<boolean>}
   */
  async findOwn() {
    this.refused = true;
    const options = { signal: this.signal, query: { page_size: 1 } };
    const { jobs } = await this.ctx.api.get("/jobs", options).catch(() => ({ jobs: [] }));
    const own = this.known.length === 1 ? this.known[0] : jobs[0]?.tenant;
    if (own && !this.chosen) this.become(own);
    return own !== undefined;
  }

  /** @private @param {Event} event */
  choose(event) {
    event.preventDefault();
    this.become(this.input.value.trim());
  }

  async load() {
    await Promise.all([this.loadQuota(), this.loadHook()]);
  }

  /** @private */
  get path() {
    return `/tenants/${encodeURIComponent(this.tenant)}`;
  }

  /** @private */
  async loadQuota() {
    const { tenant } = this;
    try {
      const quota = await this.ctx.api.get(this.path, { signal: this.signal });
      // Another may have been chosen meanwhile, and what is shown is what is changed.
      if (tenant === this.tenant) this.drawQuota(quota);
    } catch (error) {
      if (tenant !== this.tenant) return;
      const refused = /** @type {any} */ (error)?.status === 403;
      if (refused && !this.chosen && (await this.findOwn())) return;
      if (!this.signal.aborted) replace(this.quota, problemBox(error));
    }
  }

  /**
   * @private
   * @param {any} tenant
   */
  drawQuota(tenant) {
    const lines = BOUNDS.map(({ field: of, words, has, show }) => {
      const most = tenant[`${of}_max`];
      const now = has === null ? null : tenant[has];
      const text = `${now === null ? "" : `${show(now)} of `}${most === null ? "no bound" : show(most)}`;
      const share = now === null || !most ? null : Math.min(1, now / most);
      const bar = share === null ? null : h("div", { class: "bar", "aria-hidden": "true" });
      bar?.style.setProperty("--share", String(share));
      if (bar) setAttribute(bar, "data-full", (share ?? 0) >= 0.95);
      return h("div", { class: "line" }, h("span", { class: "soft" }, words.replace(", in GiB", "")), h("span", { class: "num" }, text), bar);
    });
    replace(this.quota, lines, this.bounds());
  }

  /** The form that changes bounds. @private */
  bounds() {
    const { tenant, path } = this;
    const problem = h("div", { hidden: true });
    /** @type {[string, HTMLInputElement, number][]} */
    const inputs = BOUNDS.map(({ field: of, unit }) => {
      const step = unit === 1 ? "1" : "any";
      return [of, h("input", { id: `quota-${of}`, type: "number", min: "0", step, placeholder: "as it is" }), unit];
    });
    const fields = BOUNDS.map(({ field: of, words }, at) => field(`quota-${of}`, words, inputs[at][1]));
    const send = async (/** @type {Record<string, unknown>} */ change) => {
      problem.hidden = true;
      try {
        const quota = await this.ctx.api.patch(path, change, { signal: this.signal, repeatable: true });
        if (tenant === this.tenant) this.drawQuota(quota);
        this.ctx.notice(`The bounds of ${tenant} are changed.`, "good");
      } catch (error) {
        if (this.signal.aborted) return;
        problem.hidden = false;
        replace(problem, problemBox(error));
      }
    };
    const onsubmit = (/** @type {Event} */ event) => {
      event.preventDefault();
      const change = Object.fromEntries(inputs.filter(([, input]) => input.value !== "").map(([of, input, unit]) => [of, Math.round(Number(input.value) * unit)]));
      void send(change);
    };
    const reset = h("button", { type: "button", onclick: () => void send({ reset: true }) }, "The cluster's own bounds");
    return h("form", { class: "stack", onsubmit }, h("div", { class: "keys-form" }, fields), problem, h("div", { class: "row wrap" }, h("button", { class: "primary" }, "Change bounds"), reset));
  }

  /** @private */
  async loadHook() {
    const { tenant } = this;
    try {
      const hook = await this.ctx.api.get("/webhooks", { signal: this.signal, query: { tenant } });
      if (tenant === this.tenant) this.drawHook(hook, null);
    } catch (error) {
      if (this.signal.aborted || tenant !== this.tenant) return;
      const none = /** @type {any} */ (error)?.status === 404;
      if (none) this.drawHook(null, null);
      else replace(this.hook, problemBox(error));
    }
  }

  /**
   * @private
   * @param {any} hook
   * @param {string | null} secret if it was made just now
   */
  drawHook(hook, secret) {
    const { tenant } = this;
    const problem = h("div", { hidden: true });
    const url = h("input", { id: "hook-url", type: "url", value: hook?.url ?? "", placeholder: "https://…", autocomplete: "off" });
    const send = async (/** @type {() => Promise<any>} */ ask, /** @type {string} */ done) => {
      problem.hidden = true;
      try {
        const now = await ask();
        if (tenant === this.tenant) this.drawHook(now, now?.secret ?? null);
        this.ctx.notice(done, "good");
      } catch (error) {
        if (this.signal.aborted) return;
        problem.hidden = false;
        replace(problem, problemBox(error));
      }
    };
    const options = { signal: this.signal, query: { tenant } };
    const { api } = this.ctx;
    const onsubmit = (/** @type {Event} */ event) => {
      event.preventDefault();
      void send(() => api.put("/webhooks", { url: url.value.trim() }, options), "The webhook is set.");
    };
    const rotate = async () => {
      const text = "The former secret signs beside the new one for a day.";
      if (await confirm({ title: "Make another secret?", text, yes: "Make it" })) {
        void send(() => api.post("/webhooks/rotate", undefined, options), "There is another secret.");
      }
    };
    const remove = async () => {
      const text = "Its secret goes too, and nobody is told of this tenant's jobs any more.";
      if (await confirm({ title: "Remove the webhook?", text, yes: "Remove", danger: true })) {
        void send(() => api.delete("/webhooks", options), "The webhook is removed.");
      }
    };
    replace(
      this.hook,
      hook ? facts(hook) : h("p", { class: "soft" }, "Nobody is told when its jobs end."),
      secret ? once(this.ctx, "The secret", secret) : null,
      h(
        "form",
        { class: "stack", onsubmit },
        field("hook-url", "URL", url, "It gets a signed POST when a job has succeeded, failed or been cancelled."),
        problem,
        h(
          "div",
          { class: "row wrap" },
          h("button", { class: "primary" }, hook ? "Change the URL" : "Set it"),
          hook ? h("button", { type: "button", onclick: rotate }, "Another secret") : null,
          hook ? h("button", { type: "button", class: "danger", onclick: remove }, "Remove") : null,
        ),
      ),
    );
  }
}

/** @param {any} hook */
function facts(hook) {
  const rows = [
    ["Goes to", hook.url || "nowhere yet"],
    ["Signed by", hook.secrets === 1 ? "one secret" : `${hook.secrets} secrets`],
    ["Changed", time(hook.changed_unix_ms)],
    ["Turned off", hook.off_cause],
  ];
  return h("dl", { class: "facts" }, rows.filter(([, value]) => value).map(([title, value]) => [h("dt", null, title), h("dd", null, value)]));
}
