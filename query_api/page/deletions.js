// What was deleted of a ship, and the dialog in which an admin deletes its readings.

import { ApiError, deletions, remove, role } from "./api.js";
import { fill, find, say } from "./dom.js";
import { SLOT_MS, floor, short } from "./range.js";
import { count, length, moment } from "./words.js";

const COLUMNS = [{ title: "From (UTC)" }, { title: "To (UTC)" }, { title: "Deleted (UTC)" }];
/** The latest time that the dialog takes. */
const LAST_MS = Date.UTC(2199, 11, 31, 23, 59);
const INPUTS = ["#delete-from", "#delete-to"];
/** The ship that the dialog is about. */
let number = null;

/** Show what was deleted of a ship, and to an admin a button that deletes; `ship` is null if it is unknown. */
export async function showDeletions(section, of, ship, range, signal) {
  const [spans, mine] = await Promise.all([deletions(of, signal), role(signal)]);
  section.hidden = !ship && !spans.length;
  say(find(".says", section), spans.length ? `Deleted in ${count(spans.length, "span")} of time.` : "Nothing was deleted.");
  const cells = (row) => [row.start, row.end, row.sent_at].map((each) => moment(each));
  fill(section, "Deleted spans, the last deletion first", COLUMNS, () => spans.map((row) => cells(row)));
  find("details", section).hidden = !spans.length;
  const button = find("#delete-open");
  button.hidden = mine !== "admin" || !ship;
  button.onclick = () => ask(of, ship.ahead === null ? range : ahead(ship));
}

/** The span of what a wrong clock has stamped. */
const ahead = (ship) => ({ start: floor(Date.now()) + 2 * SLOT_MS, end: floor(Date.parse(ship.ahead)) + SLOT_MS });

function ask(ship, { start, end }) {
  number = ship;
  [start, end].forEach((ms, i) => {
    find(INPUTS[i]).value = short(Math.min(ms, LAST_MS)).slice(0, 16);
  });
  say(find("#delete-title"), `Delete readings of ship ${ship}`);
  find("#delete .problem").hidden = true;
  sayHowLong();
  find("#delete").showModal();
}

/** The chosen span in ms; both are NaN while it is incomplete. */
function chosen() {
  const [start, end] = INPUTS.map((each) => Date.parse(`${find(each).value}Z`));
  return { start, end };
}

function sayHowLong() {
  const { start, end } = chosen();
  const what = `All readings of ship ${number} in ${length((end - start) / 1000)} will be deleted for good.`;
  say(find("#delete-what"), start < end ? what : "The span ends before it begins.");
}

/** Handle the dialog; `done` is called after a deletion with a sentence about it. */
export function prepareDeletion(done) {
  const [dialog, form] = [find("#delete"), find("#delete-form")];
  form.addEventListener("input", sayHowLong);
  find("#delete-cancel").addEventListener("click", () => dialog.close());
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const [ship, span] = [number, chosen()];
    const button = find("[type=submit]", form);
    button.disabled = true;
    try {
      if (!(span.start < span.end)) throw new ApiError(0, "The span ends before it begins.");
      const isDone = await remove(ship, span);
      dialog.close();
      const which = `the readings of ship ${ship} from ${moment(span.start)} to ${moment(span.end)}`;
      done(isDone ? `Deleted: ${which}.` : `Accepted: ${which} will be deleted soon.`);
    } catch (error) {
      say(find(".problem", dialog), error.message);
      find(".problem", dialog).hidden = false;
      if (!(error instanceof ApiError)) console.error(error);
    } finally {
      button.disabled = false;
    }
  });
}
