// The page in a real browser, over a real cluster of three. As a story: ten
// films are dropped, the page is loaded anew in mid-upload, the leader is killed
// in mid-job, and all ten are played to their ends.
//
//   node run.mjs BINARY [--screenshots FOLDER]

import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { Watch, drop, launch, openWith, show } from "./browser.mjs";
import { Cluster, sleep, until } from "./cluster.mjs";
import { makeFilms } from "./films.mjs";
import { DESKTOP, PHONE, findings, overflow, pictures, viewsOf } from "./views.mjs";

/** What a first visit may take over the wire. */
const FIRST_LOAD_BYTES_MAX = 150 * 1024;
/** Slow enough for a reload in mid-upload. */
const UPLOAD_BYTES_PER_SECOND = 600 * 1024;
/** Until a page has all of its code. */
const VIEWS_MS = 6_000;
/** All ten, on two nodes of a busy machine. */
const JOBS_MS_MAX = 300_000;
/** Names that must be shown and never run. */
const HOSTILE = [
  `<img src=x onerror="window.ran=1"><script>window.ran=1</script>.mp4`,
  `"><svg onload=window.ran=1>.mp4`,
  "\u202Egpj.exe\u202C \u2066\u0627\u0644\u0641\u064A\u0644\u0645.mp4",
  "a\u0007\u001b[2J\u0000\u0085b\u200bc.mp4",
  "W".repeat(250),
];

const { binary, screenshots } = options(process.argv.slice(2));

function options([binary, ...rest]) {
  const at = rest.indexOf("--screenshots");
  return { binary, screenshots: at < 0 ? null : rest[at + 1] };
}

async function step(name, act) {
  const begun = Date.now();
  const found = await act();
  console.log(`ok ${name} (${((Date.now() - begun) / 1000).toFixed(1)} s)`);
  return found;
}

function same(found, wanted, what) {
  const [one, other] = [found, wanted].map((value) => JSON.stringify(value));
  if (one !== other) throw new Error(`${what}: ${one} and not ${other}`);
}

async function firstLoad(browser, cluster) {
  const context = await browser.newContext({ viewport: DESKTOP });
  const page = await context.newPage();
  const session = await context.newCDPSession(page);
  await session.send("Network.enable");
  let [bytes, files] = [0, 0];
  session.on("Network.loadingFinished", (event) => {
    bytes += event.encodedDataLength;
    files += 1;
  });
  await page.goto(cluster.origins[0], { waitUntil: "networkidle" });
  await context.close();
  if (bytes > FIRST_LOAD_BYTES_MAX) throw new Error(`${bytes} bytes in ${files} files`);
  console.log(`   ${(bytes / 1024).toFixed(1)} KiB in ${files} files`);
}

/** Drops the films, and loads the page anew while the large one is on its way. */
async function upload(page, films) {
  const session = await page.context().newCDPSession(page);
  const speed = { offline: false, latency: 0, downloadThroughput: -1, uploadThroughput: UPLOAD_BYTES_PER_SECOND };
  await session.send("Network.enable");
  await session.send("Network.emulateNetworkConditions", speed);
  const paths = films.map(({ path }) => path);
  await drop(page, paths);
  // Small pictures stay small, and the machine has other things to do.
  await page.getByText("Web", { exact: true }).click();
  await page.getByRole("button", { name: "Start 10 jobs" }).click();
  const bar = page.getByRole("progressbar", { name: /^Sent of film 00/ });
  const share = async () => Number(await bar.getAttribute("aria-valuenow", { timeout: 1_000 }));
  await until("the large film is on its way", async () => (await share()) >= 15);
  const before = await share();
  if (before > 90) throw new Error(`the large film is sent to ${before} % before the reload`);
  await page.reload();
  await show(page, "#/new");
  // A browser that gives handles of files goes on by itself; else they are dropped again.
  const asleep = page.getByText("broken off").first();
  await until("the upload is there again", async () => (await bar.count()) > 0);
  if (await asleep.isVisible()) await drop(page, paths);
  await until("the upload goes on where it was", async () => (await share()) > before);
  // A page goes on without its node once it has all of its own code. The film is still on
  // its way meanwhile: its job is to be in the midst when the leader is killed.
  await page.waitForTimeout(VIEWS_MS);
  await session.send("Network.emulateNetworkConditions", { ...speed, uploadThroughput: -1 });
  await session.detach();
}

async function killTheLeader(page, cluster, key) {
  await until("a job is being encoded", async () => {
    const { jobs } = await cluster.get("/jobs", { key });
    return jobs.some((job) => job.state === "encoding" && job.shards_running > 0);
  });
  const { leader_id: leader } = await cluster.get("/cluster");
  await cluster.kill(leader);
  return leader;
}

async function finished(page, cluster, key) {
  await show(page, "#/");
  const jobs = await until("all ten are made", async () => {
    const { jobs } = await cluster.get("/jobs", { key });
    const failed = jobs.find((job) => ["failed", "cancelled"].includes(job.state));
    if (failed) throw new Error(`${failed.source_name}: ${failed.problem?.cause}`);
    return jobs.length === 10 && jobs.every((job) => job.state === "succeeded") && jobs;
  }, JOBS_MS_MAX);
  await until("the page says so", async () => {
    const rows = page.getByRole("row").filter({ hasText: /film \d\d/ }).filter({ hasText: /succeeded/i });
    return (await rows.count()) === 10;
  });
  return jobs;
}

/** Plays a job's result in the page to its end. */
async function play(page, job) {
  await show(page, `#/jobs/${job.id}/play`);
  const video = page.locator("video").first();
  const state = () => video.evaluate(({ readyState, duration, currentTime, ended, error }) => ({ readyState, duration, currentTime, ended, error: error?.message }));
  await until(`${job.source_name} can be played`, async () => (await state()).readyState >= 2);
  await page.getByRole("button", { name: "Play", exact: true }).click();
  const end = await until(`${job.source_name} is played to its end`, async () => {
    const { currentTime, duration, ended } = await state();
    return (ended || currentTime >= duration - 0.05) && { currentTime, duration };
  });
  if (!(end.duration > 2.5)) throw new Error(`${job.source_name} has ${end.duration} s`);
}

async function strangerSeesNothing(browser, cluster, watch, key, jobs) {
  const context = await browser.newContext({ viewport: DESKTOP });
  await watch.over(context);
  const page = await openWith(context, cluster.origins[0], key);
  for (const hash of ["#/", `#/jobs/${jobs[0].id}`, `#/jobs/${jobs[0].id}/play`, "#/cluster", "#/keys"]) {
    await show(page, hash);
    await sleep(500);
    const text = await page.locator("body").innerText();
    for (const told of ["film 0", "anna"]) {
      if (text.includes(told)) throw new Error(`${hash} shows "${told}" of another tenant`);
    }
  }
  await context.close();
}

async function hostileNames(page, cluster, key) {
  const ids = [];
  for (const [at, source_name] of HOSTILE.entries()) {
    const body = { source_name, source_bytes: 1000 + at };
    const headers = { "idempotency-key": `hostile-${at}` };
    ids.push((await cluster.ask("POST", "/jobs", { key, body, headers })).job.id);
  }
  for (const size of [DESKTOP, PHONE]) {
    await page.setViewportSize(size);
    for (const hash of ["#/", ...ids.flatMap((id) => [`#/jobs/${id}`, `#/jobs/${id}/play`])]) {
      await show(page, hash);
      await checkHarmless(page, hash);
    }
  }
  await page.setViewportSize(DESKTOP);
  await show(page, "#/new");
  // No file of a disk has such a name, but a page may be given one.
  const name = `<b>${"n".repeat(10_000)}</b>.mp4`;
  await page.getByLabel("Films", { exact: true }).last().setInputFiles({ name, mimeType: "video/mp4", buffer: Buffer.from("film") });
  await checkHarmless(page, "a staged name of 10,000 letters");
  await page.getByRole("button", { name: "Remove all" }).click();
  for (const id of ids) await cluster.ask("DELETE", `/jobs/${id}`, { key });
}

async function checkHarmless(page, where) {
  const ran = await page.evaluate(() => window.ran);
  same(ran ?? null, null, `${where}: what a name says was run`);
  const made = await page.locator("main img[src=x], main svg[onload], main b").count();
  same(made, 0, `${where}: elements that a name made`);
  const over = await overflow(page);
  if (over > 0) throw new Error(`${where}: the page is ${over} pixels too wide`);
}

async function looksRight(page, job) {
  const found = [];
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    for (const size of [DESKTOP, PHONE]) {
      await page.setViewportSize(size);
      for (const [name, hash] of viewsOf(job.id)) {
        await show(page, hash);
        const where = `${name}, ${colorScheme}, ${size.width} pixels`;
        const over = await overflow(page);
        if (over > 0) found.push(`${where}: ${over} pixels too wide`);
        for (const finding of await findings(page)) found.push(`${where}: ${finding}`);
      }
    }
  }
  await page.emulateMedia({ colorScheme: "light" });
  await page.setViewportSize(DESKTOP);
  if (found.length > 0) throw new Error([...new Set(found)].join("\n"));
}

/** A job that runs while the pictures are made. */
async function begin(cluster, key, film) {
  const spec = { encoder_preset: "veryslow", height: 1080, shard_seconds: 1 };
  const body = { source_name: "Holiday by the sea, reel 2.mov", source_bytes: film.bytes, spec };
  const { job } = await cluster.ask("POST", "/jobs", { key, body });
  const sent = await fetch(`${cluster.origins[0]}/api/v1/jobs/${job.id}/source`, {
    method: "PUT",
    headers: { authorization: `Bearer ${key}` },
    body: await readFile(film.path),
  });
  if (!sent.ok) throw new Error(await sent.text());
  await until("it is being encoded", async () => (await cluster.get(`/jobs/${job.id}`, { key })).frames_done > 0);
  return job.id;
}

async function takePictures(page, cluster, key, film, made) {
  const running = await begin(cluster, key, film);
  const views = viewsOf(made).map(([name, hash]) => [name, name === "job" ? `#/jobs/${running}` : hash]);
  await pictures(page, views, screenshots);
}

async function story(cluster, browser, folder) {
  const watch = new Watch(cluster.origins);
  const films = await step("ten films are made", () => makeFilms(folder));
  const [anna, bert] = [await cluster.key("anna", "admin"), await cluster.key("bert", "admin")];
  await step("a first load is small", () => firstLoad(browser, cluster));
  const { leader_id: leader } = await cluster.get("/cluster");
  const context = await browser.newContext({ viewport: DESKTOP, colorScheme: "light" });
  await watch.over(context);
  const page = await openWith(context, cluster.origin(leader), anna);
  await step("ten films are dropped, and go on after a reload", () => upload(page, films));
  await step("the leader is killed in mid-job", () => killTheLeader(page, cluster, anna));
  const jobs = await step("all ten are made", () => finished(page, cluster, anna));
  await step("all ten are played to their ends", async () => {
    for (const job of jobs) await play(page, job);
  });
  await step("another tenant sees none of it", () => strangerSeesNothing(browser, cluster, watch, bert, jobs));
  await step("hostile names are shown and never run", () => hostileNames(page, cluster, anna));
  await step("axe-core finds nothing, and nothing is too wide", () => looksRight(page, jobs[0]));
  if (screenshots) {
    await step("pictures are made", () => takePictures(page, cluster, anna, films[0], jobs[0].id));
  }
  await step("nobody else was asked, and no policy broken", async () => watch.check());
}

const folder = await mkdtemp(join(tmpdir(), "reelraft-films-"));
const cluster = await Cluster.start(binary);
const browser = await launch();
try {
  await story(cluster, browser, folder);
} catch (error) {
  console.error(error);
  for (const page of browser.contexts().flatMap((context) => context.pages())) {
    const path = join(tmpdir(), "reelraft-page-failed.png");
    await page.screenshot({ path }).catch(() => undefined);
    console.error(`${page.url()} as it was: ${path}`);
  }
  process.exitCode = 1;
} finally {
  await browser.close();
  await cluster.stop();
  await rm(folder, { recursive: true, force: true });
}
