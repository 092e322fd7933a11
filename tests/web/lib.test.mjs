// The page's own rules, without a browser: what is read, what is shown, and how
// an upload goes on. Run by node --test.

import assert from "node:assert/strict";
import { test } from "node:test";

import { visible } from "../../src/http/web/lib/dom.js";
import { urlsIn } from "../../src/http/web/lib/dropped.js";
import { ago, bytes, count, duration, percent, rate } from "../../src/http/web/lib/format.js";
import { shareDone, shownState, specWords } from "../../src/http/web/lib/jobs.js";
import { Parser } from "../../src/http/web/lib/live.js";
import { Pace } from "../../src/http/web/lib/pace.js";
import { help, valueIn } from "../../src/http/web/lib/schema.js";
import { isNameless, knowEngine, nodeName, shortName } from "../../src/http/web/views/nodes.js";

test("events are read however they are cut up", () => {
  const text = 'event: start\nid: 7\ndata: {"index":7}\n\n: a remark\nevent: job\ndata: a\r\ndata: b\nid: 8.0\n\nevent: ping\n\n';
  for (const size of [1, 2, 5, text.length]) {
    const heard = [];
    const parser = new Parser((event, data, id) => heard.push([event, data, id]));
    for (let at = 0; at < text.length; at += size) parser.push(text.slice(at, at + size));
    assert.deepEqual(heard, [
      ["start", '{"index":7}', "7"],
      ["job", "a\nb", "8.0"],
    ]);
  }
});

test("what can't be seen is made visible, and what is long is cut", () => {
  assert.equal(visible("a\u0000\u001b[2J\u202egpj\u200b.mp4"), "a\\u0000\\u001b[2J\\u202egpj\\u200b.mp4");
  assert.equal(visible("映画 🎬.mkv"), "映画 🎬.mkv");
  assert.equal(visible("\ud800.mp4"), "\ufffd.mp4");
  const cut = visible(`${"x".repeat(10_000)}.mov`);
  assert.ok(cut.length <= 301 && cut.includes("…") && cut.endsWith(".mov"));
});

test("numbers are as the command line has them", () => {
  assert.deepEqual([640, 12 << 20, 345 * 2 ** 30, null].map(bytes), ["640 B", "12.0 MiB", "345 GiB", "–"]);
  assert.deepEqual([0, 59.6, 3_723, 97_200].map(duration), ["0:00", "1:00", "1:02:03", "1 d 3 h"]);
  assert.deepEqual([0.999, 1, 1.5, NaN].map(percent), ["99 %", "100 %", "100 %", "–"]);
  assert.deepEqual([999, 1_000, 1_234_567].map(count), ["999", "1\u202f000", "1\u202f234\u202f567"]);
  assert.deepEqual([ago(0, 59_000), ago(0, 60_000), ago(0, 2 * 86_400_000)], ["59 s", "1 min", "2 d"]);
  assert.deepEqual([rate(9.96, "fps"), rate(24, "fps"), rate(2048, "bytes")], ["10.0 fps", "24 fps", "2.0 KiB/s"]);
});

test("a speed is that of the last seconds, and ends where nothing comes", () => {
  const pace = new Pace();
  for (let ms = 0; ms <= 20_000; ms += 50) pace.at(ms < 10_000 ? ms : 10_000 + (ms - 10_000) * 3, ms);
  assert.ok(Math.abs(pace.perSecond(20_000) - 3_000) < 60);
  assert.equal(pace.perSecond(30_000), 0);
  pace.at(0, 30_000);
  assert.equal(pace.perSecond(30_000), 0, "less than before begins anew");
});

test("a job that waits and has nothing to show is queued", () => {
  const job = { state: "encoding", waiting: "for a free slot", queue_position: null, shards_running: 0, shards_done: 0, frames_done: 0 };
  assert.equal(shownState(job), "queued");
  assert.equal(shownState({ ...job, frames_done: 1 }), "encoding");
  assert.equal(shownState({ ...job, state: "uploading" }), "uploading");
  assert.equal(shareDone({ state: "encoding", frames_total: 200, frames_done: 50 }), 0.25);
  assert.equal(shareDone({ state: "analyzing", frames_total: null, shards_total: 0 }), null);
});

test("a spec is told by what tells jobs apart", () => {
  const spec = { container: "mp4", codec: "av1", width: null, height: 720, fps: null, crf: 35, encoder_preset: "8", audio: "opus" };
  assert.equal(specWords(spec), "mp4 · AV1 · 720p · crf 35 · preset 8 · opus");
  const sized = { ...spec, crf: null, size: 700_000_000 };
  assert.equal(specWords(sized), "mp4 · AV1 · 720p · 700000000 bytes · preset 8 · opus");
  assert.equal(specWords({ ...spec, container: "m4a", codec: "none", height: null, audio: "aac" }), "m4a · aac");
});

test("options are found in a spec that has some in thousandths", () => {
  const spec = { width: 640, brightness_milli: -250, loudness_mlufs: -16_000, shard_ms: 2_500, fps: null };
  const found = ["width", "brightness", "loudness", "shard_seconds", "fps"].map((name) => valueIn(spec, name));
  assert.deepEqual(found, [640, -0.25, -16, 2.5, null]);
  assert.equal(valueIn(spec, "priority"), undefined);
  assert.equal(help({ description: "Codec [default: aac]; copy keeps" }), "Codec; copy keeps");
});

test("addresses are taken from a text, and nothing else", () => {
  const text = "https://example.org/a.mov\njavascript:alert(1) file:///etc/passwd http://10.0.0.1/b.mkv words";
  assert.deepEqual(urlsIn(text), ["https://example.org/a.mov", "http://10.0.0.1/b.mkv"]);
});

test("an engine is called by its name, and by its number until that is known", () => {
  const id = 2 ** 52 + 3;
  assert.deepEqual([nodeName(2), shortName(2), isNameless(2)], ["n2", "n2", false]);
  assert.deepEqual([nodeName(id), shortName(id), isNameless(id)], ["engine 3", "e3", true]);
  knowEngine({ number: 3, name: "attic\u202e" });
  assert.deepEqual([nodeName(id), shortName(id), isNameless(id)], ["attic\\u202e", "e3", false]);
});
