// Charts by Plotly, which comes after everything else: 1.4 MB, once. Beside each chart stands the same in words.

import { find } from "./dom.js";

const CONFIG = { displayModeBar: false, responsive: true };
const drawn = new Map();
let library = null;

/** Load Plotly, once; after a failure the next chart tries again. */
function plotly() {
  library ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = document.documentElement.dataset.charts;
    script.onload = () => resolve(globalThis.Plotly);
    script.onerror = () => {
      library = null;
      script.remove();
      reject(new Error("The chart could not be loaded; the table holds the same. Reload the page to try again."));
    };
    document.head.append(script);
  });
  return library;
}

/** Draw traces into a section's chart; `build` gives `{traces, title, range}` and is asked again for other colours; it is also told how wide. */
export async function draw(section, build) {
  const node = find(".chart", section);
  drawn.set(node, build);
  const charts = await plotly();
  if (drawn.get(node) !== build) return;
  const { traces, title, range } = build(colour, node.clientWidth);
  await charts.react(node, traces, layout(title, range), CONFIG);
}

/** Have a section without a chart. */
export function clear(section) {
  const node = find(".chart", section);
  if (drawn.delete(node)) globalThis.Plotly?.purge(node);
}

/** Draw everything again, in the colours that hold now. */
export async function redraw() {
  await Promise.all([...drawn].map(([node, build]) => draw(node.parentElement, build)));
}

/** Give a colour of the stylesheet as it is in the present theme. */
function colour(name) {
  const probe = document.createElement("span");
  probe.style.color = `var(--${name})`;
  document.body.append(probe);
  const value = getComputedStyle(probe).color;
  probe.remove();
  return value;
}

/** `range` in ms is shown whole, so that what is missing at its ends is seen to be. */
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
  { name: "partly covered", colour: "partly", pattern: "/" },
  { name: "provisional", colour: "provisional", pattern: "x" },
];

/** What is known of a slot, as its kind's name. */
export function kind({ provisional, known }) {
  if (provisional) return "provisional";
  return known ? "whole" : "partly covered";
}

/** Make bars of columns `{at, end, value, kind, says}`: a trace for each kind that there is. */
export function bars(columns, colours, width) {
  const gap = width > 4 * columns.length ? 1 : 0;
  return KINDS.map((each) => {
    const rows = columns.filter((row) => row.kind === each.name);
    return {
      type: "bar",
      name: each.name,
      x: rows.map((row) => new Date((row.at + row.end) / 2)),
      width: rows.map((row) => row.end - row.at),
      y: rows.map((row) => row.value),
      customdata: rows.map((row) => row.says),
      hovertemplate: "%{customdata}<extra></extra>",
      marker: {
        color: colours(each.colour),
        line: { width: gap, color: colours("panel") },
        pattern: { shape: each.pattern, fillmode: "overlay", fgcolor: colours("panel"), size: 6, solidity: 0.35 },
      },
    };
  }).filter(({ x }) => x.length);
}
