/** Keys, tenants and their webhooks. What a key may not do is refused in so many words. */

import { h, replace } from "../lib/dom.js";
import { KeyList } from "./keys/list.js";
import { TenantPanels } from "./keys/tenant.js";

/**
 * @param {HTMLElement} root
 * @param {import("../app.js").Context} ctx
 */
export function open(root, ctx) {
  const abort = new AbortController();
  const tenants = new TenantPanels(ctx, abort.signal);
  const keys = new KeyList(ctx, abort.signal, (names) => tenants.know(names));
  replace(root, h("h1", { class: "unseen" }, "Keys and tenants"), h("div", { class: "keys-page" }, keys.node, tenants.node));
  void keys.load();
  void tenants.load();
  return { close: () => abort.abort() };
}
