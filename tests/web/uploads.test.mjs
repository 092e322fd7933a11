// Uploads over a cluster that fails, without a browser: the server is a few lines
// that keep offsets. Run by node --test.

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

globalThis.window = globalThis;
globalThis.addEventListener ??= () => undefined;
globalThis.navigator ??= {};
globalThis.location = new URL("http://one:8401/");
const { Api, Problem } = await import("../../src/http/web/lib/api.js");
const { shortened } = await import("../../src/http/web/lib/dropped.js");
const { Uploads } = await import("../../src/http/web/lib/uploads.js");

/** What the nodes know: all of them the same. */
const cluster = { jobs: new Map(), dead: new Set(), asked: [], breaks: 0, refusal: null, open: 0, openMax: 0 };

beforeEach(() => {
  Object.assign(cluster, { jobs: new Map(), dead: new Set(), asked: [], breaks: 0, refusal: null, open: 0, openMax: 0 });
});

const answer = (status, body, headers = {}) => new Response(body && JSON.stringify(body), { status, headers: { "content-type": "application/json", ...headers } });

globalThis.fetch = async (url, { method, headers, body }) => {
  const { host, pathname } = new URL(url);
  cluster.asked.push(`${method} ${host}${pathname}`);
  if (cluster.dead.has(host)) throw new TypeError("refused");
  if (method === "POST") {
    if (cluster.refusal) return answer(cluster.refusal.status, cluster.refusal);
    const id = `j${headers["idempotency-key"].slice(0, 20)}`;
    if (!cluster.jobs.has(id)) cluster.jobs.set(id, { ...JSON.parse(body), id, at: 0 });
    return answer(201, { job: { id } });
  }
  const id = pathname.split("/").at(-1);
  const job = cluster.jobs.get(id);
  if (!job) return answer(404, { kind: "not-found", cause: "no such job", hint: "" });
  if (method === "HEAD") return answer(200, null, { "upload-offset": String(job.at) });
  if (method === "DELETE") cluster.jobs.delete(id);
  return answer(204, null);
};

test("a busy node is passed by once and not left, a silent one is left, and a body that stops is asked for again", async () => {
  const api = new Api();
  api.learn([{ http: "http://one:8401" }, { http: "http://two:8401" }]);
  const plain = globalThis.fetch;
  const play = async (first) => {
    const asked = [];
    globalThis.fetch = async (url) => {
      asked.push(new URL(url).host);
      return asked.length === 1 ? first() : answer(200, { here: true });
    };
    assert.deepEqual(await api.get("/jobs").finally(() => (globalThis.fetch = plain)), { here: true });
    return [asked.join(), api.node];
  };
  const busy = () => answer(503, { kind: "too-busy", cause: "busy", hint: "" });
  assert.deepEqual(await play(busy), ["one:8401,two:8401", "http://one:8401"]);
  const broken = () => {
    const pull = (controller) => controller.error(new TypeError("gone"));
    return new Response(new ReadableStream({ pull }), { headers: { "content-type": "application/json" } });
  };
  assert.deepEqual(await play(broken), ["one:8401,two:8401", "http://two:8401"]);
});

test("nodes are known by origins that a key may be sent to, and by nothing else", () => {
  const api = new Api();
  api.learn([{ http: "javascript:alert(1)" }, { http: "file:///etc" }, { http: null }, { http: "https://two/path" }]);
  assert.deepEqual(api.nodes, ["http://one:8401", "https://two"]);
});

/** As a browser's, as far as uploads use it. */
globalThis.XMLHttpRequest = class {
  upload = {};
  headers = {};
  status = 0;
  open(method, url) {
    this.url = new URL(url);
    cluster.asked.push(`${method} ${this.url.host}${this.url.pathname}`);
  }
  setRequestHeader(name, value) {
    this.headers[name] = value;
  }
  getResponseHeader() {
    return String(this.job.at);
  }
  abort() {
    this.end(0);
  }
  end(status) {
    if (this.ended) return;
    this.ended = true;
    cluster.open -= 1;
    this.status = status;
    this.onloadend();
  }
  send(part) {
    cluster.openMax = Math.max(cluster.openMax, ++cluster.open);
    this.job = cluster.jobs.get(this.url.pathname.split("/").at(-1));
    this.responseText = "{}";
    setTimeout(() => {
      if (this.ended || cluster.dead.has(this.url.host)) return this.end(0);
      assert.equal(Number(this.headers["upload-offset"]), this.job.at);
      const half = cluster.breaks > 0;
      cluster.breaks -= half ? 1 : 0;
      this.job.at += half ? Math.floor(part.size / 2) : part.size;
      this.upload.onprogress({ loaded: part.size });
      this.end(half ? 0 : 204);
    }, 5);
  }
};

const film = (name, size = 100_000) => new File([new Uint8Array(size)], name, { lastModified: 1 });

function begin() {
  const api = new Api();
  api.learn([{ http: "http://one:8401" }, { http: "http://two:8401" }]);
  return new Uploads(api);
}

async function until(what) {
  for (let turn = 0; turn < 1_000; turn++) {
    if (what()) return;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  assert.fail(`it never came to ${what}`);
}

test("all films are sent, three at a time", async () => {
  const uploads = begin();
  for (let at = 0; at < 10; at++) uploads.add(film(`film ${at}`), { spec: { width: 640 } });
  await until(() => uploads.items.every(({ state }) => state === "done"));
  assert.equal(cluster.openMax, 3);
  const jobs = [...cluster.jobs.values()];
  assert.equal(jobs.length, 10);
  assert.ok(jobs.every((job) => job.at === 100_000 && job.spec.width === 640 && job.source_bytes === 100_000));
});

test("what breaks off goes on where it was, at another node if its own is dead", async () => {
  const uploads = begin();
  cluster.breaks = 2;
  const item = uploads.add(film("film"), { spec: {} });
  await until(() => item.sent > 0);
  cluster.dead.add("one:8401");
  await until(() => item.state === "done");
  assert.equal([...cluster.jobs.values()][0].at, 100_000);
  assert.equal(uploads.api.node, "http://two:8401");
  assert.equal(cluster.jobs.size, 1);
});

test("a pause keeps what is sent, and a cancelled upload takes its job with it", async () => {
  const uploads = begin();
  cluster.breaks = 1;
  const item = uploads.add(film("film"), { spec: {} });
  await until(() => item.sent > 0);
  uploads.pause(item);
  await new Promise((resolve) => setTimeout(resolve, 30));
  const { at } = [...cluster.jobs.values()][0];
  assert.equal(item.state, "paused");
  uploads.resume(item);
  await until(() => item.state === "done");
  assert.ok(at < 100_000);
  const other = uploads.add(film("other", 50_000), { spec: {} });
  await until(() => other.id !== null);
  uploads.pause(other);
  await uploads.cancel(other);
  assert.deepEqual([...cluster.jobs.values()].map(({ source_name }) => source_name), ["film"]);
});

test("a job that is gone is told as such, and names are sent as the cluster takes them", async () => {
  const uploads = begin();
  const item = uploads.adopt({ id: "j9", source_name: "film", source_bytes: 100_000 });
  uploads.goOn(film("film"));
  await until(() => item.state === "failed");
  assert.equal(item.problem.kind, "upload-gone");
  assert.equal(shortened("film.mov"), "film.mov");
  assert.equal(shortened("a\ud800.mov"), "a\ufffd.mov");
  const cut = shortened(`${"\u6620".repeat(200)}.mov`);
  assert.ok(Buffer.byteLength(cut) <= 255 && cut.endsWith("\u6620.mov"), cut);
});

test("a refusal is told and not repeated", async () => {
  const uploads = begin();
  cluster.refusal = { status: 429, kind: "quota", cause: "20 uploads are open", hint: "wait" };
  const item = uploads.add(film("film"), { spec: {} });
  await until(() => item.state === "failed");
  assert.ok(item.problem instanceof Problem);
  assert.deepEqual([item.problem.kind, item.problem.hint], ["quota", "wait"]);
  assert.equal(cluster.asked.filter((line) => line.startsWith("POST")).length, 1);
  cluster.refusal = null;
  uploads.resume(item);
  await until(() => item.state === "done");
});

test("the rest of another browser's upload is sent from where it is", async () => {
  const uploads = begin();
  cluster.jobs.set("j1", { id: "j1", at: 40_000 });
  const item = uploads.adopt({ id: "j1", source_name: "film", source_bytes: 100_000 });
  assert.equal(uploads.goOn(film("another", 100_000)), false);
  assert.equal(uploads.goOn(film("film", 99_999)), false);
  assert.equal(uploads.goOn(film("film")), true);
  await until(() => item.state === "done");
  assert.equal(cluster.jobs.get("j1").at, 100_000);
  assert.equal(cluster.asked.filter((line) => line.startsWith("PATCH")).length, 1);
});
