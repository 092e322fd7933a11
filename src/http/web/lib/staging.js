/** Films that were chosen and are not jobs yet. They stay while other views are open. */

/** @typedef {{ name: string, bytes: number | null, file: File | null, handle: any, url: string | null }} Staged */
/** @typedef {import("./dropped.js").Found} Found */

/** What the next jobs are made of. */
export class Staging {
  /** @param {(file: File) => boolean} taken whether an upload that broke off goes on with a file */
  constructor(taken) {
    this.taken = taken;
    /** @type {Staged[]} */
    this.items = [];
    /** Files in dropped folders that look like no film. @type {Found[]} */
    this.others = [];
    /** @type {Set<() => void>} */
    this.listeners = new Set();
  }

  /**
   * Tells when something comes or goes.
   * @param {() => void} listener
   * @returns {() => void} ends it
   */
  onchange(listener) {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** @private */
  changed() {
    for (const listener of this.listeners) listener();
  }

  /**
   * Takes what was dropped or picked, each file once.
   * @param {{ found: Found[], others: Found[], urls?: string[] }} files
   */
  take({ found, others, urls = [] }) {
    for (const { file, handle } of found) {
      const same = (/** @type {Staged} */ item) =>
        item.file?.name === file.name && item.bytes === file.size && item.file.lastModified === file.lastModified;
      if (this.items.some(same) || this.taken(file)) continue;
      this.items.push({ name: file.name, bytes: file.size, file, handle, url: null });
    }
    for (const url of urls) {
      if (this.items.some((item) => item.url === url)) continue;
      this.items.push({ name: nameIn(url), bytes: null, file: null, handle: null, url });
    }
    this.others.push(...others);
    this.changed();
  }

  /** Takes those in that look like no film. */
  takeOthers() {
    const found = this.others;
    this.others = [];
    this.take({ found, others: [] });
  }

  /** @param {Staged} item */
  remove(item) {
    this.items = this.items.filter((other) => other !== item);
    this.changed();
  }

  /** @returns {Staged[]} all, which are staged no more */
  empty() {
    const items = this.items;
    this.items = [];
    this.others = [];
    this.changed();
    return items;
  }
}

/**
 * What a URL's file is called.
 * @param {string} url
 */
function nameIn(url) {
  const last = new URL(url).pathname.split("/").at(-1) || url;
  try {
    return decodeURIComponent(last);
  } catch {
    return last;
  }
}
