/**
 * The options of a job as the cluster describes them, in its OpenAPI document:
 * names, words, bounds, defaults and help are those of the command line.
 */

/**
 * @typedef {object} Schema
 * @property {string | string[]} [type]
 * @property {string} [description]
 * @property {any} [default]
 * @property {string[]} [enum]
 * @property {number} [minimum]
 * @property {number} [maximum]
 * @property {number} [multipleOf]
 * @property {number} [maxItems]
 * @property {string} [pattern]
 */
/** @typedef {{ spec: Record<string, Schema>, job: Record<string, Schema> }} Options */

/** @type {Promise<Options> | null} */
let asked = null;

/**
 * The options of a spec, and of a job beside it. They are asked for once.
 * @param {import("./api.js").Api} api
 * @returns {Promise<Options>}
 */
export function options(api) {
  asked ??= load(api).catch((error) => {
    asked = null;
    throw error;
  });
  return asked;
}

/** @param {import("./api.js").Api} api */
async function load(api) {
  const { schemas } = (await api.get("/openapi.json")).components;
  return { spec: schemas.SpecOptions.properties, job: schemas.Create.properties };
}

/**
 * Whether a schema has values of a type, or none.
 * @param {Schema} schema
 * @param {string} type
 */
export function isOf(schema, type) {
  return Array.isArray(schema.type) ? schema.type.includes(type) : schema.type === type;
}

/**
 * An option's help without what stands in its field anyway.
 * @param {Schema} schema
 */
export function help(schema) {
  return (schema.description ?? "").replace(/\s*\[default: [^\]]*\]/, "");
}

/**
 * An option's value in a spec that a document has, where some are in thousandths.
 * @param {Record<string, any>} spec
 * @param {string} option
 * @returns {any} undefined where the spec does not have it
 */
export function valueIn(spec, option) {
  if (option in spec) return spec[option];
  const names = [`${option}_milli`, `${option}_mlufs`, option.replace(/_seconds$/, "_ms")];
  const found = names.find((one) => one in spec);
  if (!found || spec[found] === null) return found && null;
  return spec[found] / 1000;
}
