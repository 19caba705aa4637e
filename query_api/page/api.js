// The service's public API: the only place that knows its addresses, parameters and errors.

const TOKEN = "power-api-token";
const MANY_SHIPS = 10_000;
export const READINGS = 200;
/** A ship may send more often now than its cadence says. */
const MORE_READINGS = 5000;

/** An answer that is none, as one sentence. */
export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export const token = {
  get: () => sessionStorage.getItem(TOKEN),
  set: (secret) => sessionStorage.setItem(TOKEN, secret),
  forget: () => sessionStorage.removeItem(TOKEN),
};

async function request(path, parameters, signal) {
  const query = new URLSearchParams(Object.entries(parameters).filter(([, value]) => value !== null));
  const headers = token.get() ? { Authorization: `Bearer ${token.get()}` } : {};
  try {
    return await fetch(query.size ? `${path}?${query}` : path, { headers, signal, cache: "no-cache" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "The service cannot be reached; what is shown is what was known last.");
  }
}

async function refusal(response) {
  const problem = await response.json().catch(() => ({}));
  const faults = (problem.errors ?? []).map((each) => each.problem).join("; ");
  const detail = [problem.detail, faults].filter(Boolean).join(": ");
  const sentence = {
    401: token.get() ? "The service does not know this token." : "The service asks for an access token.",
    404: detail || "This service does not offer that.",
    429: "Too many requests at once; this is tried again in a moment.",
    503: "The service cannot answer this now; it is tried again in a moment.",
  };
  return new ApiError(response.status, sentence[response.status] ?? detail ?? `The answer was ${response.status}.`);
}

async function get(path, parameters = {}, signal) {
  const response = await request(path, parameters, signal);
  if (!response.ok) throw await refusal(response);
  return response.json();
}

const iso = (ms) => (ms === null ? null : new Date(ms).toISOString());
const between = ({ start, end }) => ({ start: iso(start), end: iso(end) });

const SLOT_S = 900;

/** Columns of `resolution`, each with its moment `at` in ms, and how many of its `seconds` lie in the range. */
async function rows(path, range, resolution, parameters, signal) {
  const answer = await get(path, { ...parameters, ...between(range), resolution, detail: true }, signal);
  return timed(answer.data).map((row) => Object.assign(row, { seconds: row.seconds ?? SLOT_S }));
}

/** Add to each row its moment in ms, as `at`. */
const timed = (data) => data.map((row) => Object.assign(row, { at: Date.parse(row.datetime) }));

export const fleet = (range, resolution, signal) => rows("/data/fleet", range, resolution, {}, signal);
export const slots = (ship, range, resolution, signal) =>
  rows("/data", range, resolution, { spaceship_id: ship }, signal);

export async function topShips(range, count, signal) {
  return (await get("/topusers", { count, ...between(range), detail: true }, signal)).ships;
}

/** Every ship, by number. */
export async function ships(signal) {
  const all = [];
  let after = null;
  do {
    // oxlint-disable-next-line no-await-in-loop -- each answer tells where the next one begins
    const answer = await get("/ships", { limit: MANY_SHIPS, after }, signal);
    all.push(...answer.ships);
    after = answer.next;
  } while (after !== null);
  return all;
}

export async function readings(number, range, signal) {
  const answer = await get(`/ships/${number}/readings`, { ...between(range), limit: MORE_READINGS }, signal);
  return timed(answer.data).slice(-READINGS);
}

export async function forecast(ship, range, signal) {
  const answer = await get("/forecast", { spaceship_id: ship, ...between(range), detail: true }, signal);
  timed(answer.data);
  return answer;
}

export const deadLetters = (limit, signal) => get("/dead-letters", { limit }, signal);

/** Which checks hold, and some figures of the process; null where they are not for the outside. */
export async function health(signal) {
  const response = await request("/readyz", {}, signal);
  if (response.status === 404) return null;
  const { checks } = await response.json().catch(() => ({}));
  if (!checks) throw new ApiError(response.status, "The service does not say how its parts are.");
  const metrics = await request("/metrics", {}, signal);
  return { checks, figures: metrics.ok ? figures(await metrics.text()) : {} };
}

/** Read the figures without labels from Prometheus' text format. */
function figures(text) {
  const found = text.matchAll(/^(power_\w+) (\S+)$/gm);
  return Object.fromEntries([...found].map(([, name, value]) => [name, Number(value)]));
}
