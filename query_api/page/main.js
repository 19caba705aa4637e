// Entry point: loads the data, refreshes it, and passes each answer to the part of the page that shows it.

import { ApiError, shipState, ships as allShips, token } from "./api.js";
import { showDeadLetters, showHealth } from "./behind.js";
import { clear, hideIfEmpty, redraw } from "./charts.js";
import { find, say } from "./dom.js";
import { prepareDeletion, showDeletions } from "./deletions.js";
import { showFleet, showLeaders, showTiles, tile } from "./fleet.js";
import { BACKWARDS, address, requested, extent, range as rangeOf, short } from "./range.js";
import { showAccuracy, showFacts, showForecast, showReadings, showSlots, showWarnings } from "./ship.js";
import { prepare, showShips } from "./ships.js";
import { clock, moment } from "./words.js";

const OLD_MS = 2 * 3_600_000;
const DENIED = new Set([401, 403]);
const PARTS = ["#slots", "#forecast", "#readings", "#accuracy", "#deletions"];
const IN_RANGE = ["#in-range", "#ship"];
let running = null;
let timer = null;
/** The ship that the page shows. */
let shown = null;

/** Load one part of the page; an error is shown in it as a sentence, above its previous content. */
async function part(selector, work) {
  const section = find(selector);
  const problem = find(":scope > .problem", section);
  section.ariaBusy = "true";
  try {
    const answer = await work(section);
    problem.hidden = true;
    return answer;
  } catch (error) {
    if (error.name === "AbortError" || DENIED.has(error.status)) throw error;
    say(problem, error.message);
    problem.hidden = false;
    hideIfEmpty(section);
    if (!(error instanceof ApiError)) console.error(error);
    return null;
  } finally {
    section.ariaBusy = "false";
  }
}

/** Load everything again; a later call cancels one in progress. */
async function refresh({ announced = false } = {}) {
  running?.abort();
  const turn = (running = new AbortController());
  clearTimeout(timer);
  try {
    await loadAll(turn.signal);
    find("#door").hidden = true;
    find("#trouble").hidden = true;
    say(find("#updated"), `Updated ${clock(Date.now())} UTC`);
    if (announced && find("#range-problem").hidden) say(find("#announce"), `Shown: ${find("#range-note").textContent}`);
  } catch (error) {
    if (error.name === "AbortError") return;
    fail(error);
  } finally {
    if (running === turn) scheduleRefresh();
  }
}

function fail(error) {
  if (DENIED.has(error.status)) return askForToken(error);
  const trouble = find("#trouble");
  say(trouble, error.message);
  trouble.hidden = false;
  if (!(error instanceof ApiError)) console.error(error);
}

function scheduleRefresh() {
  clearTimeout(timer);
  const seconds = Number(find("#every").value);
  if (seconds && !document.hidden && find("#door").hidden) timer = setTimeout(refresh, seconds * 1000);
}

async function loadAll(signal) {
  const behind = Promise.all([
    part("#dead", (node) => showDeadLetters(node, signal)),
    part("#health", (node) => showHealth(node, signal)),
  ]);
  // It is awaited below; until then an error must not count as unhandled.
  behind.catch(() => {});
  const ships = await allShips(signal);
  find("#behind").hidden = false;
  find("#empty").hidden = ships.length > 0;
  find("#fleet-view").hidden = ships.length === 0;
  if (!ships.length) {
    showFirstSteps();
    await behind;
    return;
  }
  const now = Date.now();
  const bounds = extent(ships);
  const { ship, faults, ...asked } = requested();
  showTiles(ships);
  showShips(find("#ships"), ships);
  showFault(faults.range);
  if (faults.range) {
    await behind;
    return;
  }
  const range = rangeOf(asked, bounds);
  showRange(range, bounds, now);
  const leaders = part("#leaders", (node) => showLeaders(node, range, signal));
  await Promise.all([
    behind,
    leaders,
    part("#fleet", (node) => showFleet(node, range, signal)),
    part("#ship", async () => {
      if (faults.ship) refuseShip(faults.ship);
      await showShip(ships, ship ?? (await leaders) ?? ships[0].spaceship_id, range, signal);
    }),
  ]);
}

/** Say that the range in the address cannot be read, and show no other range. */
function showFault(fault) {
  const problem = find("#range-problem");
  problem.hidden = !fault;
  for (const each of IN_RANGE) find(each).hidden = Boolean(fault);
  if (!fault) return;
  say(problem, fault);
  say(find("#range-note"), "");
  tile("energy", "Energy in this range", "–");
  for (const button of document.querySelectorAll("[data-range]")) button.ariaPressed = "false";
}

async function showShip(ships, number, range, signal) {
  const ship = ships.find((each) => each.spaceship_id === number);
  nameShip(number);
  showParts(ship);
  const deleted = part("#deletions", (node) => showDeletions(node, number, ship, range, signal));
  if (!ship) {
    await deleted;
    await shipState(number, signal);
    return;  // it has energy by now, and is listed after the next refresh
  }
  showFacts(find("#facts"), ship);
  const parts = { "#slots": showSlots, "#forecast": showForecast, "#readings": showReadings, "#accuracy": showAccuracy };
  const shows = Object.entries(parts).map(([id, show]) => part(id, (node) => show(node, ship, range, signal)));
  await Promise.all([deleted, showWarnings(find("#warnings"), ship, signal), ...shows]);
}

function showParts(ship) {
  for (const each of ["#facts", ...PARTS]) find(each).hidden = !ship;
  if (!ship) find("#warnings").hidden = true;
}

/** Say that the ship in the address cannot be read, and show no other ship. */
function refuseShip(fault) {
  nameShip(null);
  showParts(null);
  throw new ApiError(0, fault);
}

/** Show the ship's number, and remove the content of another ship. */
function nameShip(number) {
  const name = number === null ? "Ship" : `Ship ${number}`;
  say(find("#ship-title"), name);
  document.title = `${name} · Spaceship Power Service`;
  if (shown === number) return;
  shown = number;
  find("#facts").replaceChildren();
  find(".elsewhere").hidden = true;
  for (const each of PARTS) blank(find(each));
  for (const each of ["#warnings", "#delete-done"]) find(each).hidden = true;
}

function blank(section) {
  if (find(".chart", section)) clear(section);
  say(find(".says", section), "");
  find("details", section).hidden = true;
  find(".problem", section).hidden = true;
}

function showRange(range, bounds, now) {
  const { preset } = requested();
  for (const button of document.querySelectorAll("[data-range]")) {
    button.ariaPressed = String(button.dataset.range === preset);
  }
  for (const [name, ms] of [["from", range.start], ["to", range.end]]) {
    const input = find(`#${name}`);
    if (document.activeElement !== input) input.value = short(ms).slice(0, 16);
  }
  const old = preset && now - bounds.end > OLD_MS ? " It ends with the newest reading of the fleet, not now." : "";
  say(find("#range-note"), `${moment(range.start)} to ${moment(range.end)} UTC.${old}`);
}

function showFirstSteps() {
  const reading = `"units": "kW", "data": [{"datetime": "${short(Date.now())}", "value": 1302}]}`;
  const header = token.get() ? ["-H 'Authorization: Bearer <a token that may send>'"] : [];
  const lines = [`curl ${location.origin}/data -H 'Content-Type: application/json'`, ...header];
  say(find("#by-http"), [...lines, `-d '{"spaceship_id": 42, ${reading}'`].join(" \\\n  "));
  say(find("#by-mqtt"), `mosquitto_pub -h ${location.hostname} -p 1883 -q 1 -t ships/7/readings \\\n  -m '{${reading}'`);
}

function askForToken(error) {
  find("#door").hidden = false;
  for (const each of ["#fleet-view", "#behind", "#empty", "#trouble"]) find(each).hidden = true;
  const known = token.get();
  say(find("#door-why"), known || error.status === 403 ? error.message : "Its data can be read with an access token only.");
  find("#forget").hidden = !known;
  find("#token").focus();
}

function go(change) {
  history.pushState(null, "", address(change));
  refresh({ announced: true });
}

/** Choose a ship. */
function choose(ship) {
  go({ ship });
  nameShip(ship);
  find("#ship-title").focus({ preventScroll: true });
  find("#ship").scrollIntoView();
}

function listen() {
  document.addEventListener("click", (event) => {
    const plain = event.button === 0 && !event.ctrlKey && !event.metaKey && !event.shiftKey;
    const link = event.target.closest?.("a[data-ship]");
    if (!link || !plain) return;
    event.preventDefault();
    choose(Number(link.dataset.ship));
  });
  for (const button of document.querySelectorAll("[data-range]")) {
    button.addEventListener("click", () => go({ preset: button.dataset.range }));
  }
  submit("#range", () => {
    const [from, to] = ["#from", "#to"].map((each) => Date.parse(`${find(each).value}Z`));
    if (from < to) go({ preset: null, from, to });
    else say(find("#range-note"), BACKWARDS);
  });
  submit("#choose", () => choose(Number(find("#number").value)));
  submit("#door-form", () => {
    token.set(find("#token").value.trim());
    find("#token").value = "";
    find("#forget").hidden = false;
    refresh({ announced: true });
  });
  find("#forget").addEventListener("click", () => {
    token.forget();
    location.reload();
  });
  prepareDeletion((sentence) => {
    say(find("#delete-done"), sentence);
    find("#delete-done").hidden = false;
    refresh();
  });
  find("#every").addEventListener("change", scheduleRefresh);
  find("#theme").addEventListener("change", ({ target }) => {
    localStorage.setItem("theme", target.value);
    document.documentElement.dataset.theme = target.value;
    redraw();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  globalThis.addEventListener("popstate", () => refresh({ announced: true }));
  document.addEventListener("visibilitychange", () => document.hidden || refresh());
}

function submit(selector, work) {
  find(selector).addEventListener("submit", (event) => {
    event.preventDefault();
    work();
  });
}

find("#theme").value = document.documentElement.dataset.theme;
find("#forget").hidden = !token.get();
prepare(find("#ships"));
listen();
refresh();
