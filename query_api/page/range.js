// The time range shown. It is part of the page's address, so that it can be shared and bookmarked.

import { length } from "./words.js";

export const SLOT_MS = 900_000;
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const PRESETS_MS = { "24h": DAY_MS, "7d": 7 * DAY_MS, "30d": 30 * DAY_MS, "1y": 365 * DAY_MS, all: Infinity };
const DEFAULT = "7d";
/** Where the service's time ends. */
const END_MS = Date.UTC(2200, 0);
/** Column length by length of the range, so that columns in a chart stay distinguishable. */
const RESOLUTIONS = [
  ["15m", SLOT_MS, 2 * DAY_MS],
  ["1h", HOUR_MS, 15 * DAY_MS],
  ["1d", DAY_MS, 800 * DAY_MS],
  ["1mo", 30 * DAY_MS, Infinity],
];

/** Read the address: the ship, and a preset or from and to; `faults` tells what of it cannot be read, in a sentence. */
export function requested() {
  const query = new URLSearchParams(location.search);
  const { ship, fault } = requestedShip(query.get("ship"));
  const { fault: other, ...stretch } = query.has("from") || query.has("to") ? fromTo(query) : requestedPreset(query.get("range"));
  return { ship, preset: DEFAULT, ...stretch, faults: { ship: fault, range: other } };
}

const quoted = (text) => `“${text.length > 40 ? `${text.slice(0, 40)}…` : text}”`;

function requestedShip(text) {
  if (text === null) return { ship: null };
  const ship = /^\d{1,16}$/.test(text) ? Number(text) : Infinity;
  if (Number.isSafeInteger(ship)) return { ship };
  return { ship: null, fault: `${quoted(text)} is not a ship: its number is a whole one up to ${Number.MAX_SAFE_INTEGER}.` };
}

function requestedPreset(text) {
  if (text === null) return {};
  if (Object.hasOwn(PRESETS_MS, text)) return { preset: text };
  return { fault: `${quoted(text)} is not a range: there are ${Object.keys(PRESETS_MS).join(", ")}, or from and to.` };
}

function fromTo(query) {
  const times = ["from", "to"].map((name) => [name, query.get(name) ?? "", time(query.get(name) ?? "")]);
  const bad = times.find(([, , ms]) => Number.isNaN(ms));
  if (bad) return { fault: `The range cannot be read: “${bad[0]}” should be a time such as 2019-01-05T04:30Z, not ${quoted(bad[1])}.` };
  const [from, to] = times.map(([, , ms]) => ms);
  if (from < 0 || to > END_MS) return { fault: "The range is not within 1970 to 2199." };
  return from < to ? { from: floor(from), to: floor(to + SLOT_MS - 1), preset: null } : { fault: BACKWARDS };
}

export const BACKWARDS = "The range ends before it begins.";
const TIME = /^(\d{4}-\d\d-\d\d)(T\d\d:\d\d(?::\d\d(?:\.\d+)?)?)?(Z|[-+ ]\d\d:?\d\d)?$/i;

/** Read a time in ms, or NaN. Without an offset it is in UTC; the `+` of an offset may have become a blank. */
function time(text) {
  const [, date, clock = "T00:00", zone = "Z"] = TIME.exec(text) ?? [];
  // Date.parse takes the 30th of February.
  if (!new Date(`${date}T00:00Z`).toJSON()?.startsWith(date)) return NaN;
  return Date.parse(`${date}${clock}${zone.replace(" ", "+")}`);
}

/** Return the page's address with some parameters changed. */
export function address(change) {
  const { ship, preset, from, to } = { ...requested(), ...change };
  const query = new URLSearchParams();
  if (ship !== null) query.set("ship", ship);
  const stretch = preset ? { range: preset } : { from: short(from), to: short(to) };
  for (const [name, value] of Object.entries(stretch)) query.set(name, value);
  return `${location.pathname}?${query}`;
}

/** A ship's last reading up to now; if all are later, from a wrong clock, the newest. */
export const newest = (ship) => Date.parse(ship.last_reading ?? ship.ahead);

/** Start and end of the fleet's data, from the list of ships. */
export function extent(ships) {
  const firsts = ships.map((each) => Date.parse(each.first_reading));
  const sane = ships.filter((each) => each.last_reading !== null);
  const end = max((sane.length ? sane : ships).map((each) => newest(each)));
  return { start: floor(-max(firsts.map((each) => -each))), end: floor(end) + SLOT_MS };
}

// Not Math.max(...all): the number of arguments of a call is limited to some ten thousand.
const max = (all) => all.reduce((most, each) => Math.max(most, each), -Infinity);

/** The requested range in ms. A preset ends with the fleet's newest slot and begins at the start of a column. */
export function range({ preset, from, to }, { start, end }) {
  if (!preset) return { start: from, end: to };
  const first = Math.max(end - PRESETS_MS[preset], Math.min(start, end - SLOT_MS));
  return { start: columnStart(first, resolution({ start: first, end })), end };
}

/** The length of a chart's column: `{name, ms}`. */
export function resolution({ start, end }) {
  const [name, ms] = RESOLUTIONS.find(([, , most]) => end - start <= most);
  return { name, ms };
}

function columnStart(at, { name, ms }) {
  const day = new Date(at);
  return name === "1mo" ? Date.UTC(day.getUTCFullYear(), day.getUTCMonth()) : Math.floor(at / ms) * ms;
}

/** The length of a column in words. */
export const lasts = ({ name, ms }) => (name === "1mo" ? "1 month" : length(ms / 1000));

/** The end of a column; months differ in length. */
export function columnEnd(at, { name, ms }) {
  const day = new Date(at);
  return name === "1mo" ? Date.UTC(day.getUTCFullYear(), day.getUTCMonth() + 1) : at + ms;
}

export const floor = (ms) => Math.floor(ms / SLOT_MS) * SLOT_MS;
export const short = (ms) => `${new Date(ms).toISOString().slice(0, 16)}Z`;
