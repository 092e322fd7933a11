/** How nodes are shown, alike in each view: a number, a hue and a pattern. */

import { h, setAttribute, setText } from "../lib/dom.js";

/** Hues that can be told apart; the style sheet has a pattern beside each. */
const HUES = 8;

/**
 * Which of the hues a node has.
 * @param {number} id
 */
export function hue(id) {
  return (id - 1) % HUES;
}

/**
 * A node's tag: its hue, and its number as text.
 * @param {number | null | undefined} id
 * @returns {HTMLElement}
 */
export function nodeTag(id) {
  if (!id) return h("span", { class: "node-tag none" }, "no node");
  return h("span", { class: "node-tag", data: { hue: hue(id) } }, `n${id}`);
}

/**
 * Makes an existing tag another node's.
 * @param {HTMLElement} tag
 * @param {number | null | undefined} id
 */
export function setNodeTag(tag, id) {
  setAttribute(tag, "class", id ? "node-tag" : "node-tag none");
  setAttribute(tag, "data-hue", id ? hue(id) : null);
  setText(tag, id ? `n${id}` : "no node");
}
