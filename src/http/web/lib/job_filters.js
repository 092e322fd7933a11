/** What the list of jobs is narrowed to, and the fields that say so. */

import { count } from "./format.js";
import { h, setText } from "./dom.js";
import { ACTIVE, WORKING } from "./jobs.js";

/** Who types should not ask at each letter. */
const TYPING_MS = 250;

/** @type {{ id: string, word: string, states: string[] }[]} */
const GROUPS = [
  { id: "", word: "All", states: [] },
  { id: "active", word: "Active", states: ACTIVE },
  { id: "uploading", word: "Uploading", states: ["uploading"] },
  { id: "working", word: "Working", states: WORKING },
  { id: "succeeded", word: "Succeeded", states: ["succeeded"] },
  { id: "failed", word: "Failed", states: ["failed"] },
  { id: "cancelled", word: "Cancelled", states: ["cancelled"] },
];
/** An id that was pasted opens its job. */
const JOB_ID = /^j[0-9a-f]{20}$/;
const SIZES = [25, 50, 100, 200];
const SIZE = "50";

/** The filters of the list. They stand in the page's address, so that a link has them. */
export class Filters {
  /**
   * @param {URLSearchParams} query
   * @param {boolean} withTenant whether jobs of many tenants are seen
   * @param {() => void} changed
   */
  constructor(query, withTenant, changed) {
    this.group = GROUPS.find(({ id }) => id === query.get("state")) ?? GROUPS[0];
    this.changed = changed;
    this.typing = 0;
    this.numbers = new Map();
    this.chips = GROUPS.map((group) => this.chip(group));
    this.name = this.field("search", "Name", query.get("name") ?? "", "Search names   /");
    this.tenant = this.field("text", "Tenant", query.get("tenant") ?? "", "Any tenant");
    this.tenant.hidden = !withTenant;
    this.size = h(
      "select",
      { "aria-label": "Jobs a page", onchange: () => this.apply() },
      SIZES.map((size) => h("option", { value: size }, `${size} a page`)),
    );
    this.size.value = SIZES.includes(Number(query.get("size"))) ? String(query.get("size")) : SIZE;
    this.element = h(
      "div",
      { class: "filters", role: "search", "aria-label": "Filter jobs" },
      h("div", { class: "picks", role: "group", "aria-label": "State" }, this.chips),
      h("div", { class: "row fields" }, this.name, this.tenant, this.size),
    );
  }

  /** @private @param {typeof GROUPS[number]} group */
  chip(group) {
    const number = h("span", { class: "number" });
    this.numbers.set(group.id, number);
    const press = () => {
      this.group = group;
      this.apply();
    };
    return h(
      "button",
      { class: "pick", "aria-pressed": String(group === this.group), data: { group: group.id }, onclick: press },
      group.word,
      number,
    );
  }

  /** @private @param {string} type @param {string} label @param {string} value @param {string} placeholder */
  field(type, label, value, placeholder) {
    const typed = () => {
      clearTimeout(this.typing);
      this.typing = window.setTimeout(() => this.apply(), TYPING_MS);
    };
    const left = (/** @type {KeyboardEvent} */ event) => {
      const field = /** @type {HTMLInputElement} */ (event.target);
      if (event.key === "Enter" && JOB_ID.test(field.value.trim())) location.hash = `#/jobs/${field.value.trim()}`;
      if (event.key !== "Escape") return;
      if (field.value === "") return field.blur();
      field.value = "";
      this.apply();
    };
    return h("input", { type, "aria-label": label, value, placeholder, spellcheck: "false", oninput: typed, onkeydown: left });
  }

  /** @private */
  apply() {
    clearTimeout(this.typing);
    for (const chip of this.chips) {
      chip.setAttribute("aria-pressed", String(chip.dataset.group === this.group.id));
    }
    this.changed();
  }

  /** Shows all jobs again. */
  clear() {
    this.group = GROUPS[0];
    this.name.value = this.tenant.value = "";
    this.apply();
  }

  /** Whether they leave anything out. */
  get narrow() {
    return this.group.id !== "" || this.name.value !== "" || this.tenant.value !== "";
  }

  /** Parameters of `GET /jobs`. */
  query() {
    return {
      state: this.group.states.join(","),
      name: this.name.value,
      tenant: this.tenant.value,
      page_size: this.size.value,
    };
  }

  /** What the page's address says of them. */
  hash() {
    const size = this.size.value === SIZE ? "" : this.size.value;
    const all = { state: this.group.id, name: this.name.value, tenant: this.tenant.value, size };
    const said = Object.entries(all).filter(([, value]) => value !== "");
    return said.length === 0 ? "#/" : `#/?${new URLSearchParams(said)}`;
  }

  /**
   * Whether a job that an event tells of may belong to the list.
   * @param {{ state: string, tenant: string, source_name?: string | null }} news
   */
  mayHave({ state, tenant, source_name }) {
    if (this.tenant.value && tenant !== this.tenant.value) return false;
    const wanted = this.name.value.toLowerCase();
    if (wanted && source_name && !source_name.toLowerCase().includes(wanted)) return false;
    return this.group.states.length === 0 || this.group.states.includes(state);
  }

  /**
   * Shows how many jobs are in each state, unless other filters leave some of them out.
   * @param {Map<string, number> | null} byState
   */
  showCounts(byState) {
    const all = this.name.value || this.tenant.value ? null : byState;
    const sum = (/** @type {string[]} */ states) => states.reduce((sum, state) => sum + (all?.get(state) ?? 0), 0);
    for (const { id, states } of GROUPS) {
      const number = sum(states.length === 0 ? [...(all?.keys() ?? [])] : states);
      setText(this.numbers.get(id), all ? count(number) : "");
    }
  }
}
