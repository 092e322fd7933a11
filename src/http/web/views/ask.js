/** Copying, and asking before something can't be undone. */

import { h, icon, replace } from "../lib/dom.js";
import { dialog } from "../lib/shell.js";

/** @typedef {import("../app.js").Context} Context */

const COPIED_MS = 1_600;

/**
 * A button that copies what it is told when it is pressed.
 * @param {Context} ctx
 * @param {string} label
 * @param {() => string | Promise<string>} text
 * @param {string} [kind] more classes
 * @returns {HTMLButtonElement}
 */
export function copyButton(ctx, label, text, kind = "small") {
  const word = h("span", null, label);
  const button = h("button", { type: "button", class: `${kind} copy`, onclick: copy }, icon("copy"), word);
  async function copy() {
    try {
      await copyText(await text());
      replace(button, icon("check"), h("span", null, "Copied"));
      ctx.notice(`${label}: copied`, "good");
    } catch (error) {
      ctx.problem(error);
      return;
    }
    setTimeout(() => replace(button, icon("copy"), word), COPIED_MS);
  }
  return button;
}

/** @param {string} text */
async function copyText(text) {
  // Pages by plain HTTP of another machine have no clipboard of the new kind.
  if (navigator.clipboard && window.isSecureContext) return navigator.clipboard.writeText(text);
  const area = h("textarea", { class: "unseen", readonly: true, "aria-label": "Text to copy" });
  area.value = text;
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  if (!done) throw new Error("this browser does not let the page copy; select the text instead");
}

/**
 * Asks before something is done for good.
 * @param {{ title: string, text: string, yes: string, danger?: boolean, content?: HTMLElement }} of
 * @returns {Promise<boolean>}
 */
export function confirm({ title, text, yes, danger = false, content }) {
  return new Promise((resolve) => {
    const body = content ? [content, h("p", null, text)] : [h("p", null, text)];
    const box = dialog(title, body, { word: yes, danger, act: () => resolve(true) });
    box.addEventListener("close", () => resolve(false));
  });
}
