// What the page costs a browser that is kept open: 10,000 jobs, 200 of them
// running, 50 changes of state and 200 of progress a second. The server is a few
// lines, since the browser alone is measured.
//
//   node load.mjs [MINUTES]

import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { extname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { launch } from "./browser.mjs";

const JOBS = 10_000;
const RUNNING = 200;
const CHANGES_PER_SECOND = 50;
/** Most changes are of jobs that are not seen; those of the first page cost most. */
const SEEN_SHARE = 0.5;
const PAGE_SIZE = 50;

const FIRST_PAINT_MS_MAX = 1_000;
const SCRIPT_SHARE_MAX = 0.2;
/** A heap breathes; what grows for ever is far beyond this. */
const HEAP_GROWTH_MAX = 1.3;
const SAMPLE_MS = 30_000;

const FOLDER = fileURLToPath(new URL("../../src/http/web/", import.meta.url));
const TYPES = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml" };
const STATES = ["succeeded", "succeeded", "failed", "cancelled", "analyzing", "encoding", "assembling"];
const ENDED = ["succeeded", "failed", "cancelled"];

function makeJob(number) {
  const state = number > JOBS - RUNNING ? "encoding" : STATES[number % 4];
  return {
    id: `j${number.toString(16).padStart(20, "0")}`,
    tenant: "default",
    state,
    waiting: null,
    problem: null,
    spec: { container: "mp4", codec: "h264", width: 1280, height: null, fps: null, crf: 23, encoder_preset: "medium", audio: "aac" },
    source_name: `A film with a name of the usual length, part ${number}.mov`,
    source_bytes: 1_000_000_000 + number,
    shards_total: 40,
    shards_done: 3,
    shards_running: 2,
    frames_total: 6_000,
    frames_done: 450,
    speed: 25,
    eta_s: 222,
    estimated_output_bytes: 100_000_000,
    queue_position: null,
    output_bytes: ENDED.includes(state) ? 90_000_000 : null,
    created_unix_ms: Date.now() - (JOBS - number) * 20_000,
    ended_unix_ms: ENDED.includes(state) ? Date.now() : null,
  };
}

/** A cluster's answers, as far as the list of jobs asks for them. */
class Server {
  constructor() {
    this.jobs = Array.from({ length: JOBS }, (_, at) => makeJob(JOBS - at));
    this.streams = new Set();
    this.index = 1;
    this.server = createServer((request, response) => void this.answer(request, response));
    this.timers = [
      setInterval(() => this.change(), 1_000 / CHANGES_PER_SECOND),
      setInterval(() => this.progress(), 1_000),
      setInterval(() => this.tell("ping", {}), 15_000),
    ];
  }

  async begin() {
    await new Promise((resolve) => this.server.listen(0, "127.0.0.1", resolve));
    return `http://127.0.0.1:${this.server.address().port}/`;
  }

  end() {
    for (const timer of this.timers) clearInterval(timer);
    this.server.close();
    this.server.closeAllConnections();
  }

  tell(event, data) {
    const text = `event: ${event}\nid: ${++this.index}\ndata: ${JSON.stringify(data)}\n\n`;
    for (const stream of this.streams) stream.write(text);
  }

  change() {
    const among = Math.random() < SEEN_SHARE ? PAGE_SIZE : JOBS;
    const job = this.jobs[Math.floor(Math.random() * among)];
    job.state = STATES[Math.floor(Math.random() * STATES.length)];
    const { id, tenant, state, source_name, output_bytes, problem } = job;
    this.tell("job", { job: id, tenant, state, source_name, output_bytes, problem });
  }

  progress() {
    for (const job of this.jobs.filter(({ state }) => state === "encoding").slice(0, RUNNING)) {
      job.frames_done = (job.frames_done + 25) % job.frames_total;
      const { id, tenant, shards_total, shards_done, shards_running, frames_total, frames_done } = job;
      const { speed, eta_s, estimated_output_bytes } = job;
      const counts = { shards_total, shards_done, shards_running, frames_total, frames_done };
      this.tell("progress", { job: id, tenant, ...counts, speed, eta_s, estimated_output_bytes });
    }
  }

  async answer(request, response) {
    const { pathname, searchParams } = new URL(request.url, "http://node");
    const json = (document) => {
      response.setHeader("content-type", "application/json");
      response.end(JSON.stringify(document));
    };
    if (pathname === "/api/v1/events") {
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.write(`event: start\nid: ${this.index}\ndata: {"index":${this.index}}\n\n`);
      this.streams.add(response);
      response.on("close", () => this.streams.delete(response));
    } else if (pathname === "/api/v1/jobs") {
      const states = (searchParams.get("state") ?? "").split(",").filter(Boolean);
      const found = this.jobs.filter(({ state }) => states.length === 0 || states.includes(state));
      const size = Number(searchParams.get("page_size"));
      json({ jobs: found.slice(0, size), next_page_token: found.length > size ? "more" : null });
    } else if (pathname === "/metrics") {
      const count = (wanted) => this.jobs.filter(({ state }) => state === wanted).length;
      response.end([...new Set(STATES)].map((state) => `reelraft_jobs{state="${state}"} ${count(state)}\n`).join(""));
    } else if (pathname.startsWith("/api/")) {
      json({ leader_id: 1, term: 1, nodes: [] });
    } else {
      const path = pathname === "/" ? "index.html" : pathname;
      const file = await readFile(join(FOLDER, path)).catch(() => null);
      response.writeHead(file ? 200 : 404, { "content-type": TYPES[extname(path)] ?? "text/plain" });
      response.end(file);
    }
  }
}

async function measure(page, minutes) {
  const session = await page.context().newCDPSession(page);
  await session.send("Performance.enable");
  const metrics = async () => {
    await session.send("HeapProfiler.collectGarbage");
    const { metrics } = await session.send("Performance.getMetrics");
    return Object.fromEntries(metrics.map(({ name, value }) => [name, value]));
  };
  const paint = await page.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0].startTime);
  await page.waitForTimeout(5_000);
  const first = await metrics();
  let [last, scripting, heap] = [first, 0, 0];
  for (const end = Date.now() + minutes * 60_000; Date.now() < end; ) {
    await page.waitForTimeout(SAMPLE_MS);
    const now = await metrics();
    const share = (name) => (now[name] - last[name]) / (now.Timestamp - last.Timestamp);
    scripting = Math.max(scripting, share("ScriptDuration"));
    heap = now.JSHeapUsedSize / first.JSHeapUsedSize;
    console.log(`scripting ${(share("ScriptDuration") * 100).toFixed(1)} %, all of the main thread ${(share("TaskDuration") * 100).toFixed(1)} %, heap ${(now.JSHeapUsedSize / 2 ** 20).toFixed(2)} MiB, ${now.Nodes} nodes`);
    last = now;
  }
  return { paint, scripting, heap };
}

const server = new Server();
const browser = await launch();
try {
  const page = await browser.newPage({ viewport: { width: 1440, height: 900 } });
  await page.goto(await server.begin());
  await page.locator("tbody tr").nth(PAGE_SIZE - 1).waitFor();
  const { paint, scripting, heap } = await measure(page, Number(process.argv[2] ?? 1));
  console.log(`first paint ${paint.toFixed(0)} ms, scripting at most ${(scripting * 100).toFixed(1)} % of a core, heap at the end ${heap.toFixed(2)} of that at first`);
  const good = paint < FIRST_PAINT_MS_MAX && scripting < SCRIPT_SHARE_MAX && heap < HEAP_GROWTH_MAX;
  process.exitCode = good ? 0 : 1;
} finally {
  await browser.close();
  server.end();
}
