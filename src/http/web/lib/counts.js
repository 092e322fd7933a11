/** How many jobs are in each state, out of the port's own figures. */

/** They are beside the point where a node is slow. */
const ANSWER_MS_MAX = 5_000;

/**
 * @param {import("../app.js").Context} ctx
 * @param {AbortSignal} signal
 * @returns {Promise<Map<string, number> | null>} null for a key that sees one tenant alone
 */
export async function countsByState({ api, seesAll }, signal) {
  if (!seesAll()) return null;
  const url = new URL("/metrics", api.node);
  const soon = AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS_MAX)]);
  const asked = fetch(url, { headers: api.headers(), signal: soon, credentials: "omit" });
  const text = await asked.then((answer) => (answer.ok ? answer.text() : null)).catch(() => null);
  if (text === null) return null;
  const found = text.matchAll(/^reelraft_jobs\{state="(\w+)"\} (\d+)/gm);
  return new Map([...found].map(([, state, number]) => [state, Number(number)]));
}
