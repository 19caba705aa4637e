// Client of the service's public API: the only module that knows its paths, parameters and errors.

const TOKEN = "power-api-token";
const MANY_SHIPS = 10_000;
export const READINGS = 200;
/** How many are requested, because a ship may send more often than its cadence. */
const MORE_READINGS = 5000;

/** An error of the API as one sentence. */
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

async function request(path, parameters, signal, { method = "GET", headers = {} } = {}) {
  const query = new URLSearchParams(Object.entries(parameters).filter(([, value]) => value !== null));
  const all = token.get() ? { ...headers, Authorization: `Bearer ${token.get()}` } : headers;
  try {
    return await fetch(query.size ? `${path}?${query}` : path, { method, headers: all, signal, cache: "no-cache" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "The service cannot be reached. The page shows the data loaded before.");
  }
}

async function refusal(response) {
  const problem = await response.json().catch(() => ({}));
  const faults = (problem.errors ?? []).map((each) => each.problem).join("; ");
  const detail = [problem.detail, faults].filter(Boolean).join(": ");
  const sentence = {
    401: token.get() ? "The access token is unknown to the service." : "The service needs an access token.",
    404: detail || "The service does not have this.",
    429: "Too many requests. The page will try again.",
    503: "The service cannot answer this now. The page will try again.",
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

/** Rows of a resolution, each with its start `at` in ms and the `seconds` of it in the range. */
async function rows(path, range, resolution, parameters, signal) {
  const answer = await get(path, { ...parameters, ...between(range), resolution, detail: true }, signal);
  return timed(answer.data).map((row) => Object.assign(row, { seconds: row.seconds ?? SLOT_S }));
}

/** Add to each row its timestamp in ms, as `at`. */
const timed = (data) => data.map((row) => Object.assign(row, { at: Date.parse(row.datetime) }));

export const fleet = (range, resolution, signal) => rows("/data/fleet", range, resolution, {}, signal);
export const slots = (ship, range, resolution, signal) =>
  rows("/data", range, resolution, { spaceship_id: ship }, signal);

export async function topShips(range, count, signal) {
  return (await get("/topusers", { count, ...between(range), detail: true }, signal)).ships;
}

/** All ships, by number. */
export async function ships(signal) {
  const all = [];
  let after = null;
  do {
    // oxlint-disable-next-line no-await-in-loop -- each answer tells where the next page begins
    const answer = await get("/ships", { limit: MANY_SHIPS, after }, signal);
    all.push(...answer.ships);
    after = answer.next;
  } while (after !== null);
  return all;
}

/** One ship; the error about a ship that is not listed says why. */
export const shipState = (number, signal) => get(`/ships/${number}`, {}, signal);

/** What looks wrong in a ship's newest readings, as sentences. */
export async function warnings(number, signal) {
  return (await shipState(number, signal)).warnings ?? [];
}

/** What was deleted of a ship: rows with their `start`, `end` and `sent_at` in ms, the newest deletion first. */
export async function deletions(number, signal) {
  const { data } = await get(`/ships/${number}/deletions`, {}, signal);
  const times = (row) => Object.fromEntries(Object.entries(row).map(([name, text]) => [name, Date.parse(text)]));
  return data.map((row) => times(row)).toSorted((one, other) => other.sent_at - one.sent_at || one.start - other.start);
}

/** The role of the access token; `admin` where the service requires none. */
export async function role(signal) {
  return (await get("/access", {}, signal)).role;
}

const NOT_NOW = "The service cannot delete now. Try again in a moment.";
const NOT_DELETED = {
  0: "The service cannot be reached, so it is not known whether it has deleted. Deleting again does no harm.",
  429: NOT_NOW,
  503: NOT_NOW,
};

/** Delete a ship's readings in a range; returns whether that is done, and will not only be done soon. */
export async function remove(ship, range) {
  const deletion = { method: "DELETE", headers: { Prefer: "wait=30" } };
  try {
    const response = await request("/data", { spaceship_id: ship, ...between(range) }, null, deletion);
    if (!response.ok) throw await refusal(response);
    return response.status === 201;
  } catch (error) {
    throw error.status in NOT_DELETED ? new ApiError(error.status, NOT_DELETED[error.status]) : error;
  }
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

/** How good the forecasts of the 30 days before a time were. */
export const accuracy = (ship, end, signal) =>
  get("/forecast/accuracy", { spaceship_id: ship, start: new Date(end).toISOString() }, signal);

export const deadLetters = (limit, signal) => get("/dead-letters", { limit }, signal);

/** Checks and metrics of the service; null where they are not public. */
export async function health(signal) {
  const response = await request("/readyz", {}, signal);
  if (response.status === 404) return null;
  const { checks } = await response.json().catch(() => ({}));
  if (!checks) throw new ApiError(response.status, "The service does not report the state of its parts.");
  const answer = await request("/metrics", {}, signal);
  return { checks, metrics: answer.ok ? parseMetrics(await answer.text()) : {} };
}

/** Parse metrics without labels from Prometheus' text format. */
function parseMetrics(text) {
  const found = text.matchAll(/^(power_\w+) (\S+)$/gm);
  return Object.fromEntries([...found].map(([, name, value]) => [name, Number(value)]));
}
