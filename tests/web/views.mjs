// Each view as it is looked at: by axe-core, by its width on a phone, and by
// people, as pictures.

import { execFile } from "node:child_process";
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

import axe from "axe-core";

import { show } from "./browser.mjs";

const run = promisify(execFile);

export const DESKTOP = { width: 1280, height: 800 };
export const PHONE = { width: 360, height: 740 };

/** All views of a cluster that has a job. */
export function viewsOf(job) {
  return [
    ["jobs", "#/"],
    ["new", "#/new"],
    ["job", `#/jobs/${job}`],
    ["play", `#/jobs/${job}/play`],
    ["cluster", "#/cluster"],
    ["keys", "#/keys"],
  ];
}

/** What axe-core finds wrong with what is shown. */
export async function findings(page) {
  const has = await page.evaluate(() => "axe" in window);
  if (!has) await page.evaluate(axe.source);
  const { violations } = await page.evaluate(() =>
    window.axe.run(document, { resultTypes: ["violations"] }),
  );
  const told = (found) => `${found.id}: ${found.help}: ${found.nodes.map((node) => node.html.slice(0, 150)).join(" | ")}`;
  return violations.map(told);
}

/** How much wider the page is than what shows it. */
export function overflow(page) {
  return page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
}

/** A page has few colours, and so its picture takes a third of the bytes. */
async function inFewColours(from, to) {
  const palette = "split[a][b];[a]palettegen=stats_mode=full[p];[b][p]paletteuse=dither=none";
  const args = ["-nostdin", "-v", "error", "-y", "-f", "png_pipe", "-i", from, "-vf", palette, "-frames:v", "1", to];
  await run("ffmpeg", args);
  await rm(from);
}

export async function pictures(page, views, folder) {
  await mkdir(folder, { recursive: true });
  for (const [suffix, size, colorScheme] of [
    ["light", DESKTOP, "light"],
    ["dark", DESKTOP, "dark"],
    ["phone", PHONE, "light"],
  ]) {
    await page.setViewportSize(size);
    await page.emulateMedia({ colorScheme });
    for (const [name, hash] of views) {
      await show(page, hash);
      await page.waitForTimeout(1_200);
      const path = join(folder, `${name}-${suffix}.png`);
      await page.screenshot({ path: `${path}.whole` });
      await inFewColours(`${path}.whole`, path);
    }
  }
}
