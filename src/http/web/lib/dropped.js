/** Files and folders that were dropped on the page or picked, as one list. */

/** @typedef {{ file: File, handle: any }} Found */

/** What a film or a sound may be called, where the browser does not know its type. */
const FILMS =
  /\.(3g2|3gp|aac|ac3|aiff?|amv|asf|avi|dv|eac3|f4v|flac|flv|gxf|h26[45]|hevc|ivf|m[124]v|m2ts?|m4a|mk[av]|mov|mp[34]|mpe?g|mts|mxf|nut|og[agvx]|opus|r3d|rmv?b?|ts|vob|wav|webm|wm[av]|wtv|y4m)$/i;

/**
 * Whether a file in a folder is likely a film; one that is named by itself always is.
 * @param {File} file
 */
function isFilm(file) {
  if (file.name.startsWith(".")) return false;
  return /^(video|audio)\//.test(file.type) || FILMS.test(file.name);
}

/**
 * The files of a drop, those in folders too. It must be called while the drop's
 * event is told: what it holds is gone afterwards.
 * @param {DataTransfer} transfer
 * @returns {Promise<{ found: Found[], others: Found[], urls: string[] }>} `others`: files in folders that look like no film
 */
export async function dropped(transfer) {
  const files = [...transfer.items].filter((item) => item.kind === "file");
  const parts = files.map((item) => {
    const plain = item.getAsFile();
    // A handle lets an upload go on after a reload; only some browsers give one.
    const handle = /** @type {any} */ (item).getAsFileSystemHandle?.();
    return { plain, handle, entry: item.webkitGetAsEntry?.() ?? null };
  });
  const urls = files.length > 0 ? [] : urlsIn(transfer.getData("text/uri-list") || transfer.getData("text/plain"));
  /** @type {Found[]} */
  const found = [];
  /** @type {Found[]} */
  const others = [];
  for (const { plain, handle, entry } of parts) {
    if (entry?.isDirectory) {
      for (const file of await filesBelow(/** @type {FileSystemDirectoryEntry} */ (entry))) {
        (isFilm(file) ? found : others).push({ file, handle: null });
      }
    } else if (plain) {
      const known = await Promise.resolve(handle).catch(() => null);
      found.push({ file: plain, handle: known?.kind === "file" ? known : null });
    }
  }
  return { found, others, urls };
}

/**
 * Files that were picked; those of a folder are told apart as `dropped` does.
 * @param {FileList} list
 * @returns {{ found: Found[], others: Found[] }}
 */
export function picked(list) {
  const all = [...list].map((file) => ({ file, handle: null }));
  const inFolder = (/** @type {Found} */ { file }) => file.webkitRelativePath !== "";
  const others = all.filter((one) => inFolder(one) && !isFilm(one.file));
  return { found: all.filter((one) => !others.includes(one)), others };
}

/**
 * The addresses in a text, a line each.
 * @param {string} text
 */
export function urlsIn(text) {
  const lines = text.split(/\s+/).filter((line) => URL.canParse(line));
  return lines.filter((line) => /^https?:$/.test(new URL(line).protocol));
}

/**
 * @param {FileSystemDirectoryEntry} folder
 * @returns {Promise<File[]>} all files below it, in the order of their paths
 */
async function filesBelow(folder) {
  const reader = folder.createReader();
  /** @type {FileSystemEntry[]} */
  const entries = [];
  for (;;) {
    // It gives at most a hundred at a time, and none at the end.
    /** @type {FileSystemEntry[]} */
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (some.length === 0) break;
    entries.push(...some);
  }
  entries.sort((one, other) => (one.name < other.name ? -1 : 1));
  /** @type {File[]} */
  const files = [];
  for (const entry of entries) {
    if (entry.isDirectory) {
      files.push(...(await filesBelow(/** @type {FileSystemDirectoryEntry} */ (entry))));
    } else {
      const file = /** @type {FileSystemFileEntry} */ (entry);
      files.push(await new Promise((resolve, reject) => file.file(resolve, reject)));
    }
  }
  return files;
}

/** The cluster takes no longer name; some file systems have such. */
const NAME_BYTES_MAX = 255;

/**
 * A name as the cluster takes it: well-formed, and cut before its ending.
 * @param {string} name
 */
export function shortened(name) {
  const bytes = new TextEncoder().encode(name);
  const plain = new TextDecoder().decode(bytes);
  if (bytes.length <= NAME_BYTES_MAX) return plain;
  const ending = new TextEncoder().encode(/\.\w{1,8}$/.exec(plain)?.[0] ?? "");
  const stem = bytes.slice(0, NAME_BYTES_MAX - ending.length);
  // A letter that was cut in two is left out.
  const kept = new TextDecoder().decode(stem, { stream: true });
  return kept + new TextDecoder().decode(ending);
}
