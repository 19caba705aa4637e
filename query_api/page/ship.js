// One ship: its slots, its forecast with an interval, and its raw readings.

import { READINGS, accuracy, forecast, readings, slots, warnings } from "./api.js";
import { bars, draw, kind, hide, sure } from "./charts.js";
import { fill, find, make, say } from "./dom.js";
import { SLOT_MS, address, columnEnd, floor, lasts, newest, resolution } from "./range.js";
import { lastReading, words } from "./ships.js";
import { count, energy, exact, length, moment, share, whole } from "./words.js";

const DAY_MS = 86_400_000;
const QUARTER = { name: "15m", ms: SLOT_MS };

/** Show the state of a ship. */
export function showFacts(node, ship) {
  const facts = {
    State: words(ship),
    "First reading": moment(Date.parse(ship.first_reading)),
    "Last reading": lastReading(ship),
    "One reading every": length(ship.cadence),
    "Last 24 h": energy(ship.energy_24h),
    "Last 30 days": energy(ship.energy_30d),
    "Complete slots": share(ship.whole_share),
  };
  const pair = ([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value));
  node.replaceChildren(...Object.entries(facts).map((each) => pair(each)));
}

/** Show what looks wrong in a ship's newest readings. */
export async function showWarnings(node, ship, signal) {
  const found = await warnings(ship.spaceship_id, signal);
  const sentences = found.map((text) => text.charAt(0).toUpperCase() + text.slice(1));
  say(node, sentences.join(" "));
  node.hidden = !found.length;
}

const SLOT_COLUMNS = [
  { title: "From (UTC)" },
  { title: "Energy, kWh", number: true },
  { title: "Covered", number: true },
  { title: "State" },
];
const PATH_COLUMNS = [
  { title: "From (UTC)" },
  { title: "Expected, kWh", number: true },
  { title: "Lower", number: true },
  { title: "Upper", number: true },
];
const DAY_COLUMNS = [
  { title: "Day (UTC)" },
  { title: "Energy, kWh", number: true },
  { title: "Expected", number: true },
  { title: "Lower", number: true },
  { title: "Upper", number: true },
];
const READING_COLUMNS = [
  { title: "Timestamp (UTC)" },
  { title: "Value", number: true },
  { title: "Unit" },
  { title: "Kind" },
  { title: "Sent (UTC)" },
];
/** The words for a reading's kind, or for its unit where that tells the kind. */
const KINDS = {
  kW: "held power",
  kWh: "energy",
  line: "line",
  mean: "mean power",
  energy_end: "energy at its end",
  counter: "counter",
  unknown: "unknown",
};

/** Show a ship's energy in a range, and how complete it is. */
export async function showSlots(section, ship, range, signal) {
  const step = resolution(range);
  const columns = (await slots(ship.spaceship_id, range, step.name, signal)).map((row) => column(row, step));
  say(find(".says", section), sentence(columns, ship, range, step));
  const cells = (row) => [moment(row.at), exact(row.value), share(row.share), row.kind];
  fill(section, "Energy of the ship", SLOT_COLUMNS, () => columns.map((row) => cells(row)));
  linkToReadings(find(".elsewhere", section), columns.length > 0, ship);
  if (!columns.length) return hide(section);
  return draw(section, (...how) => bars(columns, range, ...how));
}

/** If the range has no readings of the ship, link to the range that has. */
function linkToReadings(node, found, ship) {
  const [from, last] = [Date.parse(ship.first_reading), newest(ship)].map((each) => floor(each));
  // The newest reading covers about as much time as the ones before it.
  const to = floor(last + Math.min((ship.cadence ?? 0) * 1000, DAY_MS)) + SLOT_MS;
  find("a", node).href = address({ ship: ship.spaceship_id, preset: null, from, to });
  node.hidden = found;
}

function column(row, step) {
  const end = columnEnd(row.at, step);
  const known = row.covered_seconds / row.seconds;
  const estimated = row.estimated_seconds / row.covered_seconds;
  const of = kind({ provisional: row.provisional, known: known >= 1, estimated: estimated > 0 });
  const says = `${moment(row.at)}: <b>${energy(row.value)}</b>, ${of}<br>${sure(known, estimated)}`;
  return { at: row.at, end, value: row.value, share: known, kind: of, says };
}

function sentence(columns, ship, range, step) {
  const [first, last] = [Date.parse(ship.first_reading), newest(ship)];
  if (!columns.length) return `No readings in this range: the ship has readings from ${moment(first)} to ${moment(last)}.`;
  const total = columns.reduce((sum, row) => sum + row.value, 0);
  const of = (name) => [columns.filter((row) => row.kind === name).length, name];
  const [start, end] = [Math.max(range.start, floor(first)), Math.min(range.end, floor(last) + SLOT_MS)];
  const all = step.name === "1mo" ? 0 : Math.ceil(end / step.ms) - Math.floor(start / step.ms);
  const kinds = [of("whole"), of("estimated"), of("partly covered"), of("provisional"), [all - columns.length, "missing"]];
  const parts = kinds.filter(([n]) => n > 0).map(([n, name]) => `${whole(n)} ${name}`);
  return `${energy(total)} in ${count(columns.length, "column")} of ${lasts(step)}: ${parts.join(", ")}.`;
}

const forecastStart = (ship, range) => Math.min(range.end, floor(newest(ship)));

/** Show the forecast of the 24 hours after the range or the ship's last reading, beside the real energy. */
export async function showForecast(section, ship, range, signal) {
  const start = forecastStart(ship, range);
  if (start - Date.parse(ship.first_reading) < DAY_MS) {
    say(find(".says", section), "A forecast needs at least a day of readings before it.");
    return hide(section);
  }
  const window = { start, end: start + DAY_MS };
  const [expected, known] = await Promise.all([
    forecast(ship.spaceship_id, window, signal),
    slots(ship.spaceship_id, { start: start - DAY_MS, end: window.end }, QUARTER.name, signal),
  ]);
  const path = expected.data;
  const between = `${energy(expected.lower)} and ${energy(expected.upper)}`;
  const from = `Model ${expected.model}, trained on ${count(expected.trained_on.slots, "slot")}`;
  say(find(".says", section), `${energy(expected.expected_consumption)} expected from ${moment(start)} on; ` +
    `90 % interval: ${between}. ${from}.`);
  const cells = (row) => [moment(row.at), exact(row.value), exact(row.lower), exact(row.upper)];
  fill(section, "Expected energy", PATH_COLUMNS, () => path.map((row) => cells(row)));
  const traces = (colours) => [...band(path, colours), actual(known, colours)];
  return draw(section, (colours) => ({ title: "kWh per slot", traces: traces(colours) }));
}

/** Show how good the forecasts of the 30 days before the end of the range were. */
export async function showAccuracy(section, ship, range, signal) {
  const { days, wape, coverage, data } = await accuracy(ship.spaceship_id, forecastStart(ship, range), signal);
  const inside = `${whole(Math.round(coverage * days))} of ${count(days, "day")} within the 90 % interval`;
  const none = "None of the last 30 days is known and has a day of readings before it.";
  say(find(".says", section), days ? `Mean error ${share(wape)} of the energy; ${inside}.` : none);
  const cells = (row) => [row.datetime.slice(0, 10), exact(row.value), exact(row.expected_consumption),
    exact(row.lower), exact(row.upper)];
  fill(section, "Days, and what was expected of them", DAY_COLUMNS, () => data.toReversed().map((row) => cells(row)));
  find("details", section).hidden = !days;
}

const dates = (rows) => rows.map((row) => new Date(row.at));

function curve(name, rows, what, more) {
  const y = rows.map((row) => row[what]);
  return { type: "scatter", mode: "lines", name, x: dates(rows), y, hovertemplate: "%{y:,.4~g} kWh", ...more };
}

function actual(rows, colours) {
  const covered = rows.filter((row) => row.covered_seconds === row.seconds);
  return curve("known", covered, "value", { line: { color: colours("whole"), width: 2, shape: "hv" } });
}

function band(path, colours) {
  const edge = { color: colours("partly"), width: 1, dash: "dot" };
  return [
    curve("most", path, "upper", { line: edge, showlegend: false }),
    curve("90 % interval", path, "lower", { line: edge, fill: "tonexty", fillcolor: colours("band") }),
    curve("expected", path, "value", { line: { color: colours("partly"), width: 2, dash: "dash" } }),
  ];
}

/** Show a ship's newest readings up to the end of a range. */
export async function showReadings(section, ship, range, signal) {
  const end = Math.min(range.end, newest(ship) + 1000);
  const about = READINGS * (ship.cadence ?? DAY_MS / 1000) * 1000;
  const start = Math.max(end - about, Math.min(range.start, end));
  const found = await readings(ship.spaceship_id, { start, end }, signal);
  fill(section, "Readings, the newest first", READING_COLUMNS, () => found.toReversed().map((row) => readingCells(row)));
  if (!found.length) {
    say(find(".says", section), "No readings in this range.");
    return hide(section);
  }
  const [first, last] = [found[0], found.at(-1)].map(({ at }) => moment(at));
  const many = `The newest ${whole(found.length)} readings of this range, from ${first} to ${last}.`;
  say(find(".says", section), found.length > 1 ? many : `1 reading, of ${first}.`);
  const known = found.filter((row) => row.value !== null);
  const units = [...new Set(known.map((row) => row.units))].join(", ");
  return draw(section, (colours) => ({ title: units, traces: points(known, colours) }));
}

const plain = (text) => text.replace("T", " ").replace("Z", "");

function readingCells(row) {
  const value = row.value === null ? ["–", "–"] : [exact(row.value), row.units];
  return [plain(row.datetime), ...value, KINDS[row.kind ?? row.units], plain(row.sent_at)];
}

const MARKS = { kW: ["whole", "circle"], kWh: ["partly", "diamond"] };

function points(rows, colours) {
  return Object.entries(MARKS).map(([unit, [name, symbol]]) => {
    const own = rows.filter((row) => row.units === unit);
    const marker = { color: colours(name), symbol, size: 6 };
    const y = own.map((row) => row.value);
    const hovertemplate = `%{y:,.6~g} ${unit}`;
    return { type: "scatter", mode: "markers", name: unit, x: dates(own), y, marker, hovertemplate };
  }).filter(({ x }) => x.length);
}
