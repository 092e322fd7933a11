/**
 * What survives a reload: which uploads were begun, in localStorage, and handles
 * of their files, in IndexedDB, where the browser gives such. Locks tell other
 * tabs which of them run.
 */

import { kept, keptList } from "./kept.js";

const UPLOADS = "reelraft.uploads";
const DATABASE = "reelraft";
const HANDLES = "handles";
/** An upload that nobody went on with for so long is forgotten. */
const KEPT_MS = 7 * 24 * 3_600_000;

/**
 * @typedef {object} Record
 * @property {string} key
 * @property {string | null} id
 * @property {string} name
 * @property {number} bytes
 * @property {number} modifiedMs
 * @property {{ [name: string]: unknown }} wish
 * @property {number} keptMs
 * @property {any} [handle]
 */

/** A thousand films that are dropped at once are written down once. */
const WRITE_MS = 200;

/** Uploads that were begun and are not done. */
export class Remembered {
  constructor() {
    /** What is to be written, by key; null takes it out. @type {Map<string, Record | null>} */
    this.changes = new Map();
    this.timer = 0;
    window.addEventListener("pagehide", () => this.write());
  }

  /** @returns {Record[]} */
  read() {
    return keptList(UPLOADS).filter(({ keptMs }) => Date.now() - keptMs < KEPT_MS);
  }

  /** @private @param {string} key @param {Record | null} record */
  change(key, record) {
    this.changes.set(key, record);
    this.timer ||= window.setTimeout(() => this.write(), WRITE_MS);
  }

  /** Writes the changes into what other tabs may have written meanwhile. @private */
  write() {
    clearTimeout(this.timer);
    this.timer = 0;
    if (this.changes.size === 0) return;
    const others = this.read().filter(({ key }) => !this.changes.has(key));
    const ours = [...this.changes.values()].filter((record) => record !== null);
    this.changes.clear();
    kept.set(UPLOADS, JSON.stringify([...others, ...ours]));
  }

  /** @param {import("./uploads.js").Upload} item */
  async add({ key, id, name, bytes, modifiedMs, wish, handle }) {
    // Once its job is made the wish, which may hold a signed address, is needed no more.
    this.change(key, { key, id, name, bytes, modifiedMs, wish: id ? {} : wish, keptMs: Date.now() });
    if (handle) await inStore("readwrite", (store) => store.put(handle, key));
  }

  /** @param {string} key */
  async remove(key) {
    this.change(key, null);
    await inStore("readwrite", (store) => store.delete(key));
  }

  /** @returns {Promise<Record[]>} with the handles of their files */
  async all() {
    const records = this.read();
    for (const record of records) {
      record.handle = (await inStore("readonly", (store) => store.get(record.key))) ?? null;
    }
    return records;
  }
}

/**
 * @param {IDBTransactionMode} mode
 * @param {(store: IDBObjectStore) => IDBRequest} ask
 * @returns {Promise<any>} undefined where the browser has no such store
 */
async function inStore(mode, ask) {
  try {
    const database = await new Promise((resolve, reject) => {
      const opening = indexedDB.open(DATABASE, 1);
      opening.onupgradeneeded = () => opening.result.createObjectStore(HANDLES);
      opening.onsuccess = () => resolve(opening.result);
      opening.onerror = () => reject(opening.error);
    });
    try {
      const request = ask(database.transaction(HANDLES, mode).objectStore(HANDLES));
      return await new Promise((resolve, reject) => {
        request.onsuccess = () => resolve(request.result);
        request.onerror = () => reject(request.error);
      });
    } finally {
      database.close();
    }
  } catch {
    return undefined;
  }
}

/** @param {string} key */
const lockName = (key) => `reelraft.upload.${key}`;

/**
 * Whether another tab sends this upload.
 * @param {string} key
 */
export async function hasLock(key) {
  // Pages that are neither local nor by HTTPS have no locks.
  const held = (await navigator.locks?.query())?.held ?? [];
  return held.some((lock) => lock.name === lockName(key));
}

/**
 * Keeps other tabs from an upload.
 * @param {string} key
 * @returns {() => void} gives it free
 */
export function holdLock(key) {
  /** @type {() => void} */
  let free = () => undefined;
  const held = new Promise((resolve) => {
    free = () => resolve(undefined);
  });
  void navigator.locks?.request(lockName(key), { ifAvailable: true }, () => held);
  return free;
}

/** A request's id that nobody else makes. */
export function randomId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
