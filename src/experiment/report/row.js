// One item, opened: what was asked and expected, and for each of two cells what came of it, and of what prompt.

/** How good a row is by a metric, larger is better; a failed row is worse than any other. */
function quality(row, metric) {
  if (row.error !== undefined) return -Infinity;
  const value = row.metrics[metric?.name];
  return typeof value !== "number" ? NaN : metric.higher_is_better ? value : -value;
}

/** Whether a row counts as right: half of what can be had, or more. `null` where a metric does not say. */
function isRight(row, metric) {
  if (row.error !== undefined) return false;
  const value = row.metrics[metric?.name];
  const full = { share: 1, points: 100 }[metric?.unit];
  if (typeof value !== "number" || !full) return null;
  return metric.higher_is_better ? value >= full / 2 : value < full / 2;
}

function grade(row, metric) {
  if (row.error !== undefined) return html("b", { class: "grade bad" }, "! error");
  const value = row.metrics[metric?.name];
  if (typeof value !== "number") return html("b", { class: "grade" }, "–");
  const right = isRight(row, metric);
  if (metric.unit === "share" && value === 1) return html("b", { class: "grade ok" }, "✓ right");
  if (metric.unit === "share" && value === 0) return html("b", { class: "grade bad" }, "✗ wrong");
  const shown = `${number(metric.unit, value)}${metric.unit === "points" ? "" : ` ${UNITS[metric.unit]}`}`;
  return html("b", { class: `grade ${right === null ? "" : right ? "ok" : "bad"}` }, right === null ? shown : `${right ? "✓" : "✗"} ${shown}`);
}

const blockUnder = (heading, title, ...content) => html("div", { class: "block" }, html(heading, { class: "small" }, title), ...content);
const block = (...rest) => blockUnder("h4", ...rest);
const pre = text => put(html("pre", { tabindex: "0", dir: "auto" }), text);

function labelBars(row, expected) {
  const list = Object.entries(row.labels).filter(([, score]) => typeof score === "number").sort((a, b) => b[1] - a[1]);
  const best = list[0]?.[1] ?? 0;
  const output = text(row.output).trim();
  const rowOf = ([label, score]) => {
    const notes = [expected.includes(label) ? "✓ expected" : "", label === output ? "← answered" : ""].join(" ").trim();
    const share = Math.exp(score - best);
    return html("tr", {},
      html("th", { scope: "row" }, put(html("span"), label), notes ? html("b", { class: "quiet" }, ` ${notes}`) : ""),
      html("td", {}, svg("svg", { class: "share", viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" },
        svg("rect", { width: Math.max(0.6, 100 * share), height: 10 }))),
      html("td", { class: "numeric" }, score.toFixed(2).replace("-", "−")));
  };
  const left = (row.labels_in_all ?? list.length) - list.length;
  return block("Log-probability of each label, bars relative to the likeliest",
    html("table", { class: "labels" }, html("tbody", {}, ...list.map(rowOf))),
    left > 0 ? html("p", { class: "quiet" }, `${count(left, "less likely label")} in rows.jsonl`) : null);
}

function passages(row) {
  const list = row.passages.map(({ place, score, relevant }) => html("li", {},
    put(html("code"), text(place)), ` ${(+score).toFixed(3)} `,
    relevant === true ? html("b", { class: "ok" }, "✓ belongs") : relevant === false ? html("b", { class: "bad" }, "✗ does not belong") : null));
  return block("Retrieved, best first", html("ol", {}, ...list));
}

function assertionsOf(row) {
  const list = [...row.assertions].sort((a, b) => a.passed - b.passed).map(({ assertion, passed, why }) => html("li", {},
    html("b", { class: passed ? "ok" : "bad" }, passed ? "✓ holds " : "✗ fails "),
    put(html("code"), text(assertion)), put(html("span"), why && text(why) ? `: ${text(why)}` : "")));
  return block("Assertions", html("ul", { class: "claims" }, ...list));
}

function promptOf(row) {
  const { prompt } = row;
  const facts = [count(prompt.tokens, "token")];
  if (prompt.demos?.length) facts.push(`${count(prompt.demos.length, "demonstration")}: ${prompt.demos.map(text).join(", ")}`);
  const dropped = prompt.dropped !== undefined ? put(html("p", { class: "dropped" }, html("b", {}, "Left out: ")), text(prompt.dropped)) : null;
  return block("Prompt, as the model read it", put(html("p", { class: "quiet" }), facts.join("; ")), dropped, pre(text(prompt.text)));
}

function side(cell, row, pieces, tag) {
  const head = html("h3", {}, html("span", { class: "which" }, cell.id), " ", put(html("span", { class: "quiet" }), described(cell)));
  if (!row) return html("div", { class: "side" }, head, html("p", {}, "There is no row here."));
  const measures = summary.metrics.filter(({ name }) => typeof row.metrics[name] === "number")
    .map(({ name, unit }) => `${name} ${number(unit, row.metrics[name])} ${UNITS[unit]}`.trim());
  const cost = `${number("ms", row.ms)} ms · ${row.tokens[0].toLocaleString("en")} tokens read, ${row.tokens[1].toLocaleString("en")} written${row.cached ? " · from the cache" : ""}`;
  return html("div", { class: "side" }, head,
    row.error !== undefined ? block("Error", put(html("p", { class: "bad" }), text(row.error))) : null,
    row.error === undefined || text(row.output) ? block("Output", putPieces(html("pre", { tabindex: "0", dir: "auto" }), pieces, tag)) : null,
    put(html("p", { class: "quiet" }), measures.join(" · ")),
    html("p", { class: "quiet" }, cost),
    row.assertions ? assertionsOf(row) : null,
    row.labels ? labelBars(row, row.expected.map(text)) : null,
    row.passages ? passages(row) : null,
    row.prompt ? promptOf(row) : null);
}

/** Both outputs, as `shown` has them, with what only one of them has; where one is missing there is nothing to compare. */
function outputsCompared(left, right, shown) {
  const both = [left, right].every(row => row && row.error === undefined);
  return both ? compared(shown(left), shown(right)) : [[[false, shown(left)]], [[false, shown(right)]]];
}

/** All there is to say about an item in two cells. */
function detail(key, a, b) {
  const [left, right] = [rowsOf.get(a.id).get(key), rowsOf.get(b.id).get(key)];
  const some = right ?? left;
  const [was, is] = outputsCompared(left, right, row => (row ? text(row.output) : ""));
  const link = `#${encodeURIComponent(b.id)}/${key}`;
  return html("div", { class: "detail" },
    html("div", { class: "asked" },
      blockUnder("h3", "Input", pre(text(some.input))),
      some.expected.length ? blockUnder("h3", some.expected.length > 1 ? "Expected, any of" : "Expected", ...some.expected.map(known => pre(text(known)))) : null),
    html("div", { class: "sides" }, side(a, left, was, "del"), a === b ? null : side(b, right, is, "ins")),
    html("p", { class: "quiet" }, "Link to this row: ", html("a", { href: link }, decodeURIComponent(link))));
}
