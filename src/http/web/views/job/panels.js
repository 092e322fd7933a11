/** What is asked for only when somebody opens it: proof, reference, options, deliveries. */

import { h, icon, name, replace } from "../../lib/dom.js";
import { count, time } from "../../lib/format.js";
import { problemBox } from "../../lib/shell.js";
import { copyButton } from "../ask.js";
import { quoted } from "./command.js";
import { pathName } from "./output.js";

/** @typedef {import("./data.js").JobData} JobData */

/**
 * A panel that is closed at first, and asks when it is opened.
 * @param {string} title
 * @param {string} what stands beside the title
 * @param {HTMLElement} body
 * @param {(open: boolean) => void} toggled
 */
export function fold(title, what, body, toggled) {
  const details = h(
    "details",
    { class: "panel fold" },
    h("summary", { class: "head" }, h("h2", null, title), h("span", { class: "soft grow" }, what)),
    h("div", { class: "body" }, body),
  );
  details.addEventListener("toggle", () => toggled(details.open));
  return details;
}

/**
 * A panel of one document.
 * @param {import("../../app.js").Context} ctx
 * @param {JobData} data
 * @param {{ title: string, what: string, path: string, show: (document: any) => import("../../lib/dom.js").Child }} of
 */
function lazy(ctx, data, { title, what, path, show }) {
  const body = h("div", { class: "stack" });
  const load = async () => {
    replace(body, h("p", { class: "soft" }, "Asking…"));
    try {
      replace(body, show(await ctx.api.get(`${data.path}${path}`, { signal: data.abort.signal })));
    } catch (error) {
      if (!data.abort.signal.aborted) replace(body, problemBox(error));
    }
  };
  return fold(title, what, body, (open) => void (open && load()));
}

/**
 * @param {import("../../app.js").Context} ctx
 * @param {JobData} data
 */
export function proofPanel(ctx, data) {
  const show = (/** @type {any} */ proof) => {
    const text = JSON.stringify(proof, null, 2);
    const frames = proof.frames ?? {};
    const counts = Object.entries(frames).map(([step, number]) => `${count(/** @type {any} */ (number))} ${step}`);
    const same = new Set(Object.values(frames)).size <= 1;
    const complaints = proof.complaints_total ?? 0;
    return [
      h(
        "dl",
        { class: "facts" },
        fact("Frames", h("span", { data: { look: same ? "done" : "failed" } }, icon(same ? "check" : "alert"), ` ${counts.join(", ")}`)),
        fact("Complaints", complaints === 0 ? "ffmpeg complained of nothing" : `${count(complaints)} of ffmpeg's, see the logs of the shards`),
        fact("Picture", `${proof.picture ?? "–"}, ${proof.pix_fmt ?? "–"}`),
        fact("Output", h("code", null, proof.output_blake3 ?? "–")),
        fact("Recipe", `${proof.recipe ?? "–"}, proof version ${proof.proof_version ?? "–"}`),
      ),
      complaintsOf(proof),
      h("div", { class: "row wrap" }, copyButton(ctx, "Proof", () => text), copyButton(ctx, "Hash of the output", () => proof.output_blake3 ?? "")),
      h("pre", { class: "text", tabindex: "0", role: "region", "aria-label": "The proof as it is stored" }, text),
    ];
  };
  const what = "that every frame is there once, with the hash of each part";
  return lazy(ctx, data, { title: "Proof", what, path: "/proof", show });
}

const COMPLAINTS_MAX = 20;

/** @param {any} proof */
function complaintsOf(proof) {
  /** @type {any[]} */
  const shards = proof.shards ?? [];
  const loud = shards.map((shard, number) => ({ number, shard })).filter(({ shard }) => shard.complaints_total > 0);
  if (loud.length === 0) return null;
  const rows = loud.slice(0, COMPLAINTS_MAX).map(({ number, shard }) => {
    const first = (shard.complaints ?? []).map((/** @type {any} */ it) => (typeof it === "string" ? it : JSON.stringify(it)));
    return h("li", null, `Shard ${number}: ${count(shard.complaints_total)}`, first.length > 0 ? `, first: ${first[0]}` : "");
  });
  const more = loud.length - rows.length;
  return h("ul", { class: "complaints" }, rows, more > 0 ? h("li", { class: "soft" }, `and ${more} shards more`) : null);
}

/**
 * @param {import("../../app.js").Context} ctx
 * @param {JobData} data
 */
export function referencePanel(ctx, data) {
  const show = (/** @type {any} */ reference) => {
    const text = reference.args.map(quoted).join(" ");
    return [
      reference.note ? h("p", { class: "note" }, icon("alert"), h("span", null, reference.note)) : null,
      h("div", { class: "row" }, copyButton(ctx, "Command", () => text)),
      h("pre", { class: "text wrap", tabindex: "0", role: "region", "aria-label": "The command" }, text),
    ];
  };
  const what = "the one ffmpeg command that gives the same frames";
  return lazy(ctx, data, { title: "Reference", what, path: "/reference", show });
}

/**
 * @param {import("../../app.js").Context} ctx
 * @param {JobData} data
 */
export function deliveriesPanel(ctx, data) {
  const show = (/** @type {any} */ { deliveries }) => {
    if (deliveries.length === 0) return h("p", { class: "soft" }, "Nothing is to be sent: the job has no webhook and no place for its output, nor has its tenant.");
    return h("ul", { class: "deliveries" }, deliveries.map(delivery));
  };
  const what = "webhooks, and the output put to a URL";
  return lazy(ctx, data, { title: "Deliveries", what, path: "/deliveries", show });
}

/** @type {Record<string, "check" | "cross" | "clock">} */
const DELIVERED = { delivered: "check", failed: "cross", pending: "clock" };

/** @param {any} it a delivery */
function delivery(it) {
  const look = it.state === "delivered" ? "done" : it.state === "failed" ? "failed" : "running";
  const log = (it.log ?? []).map((/** @type {any} */ attempt) =>
    h(
      "li",
      null,
      h("span", { class: "mono" }, time(attempt.ended_unix_ms)),
      ` ${attempt.status ? `HTTP ${attempt.status}` : "no answer"} after ${attempt.took_ms} ms`,
      attempt.cause ? [": ", h("span", { dir: "auto" }, attempt.cause)] : null,
    ),
  );
  const head = [icon(DELIVERED[it.state] ?? "clock"), h("strong", null, `${it.number}. ${it.kind}`), ` ${it.state}, sent ${it.attempts} times, ${it.event}`];
  return h("li", { data: { look } }, h("p", { class: "row wrap" }, head), h("ol", { class: "soft" }, log));
}

/**
 * All options, as the server resolved them.
 * @param {import("../../app.js").Context} ctx
 * @param {JobData} data
 */
export function optionsPanel(ctx, data) {
  const body = h("div", { class: "stack" });
  const draw = () => {
    const { job } = data;
    const options = Object.entries(job?.spec ?? {});
    const set = options.filter(([, value]) => value !== null && !(Array.isArray(value) && value.length === 0));
    const rest = options.filter(([, value]) => value === null).map(([option]) => option.replaceAll("_", " "));
    replace(
      body,
      h("dl", { class: "facts" }, set.map(([option, value]) => fact(option.replaceAll("_", " "), String(value)))),
      rest.length > 0 ? h("p", { class: "soft" }, `As the source has them: ${rest.join(", ")}.`) : null,
      h(
        "dl",
        { class: "facts" },
        fact("request id", name(job?.request_id)),
        fact("source root", h("code", null, job?.source_root ?? "–")),
        fact("build", h("code", null, job?.build ?? "–")),
        fact("tries of a task", job?.max_retries ?? "the cluster's own rule"),
        job?.webhook_url ? fact("webhook", name(job.webhook_url)) : null,
        job?.output_url ? fact("output goes to", name(job.output_url)) : null,
        fact("file name", job ? name(pathName(job)) : "–"),
      ),
    );
  };
  return fold("Options", "all of them, with defaults filled in", body, (open) => void (open && draw()));
}

/**
 * @param {string} title
 * @param {import("../../lib/dom.js").Child} value
 */
export function fact(title, value) {
  return [h("dt", null, title), h("dd", null, value)];
}
