/** Keys that do something where no field has the focus. */

/**
 * @param {Record<string, (event: KeyboardEvent) => void>} actions by key, as `KeyboardEvent.key` names it
 * @returns {() => void} ends it
 */
export function onKeys(actions) {
  const listener = (/** @type {KeyboardEvent} */ event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (isTyping(event.target) || document.querySelector("dialog[open]")) return;
    const action = actions[event.key];
    if (!action) return;
    event.preventDefault();
    action(event);
  };
  document.addEventListener("keydown", listener);
  return () => document.removeEventListener("keydown", listener);
}

/** @param {EventTarget | null} target */
function isTyping(target) {
  if (!(target instanceof HTMLElement)) return false;
  const box = target instanceof HTMLInputElement && ["checkbox", "radio", "button"].includes(target.type);
  return !box && target.matches("input, select, textarea, [contenteditable]");
}
