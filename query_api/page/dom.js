// Creates and fills elements, always as text: data from the network is never parsed as HTML.

export const find = (selector, root = document) => root.querySelector(selector);

/** Create an element. `properties` are DOM properties, except `data` and `aria`, which are attributes. */
export function make(tag, { data = {}, aria = {}, ...properties } = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  Object.assign(element.dataset, data);
  for (const [name, value] of Object.entries(aria)) element.setAttribute(`aria-${name}`, value);
  element.append(...children);
  return element;
}

export const cell = (content, className = "") => make("td", { className }, content);

/** Set an element's text, if it has changed. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Create a table of columns `{title, number}` and rows of texts. */
export function table(caption, columns, rows) {
  const classes = columns.map(({ number }) => (number ? "number" : ""));
  const heads = columns.map(({ title }, i) => make("th", { scope: "col", className: classes[i] }, title));
  const line = (row) => make("tr", {}, ...row.map((text, i) => cell(text, classes[i])));
  const body = make("tbody", {}, ...rows.map((row) => line(row)));
  return make("table", {}, make("caption", {}, caption), make("thead", {}, make("tr", {}, ...heads)), body);
}

/** Fill a section's `<details>` with a table, which is created when it is opened and when there are new rows. */
export function fill(section, caption, columns, rows) {
  const details = find("details.rows", section);
  const place = find("div", details);
  place.ariaLabel = caption;
  const show = () => details.open && place.replaceChildren(table(caption, columns, rows()));
  details.ontoggle = show;
  details.hidden = false;
  show();
}

/** A link that chooses a ship, and can be opened in another tab. */
export function shipLink(ship, href) {
  return make("a", { href, data: { ship } }, String(ship));
}
