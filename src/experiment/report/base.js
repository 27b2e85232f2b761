// What the page was given, and the helpers that everything uses. No text ever becomes markup: it is only ever set as text.

const $ = id => document.getElementById(id);

/** An element with attributes and children; a string child is text. */
function element(node, attributes = {}, ...children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter(child => child !== null && child !== undefined));
  return node;
}
const html = (tag, ...rest) => element(document.createElement(tag), ...rest);
const svg = (tag, ...rest) => element(document.createElementNS($("intervals").namespaceURI, tag), ...rest);

const facts = JSON.parse($("facts").textContent);
const summary = facts.summary;
const cells = new Map(summary.cells.map(cell => [cell.id, cell]));
const metricNamed = name => summary.metrics.find(metric => metric.name === name);

// Rows come as [lines that are new, row]; every text in a row is the numbers of its lines, such as "0-19 25".
const lines = [];
const rows = [];
for (const [fresh, row] of JSON.parse($("rows").textContent)) {
  for (const line of fresh) lines.push(line);
  rows.push(row);
}

function text(folded) {
  const found = [];
  for (const run of folded.split(" ")) {
    const [first, last = first] = run.split("-").map(Number);
    for (let number = first; number <= last; number++) found.push(lines[number]);
  }
  return found.join("\n");
}

/** Of each cell, its rows by their key; and the keys in the order of the data. */
const rowsOf = new Map(summary.cells.map(cell => [cell.id, new Map()]));
const keys = [];
const known = new Set();
for (const row of rows) {
  row.id = text(row.item);
  row.key = encodeURIComponent(row.id) + (row.repeat ? `/${row.repeat}` : "");
  rowsOf.get(text(row.cell))?.set(row.key, row);
  if (!known.has(row.key)) known.add(row.key), keys.push(row.key);
}

// Numbers.

const UNITS = { share: "%", points: "", ms: "ms", tokens: "tokens" };

function number(unit, value) {
  if (typeof value !== "number" || !Number.isFinite(value)) return "–";
  if (unit === "share") value *= 100;
  const digits = unit === "share" || unit === "points" || Math.abs(value) < 10 ? 1 : 0;
  const shown = value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  return (/^-[0.]+$/.test(shown) ? shown.slice(1) : shown).replace("-", "−");
}
const interval = (unit, { low, high }) => `[${number(unit, low)}, ${number(unit, high)}]`;
const signed = (unit, value) => (value > 0 && !/^[0.]+$/.test(number(unit, value)) ? "+" : "") + number(unit, value);
const count = (number, what) => `${number.toLocaleString("en")} ${what}${number === 1 ? "" : "s"}`;
const heading = metric => (UNITS[metric.unit] && metric.name !== UNITS[metric.unit] ? `${metric.name} (${UNITS[metric.unit]})` : metric.name);

// Verdicts.

/** As `Verdict` in the program: better and worse only beyond luck. */
function verdict(cell) {
  if (cell.id === summary.baseline) return "baseline";
  const against = cell.against;
  if (!against) return "unknown";
  if (against.p_holm >= 0.05) return "luck";
  return against.difference.mean > 0 === (metricNamed(against.metric)?.higher_is_better ?? true) ? "better" : "worse";
}
const SIGNS = { baseline: "■", better: "▲", worse: "▼", luck: "○", unknown: "○" };
const WORDS = { baseline: "baseline", better: "better", worse: "worse", luck: "could be luck", unknown: "not compared" };

/** Cells, best first by a metric; what was not measured stands last. */
function ranked(list, metric) {
  if (!metric) return [...list];
  const sign = metric.higher_is_better ? -1 : 1;
  const value = cell => (cell.metrics[metric.name] ? sign * cell.metrics[metric.name].mean : Infinity);
  return [...list].sort((a, b) => value(a) - value(b) || 0);
}
const described = cell => summary.axes.map(axis => cell.axes[axis.name]).filter(value => value !== undefined).join(" · ");
