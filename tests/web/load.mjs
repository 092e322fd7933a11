// What a browser pays for a full table: 10,000 jobs, 200 of them running, and 50
// events a second, by its own trace. Run by hand:
//
//   node load.mjs [--minutes 3]
//
// The answers come from a program of its own, in the shapes of the real ones: ten
// thousand real jobs take an hour to make, and the browser is what is measured.

import { createReadStream, existsSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { createGzip } from "node:zlib";

import { launch } from "./browser.mjs";
import { sleep } from "./cluster.mjs";

const JOBS = 10_000;
const RUNNING = 200;
const EVENTS_PER_SECOND = 50;
const PAGE_SIZE = 50;
const FIRST_PAINT_MS_MAX = 1_000;
const SCRIPTING_SHARE_MAX = 0.2;
/** What is left of the heap's growth once its garbage is gone: rounding and code. */
const GROWTH_BYTES_MAX = 4 << 20;
const LOOK_EVERY_MS = 15_000;
/** As much of it is traced: a trace of all would fill the disk. */
const TRACED_MS = 5_000;
/** The first views of the code and its caches are no leak. */
const SETTLE_MS = 20_000;

const WEB = fileURLToPath(new URL("../../src/http/web", import.meta.url));
const TYPES = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml" };
const minutes = Number(process.argv[process.argv.indexOf("--minutes") + 1] || 3);

const SPEC = { codec: "h264", container: "mp4", crf: 23, preset: "medium", audio: "aac", audio_tracks: [] };

function job(number) {
  const runs = number < RUNNING;
  const state = runs ? "encoding" : number % 50 === 0 ? "failed" : "succeeded";
  const frames = runs ? 1_000 + (number % 7) * 500 : 5_000;
  return {
    id: `j${String(number).padStart(20, "0")}`,
    tenant: "default",
    request_id: `r${number}`,
    state,
    waiting: null,
    makers: null,
    problem: state === "failed" ? { kind: "no-video", cause: "the source has no video", hint: "" } : null,
    spec: SPEC,
    source_name: `film ${number}.mov`,
    source_bytes: 1_000_000_000 + number,
    source_root: "a".repeat(64),
    epoch: 7,
    homes: [{ node: 1, filled: true, retiring: false }, { node: 2, filled: true, retiring: false }],
    shards_total: 20,
    shards_done: runs ? 4 : 20,
    shards_running: runs ? 2 : 0,
    frames_total: 5_000,
    frames_done: frames,
    speed: runs ? 87.5 : null,
    eta_s: runs ? 45 : null,
    estimated_output_bytes: runs ? 300_000_000 : null,
    queue_position: null,
    output_hash: state === "succeeded" ? "b".repeat(64) : null,
    output_bytes: state === "succeeded" ? 250_000_000 : null,
    proof_hash: null,
    build: "c".repeat(64),
    plan_note: null,
    priority: 0,
    max_retries: null,
    created_unix_ms: Date.now() - number * 60_000,
    ended_unix_ms: runs ? null : Date.now() - number * 30_000,
    source_url: null,
    webhook_url: null,
    output_url: null,
    deliveries: [],
  };
}

const jobs = Array.from({ length: JOBS }, (_, number) => job(number));

function node(id, origin) {
  return {
    id, address: `127.0.0.1:${7400 + id}`, http: id === 1 ? origin : null, role: id === 1 ? "leader" : "voter",
    reachable: true, pid: 100 + id, load_milli: 2_000, slots: 70, slots_busy: 66, disk_free_bytes: 1e12,
    disk_total_bytes: 4e12, build: "c".repeat(64), build_words: "ffmpeg", lacks: [], applied_index: 4711,
    incarnation: "d", version: "0.1.0", trouble: null,
  };
}

function cluster(origin) {
  return {
    leader_id: 1, term: 3, answered_by: 1, committed_index: 4711, cluster_id: "e", election_timeout_ms: 600,
    nodes: [1, 2, 3].map((id) => node(id, origin)),
  };
}

function list(url) {
  const from = Number(url.searchParams.get("page_token") ?? 0);
  const size = Number(url.searchParams.get("page_size") ?? PAGE_SIZE);
  const states = url.searchParams.get("state")?.split(",");
  const matching = states ? jobs.filter(({ state }) => states.includes(state)) : jobs;
  const page = matching.slice(from, from + size);
  return { jobs: page, next_page_token: from + size < matching.length ? String(from + size) : null };
}

/** 50 events a second: progress of running jobs, and now and then a new state. */
function tell(response, origin) {
  let index = 4711;
  const say = (event, data, id) => response.write(`event: ${event}\n${id ? `id: ${id}\n` : ""}data: ${JSON.stringify(data)}\n\n`);
  say("start", { index }, String(index));
  say("cluster", cluster(origin));
  let turn = 0;
  const timer = setInterval(() => {
    for (let count = 0; count < EVENTS_PER_SECOND / 10; count++) {
      const at = jobs[turn++ % RUNNING];
      if (turn % 25 === 0) {
        index += 1;
        say("job", { job: at.id, tenant: at.tenant, state: at.state, source_name: at.source_name, output_bytes: null, problem: null }, `${index}.0`);
        continue;
      }
      at.frames_done = (at.frames_done + 20) % at.frames_total;
      const { id, tenant, shards_total, shards_done, shards_running, frames_total, frames_done, speed, eta_s, estimated_output_bytes } = at;
      say("progress", { job: id, tenant, shards_total, shards_done, shards_running, frames_total, frames_done, speed, eta_s, estimated_output_bytes });
    }
  }, 100);
  const ping = setInterval(() => say("ping", {}, String(index)), 15_000);
  response.on("close", () => {
    clearInterval(timer);
    clearInterval(ping);
  });
}

function answer(request, response) {
  const origin = `http://${request.headers.host}`;
  const url = new URL(request.url, origin);
  const json = (document, status = 200) => {
    response.writeHead(status, { "content-type": "application/json" });
    response.end(JSON.stringify(document));
  };
  if (!url.pathname.startsWith("/api/")) return file(url.pathname, response);
  switch (url.pathname.replace("/api/v1", "")) {
    case "/jobs":
      return json(list(url));
    case "/cluster":
      return json(cluster(origin));
    case "/nodes":
      return json({ nodes: cluster(origin).nodes });
    case "/events":
      response.writeHead(200, { "content-type": "text/event-stream" });
      return tell(response, origin);
    default:
      return json({ kind: "not-found", cause: `there is no ${url.pathname}`, hint: "" }, 404);
  }
}

function file(path, response) {
  const name = join(WEB, normalize(path === "/" ? "/index.html" : path));
  if (!name.startsWith(WEB) || !existsSync(name)) {
    response.writeHead(404);
    return response.end();
  }
  response.writeHead(200, { "content-type": TYPES[extname(name)], "content-encoding": "gzip" });
  return createReadStream(name).pipe(createGzip()).pipe(response);
}

/** Work of the page's own code, by the browser's trace: each span within another counts once. */
const SCRIPTING = new Set([
  "EvaluateScript", "FunctionCall", "RunMicrotasks", "TimerFire", "FireAnimationFrame", "EventDispatch",
  "v8.compile", "MinorGC", "MajorGC", "V8.GC_SCAVENGER", "V8.GC_MC_BACKGROUND_MARKING",
]);

/** Processor time of scripts on the page's main thread in a while, as a share of a core. */
async function scriptingShare(session, milliseconds) {
  const spans = [];
  const take = ({ value }) => spans.push(...value.filter((event) => event.ph === "X" && SCRIPTING.has(event.name)));
  session.on("Tracing.dataCollected", take);
  const categories = "devtools.timeline,disabled-by-default-devtools.timeline,v8,v8.execute";
  await session.send("Tracing.start", { categories, transferMode: "ReportEvents" });
  await sleep(milliseconds);
  const complete = new Promise((resolve) => session.once("Tracing.tracingComplete", resolve));
  await session.send("Tracing.end");
  await complete;
  session.off("Tracing.dataCollected", take);
  const threads = grouped(spans);
  return Math.max(0, ...[...threads.values()].map((own) => busyUs(own))) / (milliseconds * 1000);
}

function grouped(spans) {
  const threads = new Map();
  for (const span of spans) {
    const thread = `${span.pid} ${span.tid}`;
    threads.set(thread, [...(threads.get(thread) ?? []), span]);
  }
  return threads;
}

/** Microseconds of processor time of a thread's spans, those within others left out. */
function busyUs(spans) {
  spans.sort((one, other) => one.ts - other.ts || other.dur - one.dur);
  let [busy, end] = [0, 0];
  for (const { ts, dur = 0, tdur } of spans) {
    if (ts < end) continue;
    busy += tdur ?? dur;
    end = ts + dur;
  }
  return busy;
}

async function measure(origin) {
  const browser = await launch();
  const page = await (await browser.newContext({ viewport: { width: 1280, height: 800 } })).newPage();
  const session = await page.context().newCDPSession(page);
  await session.send("Performance.enable");
  const heap = async () => {
    await session.send("HeapProfiler.collectGarbage");
    const { metrics } = await session.send("Performance.getMetrics");
    const found = (wanted) => metrics.find(({ name }) => name === wanted).value;
    return { bytes: found("JSHeapUsedSize"), nodes: found("Nodes") };
  };
  await page.goto(origin);
  await page.getByText("film 0.mov").first().waitFor();
  const paint = await page.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0].startTime);
  const rows = await page.evaluate(() => performance.now());
  console.log(`first paint ${paint.toFixed(0)} ms, first row seen by ${rows.toFixed(0)} ms`);
  await page.getByText("Live").waitFor();
  const progress = () => page.getByRole("progressbar").evaluateAll((bars) => bars.map((bar) => bar.getAttribute("aria-valuenow")).join());
  const before = await progress();
  await sleep(SETTLE_MS);
  if ((await progress()) === before) throw new Error("the page shows no progress");
  const first = await heap();
  const shares = [];
  const end = Date.now() + minutes * 60_000;
  let last = first;
  while (Date.now() < end) {
    const traced = await scriptingShare(session, TRACED_MS);
    await sleep(Math.max(0, Math.min(LOOK_EVERY_MS - TRACED_MS, end - Date.now())));
    last = await heap();
    shares.push(traced);
    console.log(`scripting ${(100 * traced).toFixed(1)} %, heap ${(last.bytes / 2 ** 20).toFixed(2)} MiB, ${last.nodes} nodes`);
  }
  await browser.close();
  const scripting = shares.reduce((sum, share) => sum + share, 0) / shares.length;
  const growth = last.bytes - first.bytes;
  console.log(`in all: scripting ${(100 * scripting).toFixed(1)} % of a core, heap grown by ${(growth / 1024).toFixed(0)} KiB in ${minutes} min`);
  return paint <= FIRST_PAINT_MS_MAX && scripting <= SCRIPTING_SHARE_MAX && growth <= GROWTH_BYTES_MAX;
}

const server = createServer(answer);
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const good = await measure(`http://127.0.0.1:${server.address().port}`);
server.closeAllConnections();
server.close();
process.exitCode = good ? 0 : 1;
