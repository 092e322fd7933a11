// A browser, and what every test asks of every page: that it asks nobody but the
// cluster, that its policy was never broken, and that no script of it failed.

import { existsSync } from "node:fs";
import { chromium } from "playwright-core";

const PATHS = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--autoplay-policy=no-user-gesture-required",
];

export function launch() {
  const executablePath = process.env.CHROMIUM ?? PATHS.find((path) => existsSync(path));
  return chromium.launch({ executablePath, args: FLAGS });
}

/** What went wrong on a page, besides what is expected. */
export class Watch {
  constructor(origins) {
    this.origins = origins;
    this.faults = [];
  }

  async over(context) {
    await context.addInitScript(() => {
      document.addEventListener("securitypolicyviolation", (event) => {
        console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`);
      });
    });
    context.on("request", (request) => {
      const url = new URL(request.url());
      const own = this.origins.includes(url.origin) || ["blob:", "data:"].includes(url.protocol);
      if (!own) this.faults.push(`a request to ${url.origin}`);
    });
    context.on("weberror", (error) => this.faults.push(`a script failed: ${error.error()?.stack}`));
    context.on("console", (message) => {
      const text = message.text();
      // Requests that are refused, or break with a node that was killed, are told too.
      const expected = text.startsWith("Failed to load resource") || text.includes("blocked by CORS policy");
      if (message.type() === "error" && !expected) this.faults.push(`an error was told: ${text}`);
    });
  }

  check() {
    if (this.faults.length > 0) throw new Error(this.faults.join("\n"));
  }
}

/** Opens the page of a node and gives it a key. */
export async function openWith(context, origin, key) {
  const page = await context.newPage();
  page.on("dialog", (dialog) => dialog.accept().catch(() => undefined));
  await page.goto(origin);
  await page.getByLabel("Key or secret").fill(key);
  await page.getByRole("button", { name: "Use it" }).click();
  await page.getByRole("dialog").waitFor({ state: "detached" });
  return page;
}

/** Shows a view by its hash, and waits until it is there. */
export async function show(page, hash) {
  await page.evaluate((to) => {
    location.hash = to;
  }, hash);
  await page.getByRole("main").waitFor();
  await page.waitForTimeout(300);
}

/** Drops files on the page as a person would. */
export async function drop(page, paths) {
  const session = await page.context().newCDPSession(page);
  const { width, height } = page.viewportSize();
  const data = { items: [], files: paths, dragOperationsMask: 1 };
  for (const type of ["dragEnter", "dragOver", "drop"]) {
    await session.send("Input.dispatchDragEvent", { type, x: width / 2, y: height / 2, data });
  }
  await session.detach();
}
