// Which stretch of time is looked at: the address bar has it, so that it can be shared and gone back to.

import { length } from "./words.js";

export const SLOT_MS = 900_000;
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const PRESETS_MS = { "24h": DAY_MS, "7d": 7 * DAY_MS, "30d": 30 * DAY_MS, "1y": 365 * DAY_MS, all: Infinity };
const DEFAULT = "7d";
/** Columns in a chart that can still be told apart; hence the length of one. */
const RESOLUTIONS = [
  ["15m", SLOT_MS, 2 * DAY_MS],
  ["1h", HOUR_MS, 15 * DAY_MS],
  ["1d", DAY_MS, 800 * DAY_MS],
  ["1mo", 30 * DAY_MS, Infinity],
];

/** Read the address bar: the ship, and a preset or from and to. */
export function asked() {
  const query = new URLSearchParams(location.search);
  const ship = /^\d{1,16}$/.test(query.get("ship") ?? "") ? Number(query.get("ship")) : null;
  const [from, to] = ["from", "to"].map((name) => Date.parse(query.get(name) ?? ""));
  if (from < to) return { ship, from: floor(from), to: floor(to + SLOT_MS - 1), preset: null };
  return { ship, preset: query.get("range") in PRESETS_MS ? query.get("range") : DEFAULT };
}

/** Give the address of the page with some of what is asked changed. */
export function address(change) {
  const { ship, preset, from, to } = { ...asked(), ...change };
  const query = new URLSearchParams();
  if (ship !== null) query.set("ship", ship);
  const stretch = preset ? { range: preset } : { from: short(from), to: short(to) };
  for (const [name, value] of Object.entries(stretch)) query.set(name, value);
  return `${location.pathname}?${query}`;
}

/** A ship's last reading up to now; of a ship that has later ones only, by a wrong clock, the newest of these. */
export const newest = (ship) => Date.parse(ship.last_reading ?? ship.ahead);

/** Where the fleet's data begin and end, by its list of ships. */
export function extent(ships) {
  const firsts = ships.map((each) => Date.parse(each.first_reading));
  const sane = ships.filter((each) => each.last_reading !== null);
  const end = max((sane.length ? sane : ships).map((each) => newest(each)));
  return { start: floor(-max(firsts.map((each) => -each))), end: floor(end) + SLOT_MS };
}

// Not Math.max(...all): a call has room for some tens of thousands of arguments only.
const max = (all) => all.reduce((most, each) => Math.max(most, each), -Infinity);

/** The range in ms that is asked for: a preset ends with the fleet's newest slot, and begins with a whole column. */
export function range({ preset, from, to }, { start, end }) {
  if (!preset) return { start: from, end: to };
  const first = Math.max(end - PRESETS_MS[preset], Math.min(start, end - SLOT_MS));
  return { start: columnStart(first, resolution({ start: first, end })), end };
}

/** How long a column of a chart is: `{name, ms}`. */
export function resolution({ start, end }) {
  const [name, ms] = RESOLUTIONS.find(([, , most]) => end - start <= most);
  return { name, ms };
}

function columnStart(at, { name, ms }) {
  const day = new Date(at);
  return name === "1mo" ? Date.UTC(day.getUTCFullYear(), day.getUTCMonth()) : Math.floor(at / ms) * ms;
}

/** How long a column is, in words. */
export const lasts = ({ name, ms }) => (name === "1mo" ? "1 month" : length(ms / 1000));

/** The end of a column: months are of different lengths. */
export function columnEnd(at, { name, ms }) {
  const day = new Date(at);
  return name === "1mo" ? Date.UTC(day.getUTCFullYear(), day.getUTCMonth() + 1) : at + ms;
}

export const floor = (ms) => Math.floor(ms / SLOT_MS) * SLOT_MS;
export const short = (ms) => `${new Date(ms).toISOString().slice(0, 16)}Z`;
