/** A form for a set of options, made of their schemas. */

import { h, setAttribute, setText } from "./dom.js";
import { help, isOf, valueIn } from "./schema.js";

/** @typedef {import("./schema.js").Schema} Schema */

/**
 * Where options stand. One that no group names comes last, so that a newer
 * cluster's options are there too.
 * @type {{ word: string, names: string[] }[]}
 */
const GROUPS = [
  { word: "Picture", names: ["codec", "crf", "encoder_preset", "width", "height", "fps", "pix_fmt"] },
  { word: "Amount", names: ["size", "bitrate", "target", "target_percentile",
      "max_encoded_percent", "measure", "hold_source"] },
  { word: "Encoder", names: ["tune", "maxrate", "bufsize", "keyint"] },
  {
    word: "Corrections",
    names: ["crop", "pad", "deinterlace", "denoise", "brightness", "contrast", "saturation"],
  },
  { word: "Sound", names: ["audio", "audio_bitrate", "audio_tracks", "loudness"] },
  { word: "File", names: ["container", "subtitles", "strip_metadata", "keep_location"] },
  { word: "Source", names: ["video_track", "program", "strict", "ignore_dolby_vision"] },
  { word: "Work", names: ["shard_seconds", "priority", "max_retries", "tenant"] },
  { word: "Delivery", names: ["webhook_url", "output_url"] },
];

/** The form; what is left empty is left to the cluster. */
export class SpecForm {
  /**
   * @param {Record<string, Schema>} schemas
   * @param {() => void} changed
   */
  constructor(schemas, changed) {
    this.fields = Object.entries(schemas).map(([name, schema]) => new Field(name, schema, changed));
    const named = new Set(GROUPS.flatMap(({ names }) => names));
    const others = this.fields.map(({ name }) => name).filter((name) => !named.has(name));
    const groups = [...GROUPS, { word: "Others", names: others }].map(({ word, names }) => {
      const fields = names.map((name) => this.field(name)?.element).filter((found) => found !== undefined);
      return fields.length > 0 && h("fieldset", { class: "group" }, h("legend", null, word), h("div", { class: "grid" }, fields));
    });
    this.element = h("div", { class: "options" }, groups);
  }

  /** @param {string} name */
  field(name) {
    return this.fields.find((field) => field.name === name);
  }

  /** What was set, by name. @returns {Record<string, any>} */
  get values() {
    const set = this.fields.map(({ name, value }) => [name, value]);
    return Object.fromEntries(set.filter(([, value]) => value !== undefined));
  }

  /** @param {Record<string, any>} values what is not named is emptied */
  set values(values) {
    for (const field of this.fields) field.value = values[field.name];
  }

  /**
   * Shows what empty fields come to.
   * @param {Record<string, any>} spec with every default filled in
   */
  resolve(spec) {
    for (const field of this.fields) field.resolve(valueIn(spec, field.name));
  }

  /**
   * Marks the options that a refusal names.
   * @param {string} cause empty if nothing is refused
   */
  blame(cause) {
    for (const { element, name } of this.fields) {
      const words = new RegExp(`(^|[^\\w-])(--)?${name.replaceAll("_", "[-_]")}($|[^\\w-])`);
      element.classList.toggle("invalid", cause !== "" && words.test(cause));
    }
  }

  /** The first field whose text the browser itself refuses. */
  get wrong() {
    return this.fields.find(({ input }) => !input.checkValidity());
  }
}

/** One option. */
class Field {
  /**
   * @param {string} name
   * @param {Schema} schema
   * @param {() => void} changed
   */
  constructor(name, schema, changed) {
    this.name = name;
    this.schema = schema;
    const id = `option-${name}`;
    this.input = this.makeInput({ id, name, "aria-describedby": `${id}-help`, onchange: changed, oninput: changed });
    const label = h("label", { for: id }, wordOf(name));
    const said = h("p", { class: "hint", id: `${id}-help` }, help(schema));
    const isBox = isOf(schema, "boolean");
    const top = isBox ? h("div", { class: "row" }, this.input, label) : [label, this.input];
    this.element = h("div", { class: "field" }, top, said);
  }

  /**
   * @private
   * @param {import("./dom.js").Props} props
   * @returns {HTMLInputElement | HTMLSelectElement}
   */
  makeInput(props) {
    const { schema } = this;
    if (schema.enum) {
      const words = schema.enum.map((word) => h("option", { value: word }, word));
      return h("select", props, h("option", { value: "" }, "default"), words);
    }
    if (isOf(schema, "boolean")) return h("input", { ...props, type: "checkbox" });
    if (isOf(schema, "integer") || isOf(schema, "number")) {
      const step = isOf(schema, "integer") ? (schema.multipleOf ?? 1) : "any";
      return h("input", { ...props, type: "number", min: schema.minimum, max: schema.maximum, step, inputmode: "decimal" });
    }
    const text = { ...props, type: "text", autocomplete: "off", spellcheck: "false" };
    if (isOf(schema, "array")) return h("input", { ...text, pattern: "\\s*\\d+(\\s*,\\s*\\d+)*\\s*", inputmode: "numeric" });
    return h("input", { ...text, pattern: schema.pattern });
  }

  /** @returns {any} undefined where it is left to the cluster */
  get value() {
    const { input, schema } = this;
    if (isOf(schema, "boolean")) return /** @type {HTMLInputElement} */ (input).checked || undefined;
    const text = input.value.trim();
    if (text === "") return undefined;
    if (isOf(schema, "array")) return text.split(",").map(Number);
    if (isOf(schema, "integer") || isOf(schema, "number")) return Number(text);
    return text;
  }

  /** @param {any} value */
  set value(value) {
    const { input } = this;
    if (isOf(this.schema, "boolean")) /** @type {HTMLInputElement} */ (input).checked = value === true;
    else input.value = value === undefined || value === null ? "" : String(value);
  }

  /** @param {any} value what the option comes to; undefined where no spec has it */
  resolve(value) {
    const { input, schema } = this;
    const none = value === null || value === "" || value?.length === 0;
    const said = value === undefined ? (schema.default ?? "") : none ? "as in the source" : value;
    if (input instanceof HTMLSelectElement) {
      if (this.value === undefined) setText(input.options[0], none ? said : `${said} (default)`);
      else setText(input.options[0], "default");
    } else if (this.value === undefined) {
      setAttribute(input, "placeholder", String(said));
    }
  }
}

/** @param {string} name */
function wordOf(name) {
  const words = name.replaceAll("_", " ");
  return (SHORT[name] ?? words).replace(/^./, (letter) => letter.toUpperCase());
}

/** Names that are no words. @type {Record<string, string>} */
const SHORT = {
  crf: "Quality (crf)",
  encoder_preset: "Preset",
  maxrate: "Highest rate (maxrate)",
  bufsize: "Buffer (bufsize)",
  keyint: "Keyframe interval",
  fps: "Frame rate (fps)",
  pix_fmt: "Pixel format",
  webhook_url: "Webhook URL",
  output_url: "Output URL",
};
