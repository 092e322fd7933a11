// Three nodes as processes of their own, with a secret, and what a client of
// theirs asks by HTTP. Each is killed by its own pid.

import { spawn } from "node:child_process";
import { mkdtemp, open, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

const SECRET = "of-the-tests-0123456789abcdef";
/** A busy machine may take long; a test that hangs is ended by its own limit. */
const PATIENCE_MS = 120_000;

export const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Asks until the answer is there; an error says what was waited for. */
export async function until(what, ask, patienceMs = PATIENCE_MS) {
  const end = Date.now() + patienceMs;
  let last;
  while (Date.now() < end) {
    try {
      const found = await ask();
      if (found) return found;
      last = undefined;
    } catch (error) {
      last = error;
    }
    await sleep(200);
  }
  throw new Error(`waited in vain: ${what}${last ? `: ${last.message}` : ""}`);
}

async function freePort() {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

export class Cluster {
  static async start(binary, { slots = 1 } = {}) {
    const cluster = new Cluster();
    cluster.folder = await mkdtemp(join(tmpdir(), "reelraft-page-"));
    cluster.binary = binary;
    const ids = [1, 2, 3];
    const ports = [];
    for (let count = 0; count < 2 * ids.length; count++) ports.push(await freePort());
    cluster.peers = ids.map((id) => `${id}=127.0.0.1:${ports[id - 1]}`).join(",");
    cluster.nodes = ids.map((id) => ({
      id,
      listen: `127.0.0.1:${ports[id - 1]}`,
      http: `127.0.0.1:${ports[id + 2]}`,
      slots,
      process: null,
    }));
    for (const node of cluster.nodes) await cluster.run(node);
    await until("the cluster has a leader and its encoders", async () => {
      const status = await cluster.get("/cluster");
      return status.leader_id && status.nodes.every((node) => node.reachable && node.build && node.http);
    });
    return cluster;
  }

  async run(node) {
    const log = await open(join(this.folder, `node${node.id}.log`), "a");
    const settings = [
      ["id", node.id],
      ["listen", node.listen],
      ["http", node.http],
      ["peers", this.peers],
      ["data", join(this.folder, `node${node.id}`)],
      ["slots", node.slots],
    ];
    const args = settings.flatMap(([name, value]) => [`--${name}`, String(value)]);
    const env = { ...process.env, REELRAFT_SECRET: SECRET };
    node.process = spawn(this.binary, ["node", ...args], { env, stdio: ["ignore", log.fd, log.fd] });
    await log.close();
  }

  /** The living nodes' origins. */
  get origins() {
    return this.nodes.filter((node) => node.process).map((node) => `http://${node.http}`);
  }

  origin(id) {
    return `http://${this.nodes[id - 1].http}`;
  }

  /** Ends a node without a word. */
  async kill(id) {
    const node = this.nodes[id - 1];
    const ended = new Promise((resolve) => node.process.once("exit", resolve));
    node.process.kill("SIGKILL");
    await ended;
    node.process = null;
  }

  async stop() {
    for (const node of this.nodes) if (node.process) await this.kill(node.id);
    await rm(this.folder, { recursive: true, force: true });
  }

  async ask(method, path, { key = SECRET, body, headers = {} } = {}) {
    let failure;
    for (const origin of this.origins) {
      try {
        const answer = await fetch(`${origin}/api/v1${path}`, {
          method,
          headers: { authorization: `Bearer ${key}`, ...headers },
          body: body === undefined ? undefined : JSON.stringify(body),
          signal: AbortSignal.timeout(10_000),
        });
        const text = await answer.text();
        if (answer.ok) return text ? JSON.parse(text) : null;
        failure = new Error(`${method} ${path}: ${answer.status} ${text}`);
        if (answer.status !== 503) throw failure;
      } catch (error) {
        failure = error;
      }
    }
    throw failure;
  }

  get(path, options) {
    return this.ask("GET", path, options);
  }

  /** A key's text. */
  async key(tenant, scope) {
    const body = { name: `${tenant}-${scope}`, tenant, scope };
    return until("a key is made", async () => (await this.ask("POST", "/keys", { body })).text);
  }
}
