// Dead letters, and the health of the service's parts.

import { ApiError, deadLetters, health } from "./api.js";
import { cell, find, make, say } from "./dom.js";
import { tile } from "./fleet.js";
import { count, length, moment, whole } from "./words.js";

const SHOWN = 20;
const CHECKS = {
  broker: ["Broker", "connected", "not connected: batches wait in the outbox"],
  outbox: ["Outbox", "accepts batches", "does not accept batches, or they wait too long"],
  store: ["Store", "answers", "does not answer"],
};

/** Show the newest dead letters. */
export async function showDeadLetters(section, signal) {
  const { dead_letters: letters, count: all } = await deadLetters(SHOWN, signal);
  const shown = all > letters.length ? `; the newest ${letters.length} are shown` : "";
  say(find(".says", section), all ? `${count(all, "dead letter")}${shown}.` : "None: all messages could be stored.");
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

/** Show the checks, and the batches that wait. */
export async function showHealth(section, signal) {
  const found = await health(signal).catch((error) => {
    if (error instanceof ApiError) unknown(section);
    throw error;
  });
  if (!found) {
    say(find(".says", section), "Not available here; see the dashboards of the service.");
    return find("dl", section).replaceChildren();
  }
  const bad = Object.values(found.checks).filter((each) => !each).length;
  say(find(".says", section), bad ? "At least one check fails." : "All checks pass.");
  const lines = [...Object.entries(found.checks).map((each) => check(each)), ...waiting(found.metrics)];
  const names = Object.keys(found.checks).join(", ");
  tile("pipeline", "Pipeline", bad ? count(bad, "fault") : "works", bad ? "bad" : "good", names);
  return find("dl", section).replaceChildren(...lines);
}

/** Remove the previous state. */
function unknown(section) {
  say(find(".says", section), "");
  find("dl", section).replaceChildren();
  tile("pipeline", "Pipeline", "not known", "warn");
}

/** A name and its value. */
const pair = (name, value, state) => make("div", { data: { state } }, make("dt", {}, name), make("dd", {}, value));

function check([name, holds]) {
  const [title, good, bad] = CHECKS[name] ?? [name, "works", "does not work"];
  return pair(title, holds ? `✓ ${good}` : `✗ ${bad}`, holds ? "good" : "bad");
}

/** The metrics that exist: a service without an outbox, or without data of the broker yet, has fewer. */
function waiting(metrics) {
  const [batches, oldest] = [metrics.power_outbox_batches, metrics.power_outbox_oldest_seconds];
  const [accepted, dropped] = [metrics.power_ingest_batches_total, metrics.power_broker_dropped_messages];
  const many = (n) => count(n, "batch", "batches");
  const waits = batches > 0 ? `${many(batches)}, the oldest for ${length(oldest || 0)}` : "nothing";
  return [
    batches >= 0 && pair("Waiting to be stored", waits, ""),
    accepted >= 0 && pair("Accepted over HTTP since the start", many(accepted), ""),
    dropped > 0 && pair("Dropped by the broker", `▲ ${count(dropped, "message")}`, "warn"),
  ].filter(Boolean);
}
