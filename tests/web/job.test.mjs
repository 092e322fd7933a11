// The rules of a job's page and of the player, without a browser: commands to
// copy, times of the film, which parts can be played, and what was seen happen.
// Run by node --test.

import assert from "node:assert/strict";
import { test } from "node:test";

import { marks } from "../../src/http/web/views/marks.js";
import { filmClock, frameRate, pictureOf, secondsAt } from "../../src/http/web/views/job/clock.js";
import { asCli, asCurl, quoted, split } from "../../src/http/web/views/job/command.js";
import { pathName } from "../../src/http/web/views/job/output.js";
import { filmTime, outcomeLook } from "../../src/http/web/views/job/words.js";
import { typeOf } from "../../src/http/web/views/play/mp4.js";
import { Parts, holeAt, madeOf } from "../../src/http/web/views/play/parts.js";

const metadata = {
  source: {
    streams: [
      { codec_type: "video", time_base: "1/1000", disposition: { attached_pic: 1 } },
      { codec_type: "video", time_base: "1/24000", avg_frame_rate: "24000/1001" },
    ],
  },
};

function shard(number, state, from = 48_000 + number * 96_000) {
  return { number, kind: "shard", state, from_pts: from, to_pts: from + 96_000, failures: [] };
}

test("a shell takes what is quoted as one word, and splitting undoes it", () => {
  for (const word of ["a.mp4", "it's here.mov", "$(reboot)", '"`', "a b", "-"]) {
    assert.deepEqual(split(`x ${quoted(word)} y`), ["x", word, "y"]);
  }
  assert.deepEqual(split(`reelraft transcode 'a b' --crop 1:2 "c\\"d"`), ["reelraft", "transcode", "a b", "--crop", "1:2", 'c"d']);
});

test("a job can be asked for again by the command line and by curl", async () => {
  const command = "reelraft transcode FILE OUT.mp4 --codec h264 --brightness -0.05 --shard-seconds 2 --strict";
  const api = { node: "http://n1:8401", key: "k", get: async () => ({ command }) };
  const job = { id: "j1", source_name: "it's.mov", spec: { container: "mp4" } };
  assert.equal(
    await asCli(api, job),
    `reelraft transcode 'it'\\''s.mov' 'it'\\''s.mp4' --codec h264 --brightness -0.05 --shard-seconds 2 --strict`,
  );
  const url = "http://n1:8401/api/v1/transcode?codec=h264&brightness=-0.05&shard_seconds=2&strict=true";
  const curl = await asCurl(api, job);
  assert.ok(curl.includes(`'${url}'`) && !curl.includes(" k"), curl);
});

test("no name of a file becomes an option or ends a paste", async () => {
  const api = { node: "http://n1:8401", key: "", get: async () => ({ command: "reelraft transcode FILE OUT.mp4" }) };
  for (const [source_name, line] of [
    ["--webhook-url=http://evil.mov", "reelraft transcode ./--webhook-url=http://evil.mov webhook-url=http_evil.mp4"],
    ["a\u001b[201~\nreboot\n.mov", "reelraft transcode FILE 'a_[201~_reboot_.mp4'"],
  ]) {
    const job = { id: "j1", source_name, spec: { container: "mp4" } };
    assert.equal(await asCli(api, job), line);
    assert.ok(!/[\n\u001b]| --webhook/.test(await asCurl(api, job)));
  }
});

test("an output's name can be the name of a file anywhere", () => {
  const named = (source_name) => pathName({ source_name, spec: { container: "mkv" } });
  assert.equal(named("Der Film.v2.mov"), "Der Film.v2.mkv");
  assert.equal(named("../../etc/passwd"), "_.._etc_passwd.mkv");
  assert.equal(named("a\u202e\u0000<b>.mp4"), "a_b_.mkv");
  assert.equal(named(""), "output.mkv");
  assert.ok(named("x".repeat(10_000)).length < 130);
});

test("times are those of the film's picture, from its first shard on", () => {
  assert.equal(pictureOf(metadata.source).time_base, "1/24000");
  assert.deepEqual(frameRate(pictureOf(metadata.source)), [24_000, 1_001]);
  const clock = filmClock([shard(1, "done"), shard(0, "done")], metadata);
  assert.deepEqual(clock.shards.map((task) => task.number), [0, 1]);
  assert.equal(secondsAt(clock, 144_000), 4);
  assert.equal(secondsAt(filmClock([], null), 1), null);
  assert.deepEqual([61.26, 3_723, null].map(filmTime), ["1:01.3", "1:02:03", "–"]);
});

test("what is made is told from what is not", () => {
  const states = ["done", "done", "running", "pending", "done"];
  const clock = filmClock(states.map((state, number) => shard(number, state)), metadata);
  assert.deepEqual(madeOf(clock), [
    { from: 0, to: 8 },
    { from: 16, to: 20 },
  ]);
  assert.equal(holeAt(clock, 5), null);
  assert.deepEqual([holeAt(clock, 8.5).at.number, holeAt(clock, 8.5).next], [2, 16]);
  assert.equal(holeAt(filmClock([shard(0, "running")], metadata), 1).next, null);
});

/** A box of MP4. */
function box(kind, ...content) {
  const body = Buffer.concat(content);
  const head = Buffer.alloc(8);
  head.writeUInt32BE(body.length + 8);
  head.write(kind, 4, "latin1");
  return Buffer.concat([head, body]);
}

function part(entry) {
  const table = box("stsd", Buffer.from([0, 0, 0, 0, 0, 0, 0, 1]), entry);
  const inner = ["stbl", "minf", "mdia", "trak", "moov"].reduce((made, kind) => box(kind, made), table);
  const whole = Buffer.concat([box("ftyp", Buffer.from("iso5")), inner, box("moof", Buffer.alloc(8))]);
  return Uint8Array.from(whole).buffer;
}

function picture(kind, inner, ...bytes) {
  return part(box(kind, Buffer.alloc(78), box(inner, Buffer.from(bytes))));
}

test("the codec of a part is named as browsers name it", () => {
  assert.equal(typeOf(picture("avc1", "avcC", 1, 0x64, 0, 0x1e)), 'video/mp4; codecs="avc1.64001e"');
  assert.equal(typeOf(picture("av01", "av1C", 0x81, 0x08, 0x40, 0)), 'video/mp4; codecs="av01.0.08M.10"');
  assert.equal(typeOf(picture("vp09", "vpcC", 0, 0, 0, 0, 0, 31, 0x80)), 'video/mp4; codecs="vp09.00.31.08"');
  const hevc = picture("hev1", "hvcC", 1, 1, 0x60, 0, 0, 0, 0x90, 0, 0, 0, 0, 0, 60);
  assert.equal(typeOf(hevc), 'video/mp4; codecs="hev1.1.6.L60.90"');
  assert.equal(typeOf(part(box("mp4a", Buffer.alloc(28)))), 'audio/mp4; codecs="mp4a.40.2"');
  assert.equal(typeOf(part(box("FFV1", Buffer.alloc(90)))), null);
});

test("a part that the browser let go of is fetched again, but none for ever", () => {
  const clock = filmClock([0, 1, 2].map((number) => shard(number, "done")), metadata);
  const buffered = { length: 1, start: () => 0, end: () => 4 };
  const lacks = (tries, number) => {
    const film = { tries: new Map([[`shard/${number}`, tries]]), buffers: new Map([["shard", { buffered }]]) };
    return Parts.prototype.lacks.call(film, clock.shards[number], clock);
  };
  assert.deepEqual([lacks(0, 1), lacks(1, 0), lacks(1, 1), lacks(3, 1), lacks(4, 1)], [true, false, true, true, false]);
});

test("what is cut off or no MP4 has no type", () => {
  const whole = new Uint8Array(picture("avc1", "avcC", 1, 2, 3, 4));
  for (let length = 0; length < whole.length - 16; length++) {
    assert.equal(typeOf(whole.slice(0, length).buffer), null, `${length} bytes`);
  }
  assert.equal(typeOf(new TextEncoder().encode("OggS and something more").buffer), null);
});

test("elections and nodes that go and come back are remembered", () => {
  const node = (id, reachable) => ({ id, reachable, trouble: null });
  const told = [
    { leader_id: 1, term: 2, nodes: [node(1, true), node(2, true)] },
    { leader_id: null, term: 2, nodes: [node(1, true), node(2, true)] },
    { leader_id: 2, term: 3, nodes: [node(1, false), node(2, true)] },
    // What a node tells late that lags behind.
    { leader_id: 1, term: 2, nodes: [node(1, true), node(2, true)] },
    { leader_id: 2, term: 3, nodes: [node(1, true), node(2, true), node(3, true)] },
  ];
  for (const news of told) marks.take(news);
  assert.deepEqual(
    marks.all.map(({ kind, node: id, term }) => [kind, id, term]),
    [
      ["election", 2, 3],
      ["lost", 1, 3],
      ["back", 1, 3],
      ["joined", 3, 3],
    ],
  );
});

test("each outcome of an attempt has words of its own", () => {
  const outcomes = ["done", "running", "work", "final", "plan-mismatch", "node-fault", "node-lost", "stopped", "out-of-reach"];
  const words = new Set(outcomes.map((outcome) => outcomeLook(outcome).words));
  assert.equal(words.size, outcomes.length);
  assert.equal(outcomeLook("something-new").words, "something-new");
});
