/**
 * What the browser keeps for this page. A browser that is told to keep nothing
 * throws at each of these; the page works there all the same, and forgets.
 */

/**
 * @template T
 * @param {() => T} act
 * @returns {T | null}
 */
function allowed(act) {
  try {
    return act();
  } catch {
    return null;
  }
}

/** Beyond the tab: `localStorage`. */
export const kept = {
  /** @param {string} name @returns {string | null} */
  get: (name) => allowed(() => localStorage.getItem(name)),
  /** @param {string} name @param {string | null} value null forgets it */
  set: (name, value) => allowed(() => (value === null ? localStorage.removeItem(name) : localStorage.setItem(name, value))),
};

/** While the tab is open: `sessionStorage`. */
export const keptByTab = {
  /** @param {string} name @returns {string | null} */
  get: (name) => allowed(() => sessionStorage.getItem(name)),
  /** @param {string} name @param {string | null} value null forgets it */
  set: (name, value) => allowed(() => (value === null ? sessionStorage.removeItem(name) : sessionStorage.setItem(name, value))),
};

/**
 * A list that was kept as JSON; an empty one if it can't be read.
 * @param {string} name
 * @returns {any[]}
 */
export function keptList(name) {
  const list = allowed(() => JSON.parse(localStorage.getItem(name) ?? "[]"));
  return Array.isArray(list) ? list : [];
}
