// What is behind the figures: messages that can never be stored, and whether the service's parts work.

import { ApiError, deadLetters, health } from "./api.js";
import { cell, find, make, say } from "./dom.js";
import { tile } from "./fleet.js";
import { count, length, moment, whole } from "./words.js";

const SHOWN = 20;
const CHECKS = {
  broker: ["Broker", "connected", "not connected: batches wait in the outbox"],
  outbox: ["Outbox", "takes batches", "does not take batches, or they wait too long"],
  store: ["Store", "answers", "does not answer"],
};

/** Show the newest dead letters. */
export async function showDeadLetters(section, signal) {
  const { dead_letters: letters, count: all } = await deadLetters(SHOWN, signal);
  const shown = all > letters.length ? `; here the newest ${letters.length}` : "";
  say(find(".says", section), all ? `${count(all, "dead letter")}${shown}.` : "None: every message could be stored.");
  find("tbody", section).replaceChildren(...letters.map((each) => line(each)));
  find(".scroll", section).hidden = !all;
  tile("letters", "Dead letters", whole(all), all ? "warn" : "good", all ? "could not be stored" : "none");
}

function line(letter) {
  const unsaid = letter.errors.filter((each) => !letter.reason.includes(each.problem));
  const faults = unsaid.slice(0, 3).map((each) => `${each.at} ${each.problem}`);
  const why = [letter.reason, faults.join("; ")].filter(Boolean).join(": ");
  const times = letter.times > 1 ? `, ${whole(letter.times)} times` : "";
  const more = `${moment(Date.parse(letter.last))}${times}; ${letter.id}, ${count(letter.bytes, "byte")}`;
  const name = make("th", { scope: "row" }, letter.topic, make("span", { className: "quiet block" }, more));
  return make("tr", {}, name, cell(why));
}

/** Show the checks, and what waits. */
export async function showHealth(section, signal) {
  const found = await health(signal).catch((error) => {
    if (error instanceof ApiError) unknown(section);
    throw error;
  });
  if (!found) {
    say(find(".says", section), "The service does not show this at its front door; its dashboards do.");
    return find("dl", section).replaceChildren();
  }
  const bad = Object.values(found.checks).filter((each) => !each).length;
  say(find(".says", section), bad ? "Something is wrong." : "All of it works.");
  const lines = [...Object.entries(found.checks).map((each) => check(each)), ...waiting(found.figures)];
  const names = Object.keys(found.checks).join(", ");
  tile("pipeline", "Pipeline", bad ? count(bad, "fault") : "works", bad ? "bad" : "good", names);
  return find("dl", section).replaceChildren(...lines);
}

/** Do not go on to say what held before. */
function unknown(section) {
  say(find(".says", section), "");
  find("dl", section).replaceChildren();
  tile("pipeline", "Pipeline", "not known", "warn");
}

/** A name and what holds for it. */
const pair = (name, value, state) => make("div", { data: { state } }, make("dt", {}, name), make("dd", {}, value));

function check([name, holds]) {
  const [title, good, bad] = CHECKS[name] ?? [name, "works", "does not work"];
  return pair(title, holds ? `✓ ${good}` : `✗ ${bad}`, holds ? "good" : "bad");
}

/** What there is of these figures: of a service that sends nothing on, or before the broker has told, there is none. */
function waiting(figures) {
  const [batches, oldest] = [figures.power_outbox_batches, figures.power_outbox_oldest_seconds];
  const [accepted, dropped] = [figures.power_ingest_batches_total, figures.power_broker_dropped_messages];
  const many = (n) => count(n, "batch", "batches");
  const waits = batches > 0 ? `${many(batches)}, the oldest for ${length(oldest || 0)}` : "nothing";
  return [
    batches >= 0 && pair("On their way to the store", waits, ""),
    accepted >= 0 && pair("Accepted over HTTP since the start", many(accepted), ""),
    dropped > 0 && pair("Dropped by the broker", `▲ ${count(dropped, "message")}`, "warn"),
  ].filter(Boolean);
}
