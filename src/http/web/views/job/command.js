/** A job's options as commands to copy. What they are called is the server's word. */

import { pathName } from "./output.js";

/** @typedef {import("./data.js").Job} Job */

/**
 * The `reelraft transcode` that makes the same again.
 * @param {import("../../lib/api.js").Api} api
 * @param {Job} job
 * @returns {Promise<string>}
 */
export async function asCli(api, job) {
  const { command } = await api.get(`/jobs/${encodeURIComponent(job.id)}/command`);
  const named = (/** @type {string} */ word) => {
    if (word === "FILE") return fileName(job);
    return word.startsWith("OUT.") ? pathName(job) : word;
  };
  return split(command).map(named).map(quoted).join(" ");
}

/**
 * The same by curl: the options have the command line's names, with `_` for `-`.
 * @param {import("../../lib/api.js").Api} api
 * @param {Job} job
 * @returns {Promise<string>}
 */
export async function asCurl(api, job) {
  const { command } = await api.get(`/jobs/${encodeURIComponent(job.id)}/command`);
  const words = split(command);
  const query = new URLSearchParams();
  for (let at = 0; at < words.length; at++) {
    if (!words[at].startsWith("--")) continue;
    const [option, joined] = words[at].slice(2).split(/=(.*)/s);
    const next = words[at + 1];
    const bare = joined === undefined && (next === undefined || next.startsWith("--"));
    query.append(option.replaceAll("-", "_"), joined ?? (bare ? "true" : next));
    if (joined === undefined && !bare) at += 1;
  }
  const url = `${api.node}/api/v1/transcode${query.size > 0 ? `?${query}` : ""}`;
  const key = api.key ? ` -H "Authorization: Bearer $REELRAFT_KEY"` : "";
  return `curl${key} -T ${quoted(fileName(job))} ${quoted(url)} -o ${quoted(pathName(job))}`;
}

/**
 * A command's words, as a POSIX shell would split them.
 * @param {string} command
 * @returns {string[]}
 */
export function split(command) {
  const words = [];
  for (const [word] of command.matchAll(/(?:'[^']*'|"(?:\\.|[^"\\])*"|\\.|[^\s'"\\])+/gs)) {
    words.push(
      word.replace(/'([^']*)'|"((?:\\.|[^"\\])*)"|\\(.)/gs, (_, single, double, one) => {
        return single ?? double?.replace(/\\(["\\$`])/g, "$1") ?? one;
      }),
    );
  }
  return words;
}

/** Letters that a terminal obeys even while they are pasted, and those that hide what stands there. */
// eslint-disable-next-line no-control-regex
const OBEYED = /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/;

/**
 * What the source's file is called in a command. It must neither be taken for an
 * option nor end the paste.
 * @param {Job} job
 */
function fileName(job) {
  const name = job.source_name;
  if (!name || OBEYED.test(name)) return "FILE";
  return name.startsWith("-") ? `./${name}` : name;
}

/**
 * A word that a POSIX shell takes as it is.
 * @param {string} word
 */
export function quoted(word) {
  if (/^[\w@%+=:,./-]+$/.test(word)) return word;
  return `'${word.replaceAll("'", `'\\''`)}'`;
}
