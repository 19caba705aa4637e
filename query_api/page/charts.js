// Charts with Plotly, 1.4 MB, which is loaded after everything else. Each chart has a text and a table beside it.

import { find } from "./dom.js";
import { scale, share } from "./words.js";

const CONFIG = { displayModeBar: false, responsive: true };
const drawn = new Map();
let library = null;

/** Load Plotly, once; the next chart retries after a failure. */
function plotly() {
  library ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = document.documentElement.dataset.charts;
    script.onload = () => resolve(globalThis.Plotly);
    script.onerror = () => {
      library = null;
      script.remove();
      reject(new Error("The chart could not be loaded. The table shows the same data. Reload the page to try again."));
    };
    document.head.append(script);
  });
  return library;
}

/** Draw a section's chart: `build` returns `{traces, title, range}` for a theme's colours and a width. */
export async function draw(section, build) {
  const node = find(".chart", section);
  node.hidden = false;
  drawn.set(node, build);
  const charts = await plotly();
  if (drawn.get(node) !== build) return;
  const { traces, title, range } = build(colour, node.clientWidth);
  await charts.react(node, traces, layout(title, range), CONFIG);
}

/** Reserve the space of a section's chart. */
export function clear(section) {
  const node = find(".chart", section);
  node.hidden = false;
  if (drawn.delete(node)) globalThis.Plotly?.purge(node);
}

/** Hide a section's chart and table, because there is no data. */
export function hide(section) {
  clear(section);
  find("details", section).hidden = true;
  find(".chart", section).hidden = true;
}

/** Hide the reserved space of a chart whose data could not be loaded. */
export function hideIfEmpty(section) {
  const node = find(":scope > .chart", section);
  if (node && !drawn.has(node)) node.hidden = true;
}

/** Draw all charts again, in the colours of the current theme. */
export async function redraw() {
  await Promise.all([...drawn].map(([node, build]) => draw(node.parentElement, build)));
}

/** Return a colour of the stylesheet in the current theme. */
function colour(name) {
  const probe = document.createElement("span");
  probe.style.color = `var(--${name})`;
  document.body.append(probe);
  const value = getComputedStyle(probe).color;
  probe.remove();
  return value;
}

/** The axis covers all of `range` (ms), so that missing data at its ends is visible. */
function layout(title, range) {
  const [gridcolor, linecolor] = [colour("line"), colour("edge")];
  const axis = { gridcolor, linecolor, zeroline: false, fixedrange: true, automargin: true };
  return {
    margin: { l: 10, r: 10, t: 6, b: 10 },
    font: { family: getComputedStyle(document.body).fontFamily, size: 13, color: colour("ink") },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    dragmode: false,
    bargap: 0,
    barmode: "overlay",
    hovermode: "x unified",
    hoverlabel: { bgcolor: colour("panel"), bordercolor: colour("edge"), font: { color: colour("ink") } },
    showlegend: true,
    legend: { orientation: "h", x: 0, y: 1, yanchor: "bottom", bgcolor: "rgba(0,0,0,0)" },
    xaxis: { ...axis, type: "date", showgrid: false, tickangle: 0, range: range && [range.start, range.end] },
    yaxis: { ...axis, title: { text: title, standoff: 8 }, rangemode: "tozero" },
  };
}

// Each kind has a pattern as well as a colour (Okabe and Ito's, which the colour-blind can tell apart).
const KINDS = [
  { name: "whole", colour: "whole", pattern: "" },
  { name: "estimated", colour: "estimated", pattern: "." },
  { name: "partly covered", colour: "partly", pattern: "/" },
  { name: "provisional", colour: "provisional", pattern: "x" },
];

/** The state of a slot. */
export function kind({ provisional, known, estimated }) {
  if (provisional) return "provisional";
  if (!known) return "partly covered";
  return estimated ? "estimated" : "whole";
}

/** How much of a column is covered, and how much of that is estimated, from 0 to 1, in words. */
export const sure = (known, estimated) => `${share(known)} covered${estimated > 0 ? `, ${share(estimated)} of it estimated` : ""}`;

/** Make the bars of a chart from columns `{at, end, value, kind, says}`: a trace for each kind. */
export function bars(columns, range, colours, width) {
  const { size, unit } = scale(columns.map((row) => row.value));
  const narrowest = Math.min(...columns.map((row) => row.end - row.at));
  const gap = (width * narrowest) / (range.end - range.start) > 4 ? 1 : 0;
  const traces = KINDS.map((each) => {
    const rows = columns.filter((row) => row.kind === each.name);
    return {
      type: "bar",
      name: each.name,
      x: rows.map((row) => new Date((row.at + row.end) / 2)),
      width: rows.map((row) => row.end - row.at),
      y: rows.map((row) => row.value / size),
      customdata: rows.map((row) => row.says),
      hovertemplate: "%{customdata}<extra></extra>",
      marker: {
        color: colours(each.colour),
        line: { width: gap, color: colours("panel") },
        pattern: { shape: each.pattern, fillmode: "overlay", fgcolor: colours("panel"), size: 6, solidity: 0.35 },
      },
    };
  }).filter(({ x }) => x.length);
  return { title: unit, range, traces };
}
