// Numbers, timestamps and durations as text.

const DIGITS = new Intl.NumberFormat("en", { maximumSignificantDigits: 4 });
const WHOLE = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const EXACT = new Intl.NumberFormat("en", { maximumFractionDigits: 6 });
const UNITS = [[1e9, "TWh"], [1e6, "GWh"], [1e3, "MWh"]];
const LENGTHS = [
  [31_557_600, "year", "years"],
  [86_400, "day", "days"],
  [3600, "h", "h"],
  [60, "min", "min"],
  [1, "s", "s"],
];

export const whole = (value) => WHOLE.format(value);
export const exact = (value) => EXACT.format(value);

/** Energy in kWh, in a suitable unit. */
export function energy(kwh) {
  if (kwh === null) return "–";
  const { size, unit } = scale([kwh]);
  return `${DIGITS.format(kwh / size)} ${unit}`;
}

/** A suitable unit for values in kWh, and its size in kWh. */
export function scale(values) {
  const most = values.reduce((greatest, value) => Math.max(greatest, Math.abs(value)), 0);
  const [size, unit] = UNITS.find(([least]) => most >= least) ?? [1, "kWh"];
  return { size, unit };
}

/** A share from 0 to 1 as percentage; less than 1 is never shown as 100 %. */
export function share(value) {
  if (value === null) return "–";
  const percent = value < 1 ? Math.min(Math.round(value * 1000) / 10, 99.9) : 100;
  return `${percent} %`;
}

/** A duration in its greatest unit. */
export function length(seconds) {
  if (seconds === null) return "–";
  const [size, one, many] = LENGTHS.find(([least]) => seconds >= least) ?? LENGTHS.at(-1);
  return count(Math.floor(seconds / size), one, many);
}

/** A timestamp in UTC, to the minute. */
export const moment = (ms) => (ms === null ? "–" : new Date(ms).toISOString().slice(0, 16).replace("T", " "));

/** A time of day in UTC. */
export const clock = (ms) => new Date(ms).toISOString().slice(11, 19);

export const count = (n, one, many = `${one}s`) => `${whole(n)} ${n === 1 ? one : many}`;
