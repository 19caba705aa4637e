// The table of ships with their states. It is sorted, filtered and paged in the browser.

import { cell, find, make, say, shipLink } from "./dom.js";
import { address } from "./range.js";
import { count, energy, length, moment, share, whole } from "./words.js";

const ROWS = 15;
const SILENT_CADENCES = 3;
const SILENT_LEAST_S = 900;
/** Assumed for a ship with one reading only. */
const UNKNOWN_CADENCE_S = 8 * 3600;
const WHOLE_SHARE = 0.95;
const BADNESS = { silent: 0, gaps: 1, reporting: 2 };

export const silent = (ship) => ship.silent_for === null || ship.silent_for > Math.max(SILENT_CADENCES * (ship.cadence ?? UNKNOWN_CADENCE_S), SILENT_LEAST_S);
export const gaps = (ship) => ship.whole_share !== null && ship.whole_share < WHOLE_SHARE;

const state = (ship) => (silent(ship) ? "silent" : gaps(ship) ? "gaps" : "reporting");
/** `down`: sorted in descending order at first. */
const COLUMNS = [
  { title: "Ship", key: (ship) => ship.spaceship_id },
  { title: "State", key: (ship) => BADNESS[state(ship)] },
  { title: "Last reading", key: (ship) => Date.parse(ship.last_reading ?? 0), down: true },
  { title: "Cadence", key: (ship) => ship.cadence ?? Infinity, number: true },
  { title: "Last 24 h", key: (ship) => ship.energy_24h ?? -Infinity, number: true, down: true },
  { title: "Last 30 days", key: (ship) => ship.energy_30d ?? -Infinity, number: true, down: true },
  { title: "Complete", key: (ship) => ship.whole_share ?? 0, number: true },
];
const view = { ships: [], sort: 1, down: false, page: 0 };

/** Create the table's head, and handle sorting, filtering and paging. */
export function prepare(section) {
  const heads = COLUMNS.map(({ title, number }, i) => {
    const button = make("button", { type: "button", onclick: () => sortBy(section, i) }, title);
    return make("th", { scope: "col", className: number ? "number" : "" }, button);
  });
  find("thead tr", section).replaceChildren(...heads);
  find("form", section).addEventListener("input", () => turnTo(section, 0));
  find("form", section).addEventListener("submit", (event) => event.preventDefault());
  for (const button of section.querySelectorAll("[data-step]")) {
    button.addEventListener("click", () => turnTo(section, view.page + Number(button.dataset.step)));
  }
}

/** Show a list of ships. */
export function showShips(section, ships) {
  view.ships = ships;
  show(section);
}

function sortBy(section, column) {
  view.down = view.sort === column ? !view.down : (COLUMNS[column].down ?? false);
  view.sort = column;
  turnTo(section, 0);
}

function turnTo(section, page) {
  view.page = page;
  show(section);
}

function show(section) {
  const found = wanted(section);
  const pages = Math.max(1, Math.ceil(found.length / ROWS));
  view.page = Math.max(0, Math.min(view.page, pages - 1));
  const first = view.page * ROWS;
  const lines = found.slice(first, first + ROWS);
  say(find(".says", section), sentence(found, first, lines.length));
  keepFocus(find("tbody", section), lines.map((ship) => line(ship)));
  find("thead", section).querySelectorAll("th").forEach((head, i) => {
    if (i === view.sort) head.ariaSort = view.down ? "descending" : "ascending";
    else head.removeAttribute("aria-sort");
  });
  const [back, on] = section.querySelectorAll("[data-step]");
  [back.disabled, on.disabled] = [view.page === 0, view.page === pages - 1];
  say(find(".pages span", section), `Page ${view.page + 1} of ${pages}`);
}

function wanted(section) {
  const [number, kind] = [find("#wanted", section).value.trim(), find("#state", section).value];
  const { key } = COLUMNS[view.sort];
  const way = view.down ? -1 : 1;
  return view.ships
    .filter((ship) => String(ship.spaceship_id).startsWith(number) && is(ship, kind))
    .map((ship) => [key(ship), ship])
    .toSorted(([a, one], [b, other]) => way * (a > b) - way * (a < b) || one.spaceship_id - other.spaceship_id)
    .map(([, ship]) => ship);
}

/** A silent ship may have gaps as well. */
const is = (ship, kind) => !kind || kind === state(ship) || (kind === "gaps" && gaps(ship));

function sentence(found, first, shown) {
  if (!found.length) return "No ship matches.";
  const some = found.length === view.ships.length ? "" : `${whole(found.length)} of `;
  const all = `${some}${count(view.ships.length, "ship")}`;
  return shown === found.length ? `${all}.` : `${all}, ${whole(first + 1)} to ${whole(first + shown)} shown.`;
}

function line(ship) {
  const name = make("th", { scope: "row" }, shipLink(ship.spaceship_id, address({ ship: ship.spaceship_id })));
  const badge = make("span", { className: "badge", data: { state: state(ship) } }, words(ship));
  const cells = [cell(badge), cell(lastReading(ship), "when")];
  const numbers = [length(ship.cadence), energy(ship.energy_24h), energy(ship.energy_30d), share(ship.whole_share)];
  return make("tr", {}, name, ...cells, ...numbers.map((text) => cell(text, "number")));
}

/** A ship's last reading up to now as text. */
export const lastReading = (ship) => moment(ship.last_reading && Date.parse(ship.last_reading));

/** A ship's state as text. */
export function words(ship) {
  const since = ship.silent_for === null ? "until now" : `for ${length(ship.silent_for)}`;
  const ahead = ship.ahead !== null && `▶ clock ahead: ${moment(Date.parse(ship.ahead))}`;
  const said = [silent(ship) && `▲ silent ${since}`, gaps(ship) && "◪ gaps", ahead];
  return said.filter(Boolean).join(", ") || "✓ reporting";
}

/** Replace rows, and keep the keyboard focus. */
function keepFocus(body, rows) {
  const ship = body.contains(document.activeElement) ? document.activeElement.dataset.ship : null;
  body.replaceChildren(...rows);
  if (ship) find(`[data-ship="${ship}"]`, body)?.focus({ preventScroll: true });
}
