/** How many jobs are in each state, out of the port's own figures. */

/**
 * @param {import("../app.js").Context} ctx
 * @param {AbortSignal} signal
 * @returns {Promise<Map<string, number> | null>} null for a key that sees one tenant alone
 */
export async function countsByState({ api, seesAll }, signal) {
  if (!seesAll()) return null;
  const url = new URL("/metrics", api.node);
  const answer = await fetch(url, { headers: api.headers(), signal, credentials: "omit" }).catch(() => null);
  if (!answer?.ok) return null;
  const found = (await answer.text()).matchAll(/^reelraft_jobs\{state="(\w+)"\} (\d+)/gm);
  return new Map([...found].map(([, state, number]) => [state, Number(number)]));
}
