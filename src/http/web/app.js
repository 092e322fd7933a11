/** The page: what its parts share, and which view is open. */

import { Api, Problem } from "./lib/api.js";
import { dropped, urlsIn } from "./lib/dropped.js";
import { h, replace } from "./lib/dom.js";
import { onKeys } from "./lib/keyboard.js";
import { Live } from "./lib/live.js";
import { Notices, Status, askKey, dialog, problemBox } from "./lib/shell.js";
import { Staging } from "./lib/staging.js";
import { Uploads } from "./lib/uploads.js";
import { marks } from "./views/marks.js";

/**
 * What a view is given.
 * @typedef {object} Context
 * @property {Api} api
 * @property {Live} live
 * @property {Uploads} uploads
 * @property {Staging} staging files that are to become jobs
 * @property {(hash: string) => void} go
 * @property {(text: string, kind?: import("./lib/shell.js").Kind) => void} notice
 * @property {(error: unknown) => void} problem shows it as a notice; asks for a key where one is missing
 * @property {() => boolean} seesAll whether the key is the cluster's own secret, or none is needed
 */
/** @typedef {{ id?: string, query: URLSearchParams }} Params */
/** @typedef {{ close(): void }} View */
/** @typedef {{ open(root: HTMLElement, ctx: Context, params: Params): View }} Module */

/** Style sheets that the first view does without. */
const WORK = ["film", "timeline", "job", "play", "cluster"];

/** @type {{ pattern: RegExp, view: string, below?: string, title: string, styles: string[], load: () => Promise<any> }[]} */
const ROUTES = [
  { pattern: /^\/?$/, view: "jobs", title: "Jobs", styles: [], load: () => import("./views/jobs.js") },
  { pattern: /^\/new$/, view: "new", title: "New job", styles: ["new"], load: () => import("./views/new.js") },
  { pattern: /^\/jobs\/(\w+)$/, view: "job", below: "jobs", title: "Job", styles: WORK, load: () => import("./views/job.js") },
  { pattern: /^\/jobs\/(\w+)\/play$/, view: "play", below: "jobs", title: "Play", styles: WORK, load: () => import("./views/play.js") },
  { pattern: /^\/cluster$/, view: "cluster", title: "Cluster", styles: WORK, load: () => import("./views/cluster.js") },
  { pattern: /^\/keys$/, view: "keys", title: "Keys", styles: WORK, load: () => import("./views/keys.js") },
];

/** After news of the cluster, where browsers find its nodes is asked anew so much later. */
const LEARN_MS = 5_000;

const main = /** @type {HTMLElement} */ (document.getElementById("main"));
const api = new Api();
const live = new Live(api);
const uploads = new Uploads(api);
const notices = new Notices(/** @type {HTMLElement} */ (document.getElementById("notices")));
/** What keys begin with; the cluster's secret does not. */
const KEY_PREFIX = "rrk_";

/** @type {Context} */
const context = {
  api,
  live,
  uploads,
  staging: new Staging((file) => uploads.goOn(file)),
  go: (hash) => {
    location.hash = hash;
  },
  notice: (text, kind) => notices.say(text, kind),
  problem: (error) => {
    if (error instanceof Problem && error.status === 401) askKey(api, error);
    else notices.problem(error);
  },
  seesAll: () => !api.key.startsWith(KEY_PREFIX),
};

/** The other views are taken in once the first has what it needs. */
const VIEWS_AFTER_MS = 2_000;

/** @type {View | null} */
let open = null;
let opened = 0;

/**
 * Takes in a style sheet, once. A view is shown without one that can't be had.
 * @param {string} name
 * @returns {Promise<void>}
 */
function style(name) {
  const href = `/${name}.css`;
  if (document.querySelector(`link[href="${href}"]`)) return Promise.resolve();
  return new Promise((resolve) => {
    const done = () => resolve();
    document.head.append(h("link", { rel: "stylesheet", href, onload: done, onerror: done }));
  });
}

/** Opens the view that the address names, in the place of the one that is open. */
async function route() {
  const [path, query] = location.hash.replace(/^#/, "").split("?");
  const found = ROUTES.find(({ pattern }) => pattern.test(path)) ?? ROUTES[0];
  const id = found.pattern.exec(path)?.[1];
  const turn = ++opened;
  open?.close();
  open = null;
  const first = turn === 1;
  document.title = `${found.title} · reelraft`;
  for (const link of document.querySelectorAll("nav a")) {
    const { view } = /** @type {HTMLElement} */ (link).dataset;
    if (view === found.view) link.setAttribute("aria-current", "page");
    else if (view === found.below) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
  try {
    /** @type {[Module, ...unknown[]]} */
    const [module] = await Promise.all([found.load(), ...found.styles.map(style)]);
    if (turn !== opened) return;
    const root = h("div", { class: `view ${found.view}` });
    replace(main, root);
    open = module.open(root, context, { id, query: new URLSearchParams(query) });
  } catch (error) {
    console.error(error);
    if (turn !== opened) return;
    replace(main, h("div", { class: "view" }, problemBox(error)));
  }
  window.scrollTo(0, 0);
  if (!first) main.focus({ preventScroll: true });
}

/** Follows who leads and which nodes there are, and says what a person should know. */
function follow() {
  let leader = 0;
  let learning = 0;
  const learn = async () => {
    learning = 0;
    const cluster = await api.get("/cluster").catch(() => null);
    if (cluster) api.learn(cluster.nodes);
  };
  live.on("cluster", ({ leader_id, term }) => {
    if (leader && leader_id && leader_id !== leader) {
      notices.say(`Node ${leader_id} leads now (term ${term}). Work goes on.`, "info");
    }
    leader = leader_id || leader;
    learning ||= window.setTimeout(() => void learn(), LEARN_MS);
  });
  live.on("progress", (news) => uploads.hear(news));
  live.on("reset", () => void uploads.recheck());
  live.on("job", (news) => {
    const upload = uploads.hear(news);
    if (upload && news.state === "succeeded") notices.say(`${upload.name} is ready`, "good");
    else if (upload && news.state === "failed") notices.say(`${upload.name}: ${news.problem?.cause}`, "bad");
  });
  let { node, keysGiven } = api;
  live.onstate(() => {
    if (live.state === "refused" && live.problem?.status === 401) askKey(api, live.problem);
    if (live.state !== "live" || api.node === node) return;
    const [old, now] = [node, api.node].map((origin) => new URL(origin).host);
    node = api.node;
    notices.say(`${old} did not answer; this page asks ${now} now.`, "info");
  });
  api.onchange(() => {
    if (api.keysGiven === keysGiven) return;
    keysGiven = api.keysGiven;
    live.forget();
    void begin();
    void route();
  });
}

/** Learns of the nodes, and follows what happens. */
async function begin() {
  live.start();
  try {
    api.learn((await api.get("/cluster")).nodes);
    await uploads.restore();
  } catch (error) {
    if (error instanceof Problem && error.status === 401) askKey(api, error);
  }
}

/** Takes files that are dropped anywhere to the view that makes jobs of them. */
function takeDrops() {
  let depth = 0;
  const over = (/** @type {number} */ change) => {
    depth = Math.max(0, depth + change);
    document.documentElement.toggleAttribute("data-dragging", depth > 0);
  };
  const holdsFiles = (/** @type {DragEvent} */ event) =>
    event.dataTransfer?.types.some((type) => type === "Files" || type === "text/uri-list") ?? false;
  window.addEventListener("dragenter", (event) => holdsFiles(event) && over(1));
  window.addEventListener("dragleave", (event) => holdsFiles(event) && over(-1));
  window.addEventListener("dragover", (event) => holdsFiles(event) && event.preventDefault());
  window.addEventListener("drop", (event) => {
    over(-depth);
    if (!event.dataTransfer || !holdsFiles(event)) return;
    event.preventDefault();
    const coming = dropped(event.dataTransfer);
    if (!location.hash.startsWith("#/new")) context.go("#/new");
    coming.then((files) => context.staging.take(files)).catch(context.problem);
  });
}

/** Takes files and links that are pasted outside of fields. */
function takePastes() {
  document.addEventListener("paste", (event) => {
    const { target, clipboardData } = event;
    if (!clipboardData || (target instanceof HTMLElement && target.matches("input, textarea"))) return;
    const found = [...clipboardData.files].map((file) => ({ file, handle: null }));
    const urls = found.length > 0 ? [] : urlsIn(clipboardData.getData("text/plain"));
    if (found.length + urls.length === 0) return;
    event.preventDefault();
    if (!location.hash.startsWith("#/new")) context.go("#/new");
    context.staging.take({ found, others: [], urls });
  });
}

/**
 * Takes in the views that were not opened yet, while the node that this page came
 * from still lives: no other may give it code.
 */
function takeAllViews() {
  setTimeout(() => {
    for (const { load, styles } of ROUTES) {
      void Promise.all([load(), ...styles.map(style)]).catch(() => undefined);
    }
  }, VIEWS_AFTER_MS);
}

function help() {
  const keys = [
    ["j / k", "next, previous job"],
    ["Enter", "open the job"],
    ["x", "choose the job for an action"],
    ["/", "search"],
    ["[ / ]", "newer, older page"],
    ["n", "new job"],
    ["?", "this help"],
  ];
  const rows = keys.map(([key, does]) => [h("dt", null, h("kbd", null, key)), h("dd", null, does)]);
  dialog("Keys", [h("dl", { class: "facts" }, rows.flat())]);
}

new Status(/** @type {HTMLElement} */ (document.getElementById("status")), api, live, uploads);
onKeys({ n: () => context.go("#/new"), "?": help });
takeDrops();
takePastes();
follow();
marks.watch(live);
window.addEventListener("hashchange", () => void route());
void begin();
void route().then(takeAllViews);
