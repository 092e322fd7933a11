/**
 * How those that work are shown, alike in each view: a node by its number, an engine by
 * its name, with a hue and a pattern.
 */

import { h, setAttribute, setText, visible } from "../lib/dom.js";

/** Hues that can be told apart; the style sheet has a pattern beside each. */
const HUES = 8;

/** Where the ids of engines begin; nodes count from 1. */
const ENGINE_ID_MIN = 2 ** 52;
/** Longest name that a tag shows. */
const NAME_CHARS_MAX = 40;

/** The names of engines by their numbers, as far as they are known. @type {Map<number, string>} */
const engines = new Map();

/**
 * The number of an engine; null where it is a node's id.
 * @param {number} id
 */
export function engineNumber(id) {
  return id >= ENGINE_ID_MIN ? id - ENGINE_ID_MIN : null;
}

/**
 * Remembers what an engine is called.
 * @param {{ number: number, name: string }} engine
 */
export function knowEngine({ number, name }) {
  if (name) engines.set(number, name);
}

/**
 * Whether this is an engine whose name is not known.
 * @param {number | null | undefined} id
 */
export function isNameless(id) {
  const number = id ? engineNumber(id) : null;
  return number !== null && !engines.has(number);
}

/**
 * What a node or an engine is called.
 * @param {number} id
 */
export function nodeName(id) {
  const number = engineNumber(id);
  if (number === null) return `n${id}`;
  return visible(engines.get(number) ?? `engine ${number}`, NAME_CHARS_MAX);
}

/**
 * The same where there is room for a few letters.
 * @param {number} id
 */
export function shortName(id) {
  const number = engineNumber(id);
  return number === null ? `n${id}` : `e${number}`;
}

/**
 * Which of the hues a node has.
 * @param {number} id
 */
export function hue(id) {
  return (id - 1) % HUES;
}

/**
 * A node's tag: its hue, and what it is called.
 * @param {number | null | undefined} id
 * @returns {HTMLElement}
 */
export function nodeTag(id) {
  if (!id) return h("span", { class: "node-tag none" }, "no node");
  return h("span", { class: "node-tag", data: { hue: hue(id) } }, nodeName(id));
}

/**
 * Makes an existing tag another node's.
 * @param {HTMLElement} tag
 * @param {number | null | undefined} id
 */
export function setNodeTag(tag, id) {
  setAttribute(tag, "class", id ? "node-tag" : "node-tag none");
  setAttribute(tag, "data-hue", id ? hue(id) : null);
  setText(tag, id ? nodeName(id) : "no node");
}
