/** What stands around every view: connection, theme, key, uploads, notices, help. */

import { ago, bytes, count, duration, percent, plural, rate } from "./format.js";
import { kept } from "./kept.js";
import { Pulse } from "./pulse.js";
import { TEXT_CHARS_MAX, eachFrame, h, icon, replace, setAttribute, setText, visible } from "./dom.js";

/** @typedef {"info" | "good" | "bad"} Kind */

/** Notices go by themselves after so long; bad ones have more to read. */
const NOTICE_MS = 7_000;
const BAD_NOTICE_MS = 20_000;
const NOTICES_MAX = 4;
/** Uploads tell of their progress much more often than it can be read. */
const DRAW_MS = 250;
const THEME = "reelraft.theme";
/** What a header can carry; a line or a letter without width may have been copied along. */
const KEY_PATTERN = "\\s*[!-~]*\\s*";

/**
 * Whether something says its kind, cause and hint, as refusals and jobs' problems do.
 * @param {any} error
 * @returns {error is { kind: string, cause: string, hint: string }}
 */
function isProblem(error) {
  return typeof error?.kind === "string" && typeof error.cause === "string";
}

/**
 * A problem with what caused it and what helps.
 * @param {unknown} error
 * @returns {HTMLElement}
 */
export function problemBox(error) {
  const known = isProblem(error);
  const cause = known ? error.cause : error instanceof Error ? error.message : String(error);
  return h(
    "div",
    { class: "problem", role: "alert" },
    icon("alert"),
    h("p", null, known && [h("span", { class: "kind" }, error.kind), " "], visible(cause, TEXT_CHARS_MAX)),
    known && error.hint ? h("p", { class: "soft" }, visible(error.hint, TEXT_CHARS_MAX)) : null,
  );
}

/**
 * A state as a badge: its mark and its word.
 * @param {string} state
 * @param {string} [word]
 */
export function stateBadge(state, word = state) {
  return h(
    "span",
    { class: "badge", data: { state } },
    icon(STATE_ICONS[state] ?? "clock"),
    h("span", { class: "word" }, word),
  );
}

/** @type {Record<string, Parameters<typeof icon>[0]>} */
const STATE_ICONS = {
  queued: "clock",
  uploading: "up",
  analyzing: "search",
  encoding: "bolt",
  assembling: "stack",
  succeeded: "check",
  failed: "alert",
  cancelled: "cross",
  deleted: "trash",
};

/** Notices that come and go beside the view. */
export class Notices {
  /** @param {HTMLElement} root */
  constructor(root) {
    this.root = root;
  }

  /**
   * @param {string} text
   * @param {Kind} [kind]
   */
  say(text, kind = "info") {
    this.show(kind, h("p", null, visible(text)));
  }

  /** @param {unknown} error */
  problem(error) {
    if (error instanceof DOMException && error.name === "AbortError") return;
    this.show("bad", problemBox(error));
  }

  /** @private @param {Kind} kind @param {HTMLElement} content */
  show(kind, content) {
    const same = [...this.root.children].find((old) => old.firstChild?.textContent === content.textContent);
    same?.remove();
    const notice = h("div", { class: "notice", data: { kind } }, content);
    const close = () => notice.remove();
    const label = "Close this notice";
    notice.append(h("button", { class: "plain small square", "aria-label": label, onclick: close }, icon("cross")));
    this.root.append(notice);
    while (this.root.children.length > NOTICES_MAX) this.root.firstChild?.remove();
    let timer = 0;
    const wait = () => (timer = window.setTimeout(close, kind === "bad" ? BAD_NOTICE_MS : NOTICE_MS));
    notice.addEventListener("pointerenter", () => clearTimeout(timer));
    notice.addEventListener("pointerleave", wait);
    wait();
  }
}

/**
 * Asks a question in a dialog.
 * @param {string} title
 * @param {(HTMLElement | string)[]} content
 * @param {{ word: string, danger?: boolean, act: () => unknown }} [answer] what may be done
 * @returns {HTMLDialogElement} which closes itself
 */
export function dialog(title, content, answer) {
  const box = h("dialog", { "aria-labelledby": "dialog-title" });
  const submit = (/** @type {Event} */ event) => {
    event.preventDefault();
    box.close();
    answer?.act();
  };
  const leave = h("button", { type: "button", onclick: () => box.close() }, answer ? "Back" : "Close");
  const act = answer && h("button", { class: answer.danger ? "danger" : "primary" }, answer.word);
  box.append(
    h(
      "form",
      { method: "dialog", onsubmit: submit },
      h("h2", { id: "dialog-title" }, visible(title)),
      h("div", { class: "content" }, content),
      h("div", { class: "row buttons" }, leave, act),
    ),
  );
  box.addEventListener("close", () => box.remove());
  box.addEventListener("click", (event) => event.target === box && box.close());
  document.body.append(box);
  box.showModal();
  return box;
}

/**
 * Asks for a key, unless that is done already.
 * @param {import("./api.js").Api} api
 * @param {import("./api.js").Problem | null} [problem] why the one that there is is not taken
 */
export function askKey(api, problem = null) {
  if (document.querySelector("dialog.key")) return;
  const key = h("input", { id: "key", type: "password", autocomplete: "off", spellcheck: "false", value: api.key, pattern: KEY_PATTERN, title: "Letters, digits and signs of ASCII" });
  const keep = h("input", { id: "key-keep", type: "checkbox", checked: api.keyKept });
  /** @type {HTMLElement[]} */
  const content = [
    h(
      "div",
      { class: "field" },
      h("label", { for: "key" }, "Key or secret"),
      key,
      h("p", { class: "hint" }, "As `reelraft key create` printed it. It is sent to this cluster's nodes alone."),
    ),
    h("div", { class: "row" }, keep, h("label", { for: "key-keep" }, "Remember it on this computer")),
  ];
  if (problem && api.key) content.unshift(problemBox(problem));
  const act = () => api.setKey(key.value.trim(), keep.checked);
  const box = dialog("This cluster asks for a key", content, { word: "Use it", act });
  box.classList.add("key");
  if (api.key) {
    const forget = () => {
      box.close();
      api.setKey("", false);
    };
    box.querySelector(".buttons")?.prepend(
      h("button", { type: "button", class: "plain", onclick: forget }, "Forget the key"),
    );
  }
  key.focus();
}

/** The right end of the header. */
export class Status {
  /**
   * @param {HTMLElement} root
   * @param {import("./api.js").Api} api
   * @param {import("./live.js").Live} live
   * @param {import("./uploads.js").Uploads} uploads
   */
  constructor(root, api, live, uploads) {
    this.api = api;
    this.live = live;
    this.uploads = uploads;
    this.pulse = new Pulse(api, live);
    this.pulseText = h("span", { class: "pulse soft num", title: "Jobs that are encoded now, of all that are not ended, and frames a second over all of them" });
    this.uploadText = h("span");
    this.uploadMore = h("span", { class: "more" });
    this.uploadLink = h("a", { class: "button plain small uploads", href: "#/new", hidden: true }, icon("up"), this.uploadText, this.uploadMore);
    // Only the word is told, and not each second how old all is.
    this.word = h("span", { class: "word", role: "status" });
    this.where = h("span", { class: "where soft" });
    this.connection = h("div", { class: "connection" }, h("span", { class: "dot" }), this.word, this.where);
    this.theme = h("button", { class: "plain square", onclick: () => this.turn() });
    const key = h(
      "button",
      { class: "plain square", title: "Key", "aria-label": "Key", onclick: () => askKey(api, live.problem) },
      icon("key"),
    );
    replace(root, this.pulseText, this.uploadLink, this.connection, this.theme, key);
    const frame = eachFrame(() => this.draw(), DRAW_MS);
    live.onstate(frame.ask);
    api.onchange(frame.ask);
    uploads.onchange(frame.ask);
    setInterval(frame.ask, 1_000);
    this.draw();
  }

  /** @private */
  draw() {
    const { state } = this.live;
    setText(this.pulseText, this.pulse.words());
    const idle = state === "live" && this.pulse.idle;
    setAttribute(document.documentElement, "data-live", state);
    setAttribute(this.connection, "data-state", state);
    setAttribute(this.connection, "data-idle", idle);
    setText(this.word, idle ? "Idle" : WORDS[state]);
    const old = ago(Date.now() - (performance.now() - this.live.heardAt));
    const host = new URL(this.api.node).host;
    setText(this.where, ["live", "connecting"].includes(state) ? host : state === "refused" ? "" : `${old} old`);
    setAttribute(this.connection, "title", idle ? "Connected; there is nothing to do" : TITLES[state]);
    const { open, moving, bytes: all, sent, speed, etaS } = this.uploads.summary();
    this.uploadLink.hidden = open === 0;
    setText(this.uploadText, moving > 0 ? percent(sent / all) : count(open));
    setText(this.uploadMore, moving > 0 ? `of ${plural(moving, "film")} · ${rate(speed, "bytes")}` : open === 1 ? "upload waits" : "uploads wait");
    setAttribute(this.uploadLink, "title", `${bytes(sent)} of ${bytes(all)} sent, ${duration(etaS)} left`);
    const theme = document.documentElement.dataset.theme ?? "auto";
    const next = `Theme: ${theme === "auto" ? "as the system has it" : theme}`;
    if (this.theme.title !== next) {
      this.theme.title = next;
      this.theme.ariaLabel = next;
      replace(this.theme, icon(theme === "light" ? "sun" : theme === "dark" ? "moon" : "half"));
    }
  }

  /** The next theme: as the system has it, light, dark. @private */
  turn() {
    const { dataset } = document.documentElement;
    const next = dataset.theme === undefined ? "light" : dataset.theme === "light" ? "dark" : undefined;
    if (next) {
      dataset.theme = next;
      kept.set(THEME, next);
    } else {
      delete dataset.theme;
      kept.set(THEME, null);
    }
    this.draw();
  }
}

/** @type {Record<import("./live.js").State, string>} */
const WORDS = {
  connecting: "Connecting",
  live: "Live",
  stale: "Reconnecting",
  unreachable: "Unreachable",
  refused: "Not let in",
  resting: "Resting",
};

/** @type {Record<import("./live.js").State, string>} */
const TITLES = {
  connecting: "The first answer is awaited",
  live: "Changes are shown as they happen",
  stale: "What is shown may be old; another node is sought",
  unreachable: "No node that this page knows answers; it goes on trying",
  refused: "The cluster does not take this key",
  resting: "The page was hidden; it goes on when it is seen",
};
