/** Keys: all that may be seen, a new one, and an end to one. */

import { h, icon, name, replace } from "../../lib/dom.js";
import { time } from "../../lib/format.js";
import { problemBox } from "../../lib/shell.js";
import { confirm, copyButton } from "../ask.js";

const PAGE = 500;
const DAY_S = 86_400;
const HEADS = ["Name", "Tenant", "Scope", "Made", "Ends", "Id", ""];
/** @type {[string, string][]} */
const SCOPES = [
  ["read", "read: see jobs and outputs"],
  ["submit", "submit: also make jobs"],
  ["admin", "admin: also make keys"],
];
/** @type {[string, number][]} */
const LIVES = [
  ["never", 0],
  ["in a day", DAY_S],
  ["in a week", 7 * DAY_S],
  ["in 30 days", 30 * DAY_S],
  ["in 90 days", 90 * DAY_S],
  ["in a year", 365 * DAY_S],
];

/** The list of keys, and the form that makes one. */
export class KeyList {
  /**
   * @param {import("../../app.js").Context} ctx
   * @param {AbortSignal} signal
   * @param {(tenants: string[]) => void} found which tenants have keys
   */
  constructor(ctx, signal, found) {
    this.ctx = ctx;
    this.signal = signal;
    this.found = found;
    this.body = h("div", { class: "stack" });
    this.once = h("div", { hidden: true });
    this.problem = h("div", { hidden: true });
    this.name = h("input", { id: "key-name", required: true, maxlength: "64", autocomplete: "off" });
    this.tenant = h("input", { id: "key-tenant", maxlength: "64", autocomplete: "off", placeholder: "its own, or default", list: "known-tenants" });
    this.scope = h("select", { id: "key-scope" }, SCOPES.map(([scope, words]) => h("option", { value: scope, selected: scope === "submit" }, words)));
    this.life = h("select", { id: "key-life" }, LIVES.map(([words, seconds]) => h("option", { value: String(seconds) }, words)));
    this.button = h("button", { class: "primary" }, icon("plus"), "Make a key");
    this.form = h(
      "form",
      { class: "keys-form", onsubmit: (/** @type {Event} */ event) => this.make(event) },
      field("key-name", "Name", this.name),
      field("key-tenant", "Tenant", this.tenant),
      field("key-scope", "It may", this.scope),
      field("key-life", "It ends", this.life),
      this.button,
    );
    this.node = h(
      "section",
      { class: "panel", "aria-label": "Keys" },
      h("div", { class: "head" }, h("h2", null, "Keys")),
      h("div", { class: "body stack" }, this.form, this.problem, this.once, this.body),
    );
  }

  async load() {
    try {
      /** @type {any[]} */
      const keys = [];
      let token = "";
      do {
        const query = { page_size: PAGE, page_token: token };
        const page = await this.ctx.api.get("/keys", { signal: this.signal, query });
        keys.push(...page.keys);
        token = page.next_page_token ?? "";
      } while (token);
      this.draw(keys);
      this.found([...new Set(keys.map((key) => String(key.tenant)))]);
    } catch (error) {
      if (!this.signal.aborted) replace(this.body, problemBox(error));
    }
  }

  /**
   * @private
   * @param {any[]} keys
   */
  draw(keys) {
    if (keys.length === 0) {
      replace(this.body, h("p", { class: "soft" }, "There are no keys. The cluster's secret, if it has one, opens everything."));
      return;
    }
    const heads = HEADS.map((head) => h("th", { scope: "col" }, head || h("span", { class: "unseen" }, "Action")));
    const rows = keys.toSorted((a, b) => b.created_unix_ms - a.created_unix_ms).map((key) => this.row(key));
    const caption = h("caption", { class: "unseen" }, "Keys");
    replace(this.body, h("table", { class: "keys-table" }, caption, h("thead", null, h("tr", null, heads)), h("tbody", null, rows)));
  }

  /**
   * @private
   * @param {any} key
   */
  row(key) {
    const cell = (/** @type {number} */ at, /** @type {any} */ content) => h("td", { data: { label: HEADS[at] } }, content);
    const over = key.expires_unix_ms && key.expires_unix_ms < Date.now();
    const revoke = { type: "button", class: "small danger", onclick: () => this.revoke(key), "aria-label": `Revoke ${key.name}` };
    const ends = key.expires_unix_ms ? time(key.expires_unix_ms) : "never";
    return h(
      "tr",
      null,
      cell(0, name(key.name)),
      cell(1, name(key.tenant)),
      cell(2, h("span", { class: "badge plain" }, key.scope)),
      cell(3, time(key.created_unix_ms)),
      cell(4, over ? h("span", { class: "soft" }, `${ends}, over`) : ends),
      cell(5, h("code", null, key.id)),
      cell(6, h("button", revoke, "Revoke")),
    );
  }

  /**
   * @private
   * @param {Event} event
   */
  async make(event) {
    event.preventDefault();
    this.button.disabled = true;
    this.problem.hidden = true;
    const wish = {
      name: this.name.value.trim(),
      scope: this.scope.value,
      tenant: this.tenant.value.trim(),
      expires_in_s: Number(this.life.value),
    };
    try {
      const { key, text } = await this.ctx.api.post("/keys", wish, { signal: this.signal });
      this.once.hidden = false;
      replace(this.once, once(this.ctx, `The key ${key.name}`, text));
      this.form.reset();
      await this.load();
    } catch (error) {
      if (this.signal.aborted) return;
      this.problem.hidden = false;
      replace(this.problem, problemBox(error));
    } finally {
      this.button.disabled = false;
    }
  }

  /**
   * @private
   * @param {any} key
   */
  async revoke(key) {
    const text = `Whoever holds it gets nothing more, and what it downloads or follows ends. Tenant ${key.tenant}, scope ${key.scope}.`;
    if (!(await confirm({ title: `Revoke ${key.name}?`, text, yes: "Revoke", danger: true }))) return;
    try {
      await this.ctx.api.delete(`/keys/${encodeURIComponent(key.id)}`, { signal: this.signal });
      this.ctx.notice(`${key.name} is revoked.`, "good");
      await this.load();
    } catch (error) {
      if (!this.signal.aborted) this.ctx.problem(error);
    }
  }
}

/**
 * A text that is shown once.
 * @param {import("../../app.js").Context} ctx
 * @param {string} what
 * @param {string} text
 */
export function once(ctx, what, text) {
  return h(
    "div",
    { class: "once" },
    h("div", { class: "row" }, h("strong", { class: "grow" }, `${what} is shown this once; keep it now.`), copyButton(ctx, "Copy it", () => text)),
    h("output", null, text),
  );
}

/**
 * @param {string} id
 * @param {string} words
 * @param {HTMLElement} input
 * @param {string} [hint]
 */
export function field(id, words, input, hint) {
  if (hint) input.setAttribute("aria-describedby", `${id}-hint`);
  return h("div", { class: "field" }, h("label", { for: id }, words), input, hint ? h("p", { class: "hint", id: `${id}-hint` }, hint) : null);
}
