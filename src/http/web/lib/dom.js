/**
 * Elements without HTML: nothing here parses text as markup, so that no name or
 * message can become any.
 */

/** @typedef {Node | string | number | null | undefined | false | Child[]} Child */
/**
 * `class`, `data` (for `data-…`), `on…` handlers and attributes; `value` and
 * `checked` are set as properties. What is null, undefined or false is left out.
 * @typedef {Record<string, any>} Props
 */

const SVG = "http://www.w3.org/2000/svg";

/**
 * Makes an element.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Props | null} [props]
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function h(tag, props, ...children) {
  const element = document.createElement(tag);
  fill(element, props, children);
  return element;
}

/**
 * Makes an element of SVG.
 * @template {keyof SVGElementTagNameMap} K
 * @param {K} tag
 * @param {Props | null} [props]
 * @param {...Child} children
 * @returns {SVGElementTagNameMap[K]}
 */
export function svg(tag, props, ...children) {
  const element = document.createElementNS(SVG, tag);
  fill(element, props, children);
  return element;
}

/**
 * @param {HTMLElement | SVGElement} element
 * @param {Props | null | undefined} props
 * @param {Child[]} children
 */
function fill(element, props, children) {
  for (const [key, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2).toLowerCase(), value);
    else if (key === "class") element.setAttribute("class", value);
    else if (key === "data") Object.assign(element.dataset, value);
    else if (key === "value" || key === "checked") Object.assign(element, { [key]: value });
    else element.setAttribute(key, value === true ? "" : String(value));
  }
  append(element, children);
}

/**
 * @param {Element} element
 * @param {Child[]} children
 */
function append(element, children) {
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    if (Array.isArray(child)) append(element, child);
    else element.append(child instanceof Node ? child : String(child));
  }
}

/**
 * Puts children in the place of those that an element has.
 * @template {Element} E
 * @param {E} element
 * @param {...Child} children
 * @returns {E}
 */
export function replace(element, ...children) {
  element.replaceChildren();
  append(element, children);
  return element;
}

/**
 * Sets an element's text where it differs, so that nothing is laid out anew that
 * stays as it is.
 * @param {Node} node
 * @param {string | number} text
 */
export function setText(node, text) {
  const wanted = String(text);
  if (node.textContent !== wanted) node.textContent = wanted;
}

/**
 * Sets or takes away an attribute where it differs.
 * @param {Element} element
 * @param {string} attribute
 * @param {string | number | boolean | null | undefined} value
 */
export function setAttribute(element, attribute, value) {
  if (value === null || value === undefined || value === false) {
    if (element.hasAttribute(attribute)) element.removeAttribute(attribute);
    return;
  }
  const wanted = value === true ? "" : String(value);
  if (element.getAttribute(attribute) !== wanted) element.setAttribute(attribute, wanted);
}

/** The most characters of a foreign name that are put into the page. */
const NAME_CHARS_MAX = 300;
/** The same of a foreign text that is to be read. */
export const TEXT_CHARS_MAX = 3_000;

/**
 * Characters that are not seen, or that move what stands around them: controls,
 * changes of direction, letters without width, line and paragraph separators.
 */
const UNSEEN =
  // eslint-disable-next-line no-control-regex
  /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]|[\u{e0000}-\u{e007f}]/gu;

/**
 * Text of others with what can't be seen made visible, cut where it is very long.
 * @param {string} text
 * @param {number} [charsMax]
 */
export function visible(text, charsMax = NAME_CHARS_MAX) {
  let shown = text;
  if (shown.length > charsMax) {
    const tail = Math.floor(charsMax / 10);
    shown = shown.slice(0, charsMax - tail) + "…" + shown.slice(-tail);
  }
  shown = shown.replace(/\p{Surrogate}/gu, "\ufffd");
  return shown.replace(UNSEEN, (character) => {
    const code = character.codePointAt(0) ?? 0;
    return `\\u${code.toString(16).padStart(4, "0")}`;
  });
}

/**
 * A name that came from outside: isolated from the text around it, never markup,
 * cut by the style sheet and whole in its title.
 * @param {string | null | undefined} text
 * @param {string} [otherwise] what stands there when it is empty
 * @returns {HTMLElement}
 */
export function name(text, otherwise = "unnamed") {
  if (!text) return h("span", { class: "name none" }, otherwise);
  const shown = visible(text);
  return h("bdi", { class: "name", title: shown }, shown);
}

/**
 * Calls a function at most once an animation frame, however often it is asked to.
 * @param {() => void} draw
 * @param {number} [everyMs] and at most once in so long
 * @returns {{ ask(): void, close(): void }}
 */
export function eachFrame(draw, everyMs = 0) {
  let timer = 0;
  let frame = 0;
  let drawnAt = -everyMs;
  let closed = false;
  const run = () => {
    frame = 0;
    drawnAt = performance.now();
    draw();
  };
  const queue = () => {
    timer = 0;
    frame = requestAnimationFrame(run);
  };
  return {
    ask() {
      if (closed || timer || frame) return;
      const wait = drawnAt + everyMs - performance.now();
      if (wait > 0) timer = window.setTimeout(queue, wait);
      else queue();
    },
    close() {
      closed = true;
      clearTimeout(timer);
      cancelAnimationFrame(frame);
    },
  };
}

const ICONS = {
  check: "M3.5 8.5l3 3 6-7",
  cross: "M4 4l8 8M12 4l-8 8",
  clock: "M8 4.5V8l2.5 1.5M14 8A6 6 0 1 1 2 8a6 6 0 0 1 12 0z",
  up: "M8 13V3.5M4 7l4-4 4 4",
  down: "M8 3v9.5M4 9l4 4 4-4",
  play: "M5 3.5v9l7-4.5z",
  pause: "M5.5 3.5v9M10.5 3.5v9",
  again: "M13 8a5 5 0 1 1-1.6-3.7M13 2.5v3h-3",
  stack: "M8 2.5l6 3-6 3-6-3zM2 8.5l6 3 6-3",
  search: "M7 11.5a4.5 4.5 0 1 0 0-9 4.5 4.5 0 0 0 0 9zM10.5 10.5l3 3",
  plus: "M8 3v10M3 8h10",
  trash: "M3 4.5h10M6.5 4.5v-2h3v2M4.5 4.5l.5 9h6l.5-9",
  copy: "M5.5 5.5v-3h8v8h-3M2.5 5.5h8v8h-8z",
  film: "M2.5 3h11v10h-11zM5.5 3v10M10.5 3v10M2.5 8h11",
  folder: "M2 4h4.5l1.5 2h6v7H2z",
  link: "M7 9.5l3-3M6 7L4 9a2.1 2.1 0 0 0 3 3l2-2M10 9l2-2a2.1 2.1 0 0 0-3-3L7 6",
  alert: "M8 5.5v3.5M8 11.2v.3M8 2l6.5 11.5h-13z",
  bolt: "M9 2L4 9h4l-1 5 5-7H8z",
  key: "M10 9a3 3 0 1 0-2.6-1.5L2.5 12.4V14H5v-1.5h1.5V11L8.5 9.4",
  sun: "M8 11a3 3 0 1 0 0-6 3 3 0 0 0 0 6zM8 1.5v1M8 13.5v1M1.5 8h1M13.5 8h1M3.4 3.4l.7.7M11.9 11.9l.7.7M3.4 12.6l.7-.7M11.9 4.1l.7-.7",
  moon: "M13 9.5A5.5 5.5 0 1 1 6.5 3a4.5 4.5 0 0 0 6.5 6.5z",
  half: "M8 2a6 6 0 1 0 0 12zM8 2a6 6 0 0 1 0 12",
  dots: "M4 8h.01M8 8h.01M12 8h.01",
};

/**
 * A small picture of lines; what it means is always said beside it.
 * @param {keyof typeof ICONS} which
 */
export function icon(which) {
  const path = svg("path", { d: ICONS[which] });
  return svg("svg", { class: "icon", viewBox: "0 0 16 16", "aria-hidden": "true" }, path);
}
