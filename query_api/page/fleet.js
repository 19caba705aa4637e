// The fleet: its tiles, its energy over time, and the ships that used most.

import { fleet, topShips } from "./api.js";
import { bars, draw, kind, hide, sure } from "./charts.js";
import { cell, fill, find, make, say, shipLink } from "./dom.js";
import { address, columnEnd, lasts, resolution } from "./range.js";
import { gaps, silent } from "./ships.js";
import { count, energy, exact, moment, share, whole } from "./words.js";

const TOP = 10;
/** In a large fleet some ship always has a gap: from this share on a column counts as whole. */
const KNOWN = 0.95;
const COLUMNS = [
  { title: "From (UTC)" },
  { title: "Energy, kWh", number: true },
  { title: "Average of a ship, kWh", number: true },
  { title: "Ships", number: true },
  { title: "Covered", number: true },
  { title: "State" },
];
const TILES = ["energy", "ships", "silent", "gaps", "letters", "pipeline"];

/** Show the fleet's energy in a range, and its total as a tile. */
export async function showFleet(section, range, signal) {
  const step = resolution(range);
  const columns = (await fleet(range, step.name, signal)).map((row) => column(row, step));
  const total = columns.reduce((sum, row) => sum + row.value, 0);
  say(find(".says", section), sentence(columns, total, step));
  const figures = (row) => [exact(row.value), exact(row.avg), whole(row.ships), share(row.share)];
  const cells = (row) => [moment(row.at), ...figures(row), row.kind];
  fill(section, "Energy of the fleet", COLUMNS, () => columns.map((row) => cells(row)));
  tile("energy", "Energy in this range", columns.length ? energy(total) : "–");
  if (!columns.length) return hide(section);
  return draw(section, (...how) => bars(columns, range, ...how));
}

function column(row, step) {
  const end = columnEnd(row.at, step);
  const known = row.covered_seconds / (row.ships * row.seconds);
  const estimated = row.estimated_seconds / row.covered_seconds;
  const of = kind({ provisional: row.provisional, known: known >= KNOWN, estimated: estimated > 1 - KNOWN });
  const says = `${moment(row.at)}: <b>${energy(row.sum)}</b>, ${of}<br>${count(row.ships, "ship")}, ${sure(known, estimated)}`;
  return { at: row.at, end, value: row.sum, avg: row.avg, ships: row.ships, share: known, kind: of, says };
}

function sentence(columns, total, step) {
  if (!columns.length) return "No readings in this range.";
  const ships = columns.map((row) => row.ships);
  const [fewest, most] = [Math.min(...ships), Math.max(...ships)];
  const best = columns.reduce((top, row) => (row.value > top.value ? row : top));
  const who = fewest === most ? count(most, "ship") : `${whole(fewest)} to ${count(most, "ship")}`;
  const peak = `maximum at ${moment(best.at)} (${energy(best.value)})`;
  return `${energy(total)} from ${who}, ${peak}. Each column is ${lasts(step)}.`;
}

/** Show the ships that used most in a range; returns the first. */
export async function showLeaders(section, range, signal) {
  const ships = await topShips(range, TOP, signal);
  const most = ships[0]?.consumption;
  say(find(".says", section), ships.length ? "The ships that used most in this range." : "No readings in this range.");
  find("tbody", section).replaceChildren(...ships.map((each) => leader(each, most)));
  find("table", section).hidden = !ships.length;
  return ships[0]?.spaceship_id ?? null;
}

function leader({ spaceship_id: ship, consumption, covered_share: known }, most) {
  const bar = make("span", { className: "bar" });
  bar.style.width = `${most > 0 ? Math.max(0, (100 * consumption) / most) : 0}%`;
  const name = make("th", { scope: "row" }, shipLink(ship, address({ ship })));
  const used = make("td", { className: "number barred" }, energy(consumption), bar);
  return make("tr", {}, name, used, cell(share(known), "number"));
}

/** Show the tiles about the list of ships. */
export function showTiles(ships) {
  const quiet = ships.filter((each) => silent(each)).length;
  const holed = ships.filter((each) => gaps(each)).length;
  tile("ships", "Ships", whole(ships.length));
  tile("silent", "Silent", whole(quiet), quiet ? "warn" : "good", quiet ? "see the table below" : "all ships report");
  tile("gaps", "With gaps", whole(holed), holed ? "warn" : "good", holed ? "in their readings" : "none");
}

/** Show one tile: its state is shown by a symbol and words as well as by colour. */
export function tile(id, title, value, state = "", words = "") {
  const tiles = find("#tiles");
  let node = find(`[data-tile="${id}"]`, tiles);
  if (!node) {
    node = make("div", { data: { tile: id } }, make("dt"), make("dd"), make("dd", { className: "quiet" }));
    const later = new Set(TILES.slice(TILES.indexOf(id) + 1));
    tiles.insertBefore(node, [...tiles.children].find((each) => later.has(each.dataset.tile)) ?? null);
  }
  const mark = { good: "✓ ", warn: "▲ ", bad: "✗ " }[state] ?? "";
  node.dataset.state = state;
  [title, `${mark}${value}`, words].forEach((text, i) => say(node.children[i], text));
}
