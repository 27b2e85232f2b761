// The table of cells: sorted by any column, filtered by values and text. The charts show what it shows.

const first = summary.metrics[0];
const table = { sort: first ? `metric ${first.name}` : "cell", up: first ? !first.higher_is_better : true, find: "", chosen: new Map() };

/** Columns: `key`, what to sort by, whether the first click sorts upwards, and what to show. */
const columns = [
  {
    key: "cell", head: "cell", up: true, value: cell => summary.cells.indexOf(cell),
    show: cell => [html("button", {
      type: "button", class: "link", title: "Show its items", onclick: () => showItems(cell.id),
      "aria-label": `${cell.id}: show its items`,
    }, cell.id)],
  },
  ...summary.axes.map(axis => ({
    key: `axis ${axis.name}`, head: axis.name, up: true, value: cell => cell.axes[axis.name] ?? "",
    show: cell => [put(html("span"), cell.axes[axis.name] ?? "–")],
  })),
  ...summary.metrics.map(metric => ({
    key: `metric ${metric.name}`, head: heading(metric), up: !metric.higher_is_better, numeric: true,
    value: cell => cell.metrics[metric.name]?.mean,
    show: cell => measured(metric, cell),
  })),
  ...(summary.cells.some(cell => cell.against) ? [
    {
      key: "difference", head: `against ${summary.baseline}`, up: first ? !first.higher_is_better : false, numeric: true,
      value: cell => cell.against?.difference.mean ?? (cell.id === summary.baseline ? 0 : undefined), show: differing,
    },
    { key: "verdict", head: "is it better?", up: true, value: certainty, show: judged },
  ] : []),
  ...(summary.cells.some(cell => cell.assertions_passed + cell.assertions_failed) ? [{
    key: "assertions", head: "failed assertions", up: false, numeric: true, value: cell => cell.assertions_failed,
    show: cell => [cell.assertions_failed.toLocaleString("en"), " ",
      html("span", { class: "interval" }, `of ${(cell.assertions_passed + cell.assertions_failed).toLocaleString("en")}`)],
  }] : []),
  { key: "errors", head: "errors", up: false, numeric: true, value: cell => cell.errors, show: cell => [cell.errors.toLocaleString("en")] },
  ...(new Set(summary.cells.map(cell => cell.rows)).size > 1
    ? [{ key: "rows", head: "rows", up: false, numeric: true, value: cell => cell.rows, show: cell => [cell.rows.toLocaleString("en")] }] : []),
];

/** The ends of a scale that holds all intervals. */
function range(estimates) {
  const numbers = estimates.flatMap(({ low, high }) => [low, high]).filter(Number.isFinite);
  return numbers.length ? [Math.min(...numbers), Math.max(...numbers)] : [0, 1];
}

/** A small interval within a cell of the table; `mark` is where its dashed line stands. */
function whisker({ mean, low, high }, [from, to], mark) {
  const x = value => 4 + 92 * ((value - from) / (to - from || 1));
  return svg("svg", { class: "whisker", viewBox: "0 0 100 14", "aria-hidden": "true" },
    Number.isFinite(mark) ? svg("line", { class: "mark", x1: x(mark), x2: x(mark), y1: 0, y2: 14 }) : null,
    svg("line", { class: "line", x1: x(low), x2: x(high), y1: 7, y2: 7 }),
    svg("circle", { class: "dot", cx: x(mean), cy: 7, r: 3.2 }));
}

const scales = new Map(summary.metrics.map(metric =>
  [metric.name, range(summary.cells.map(cell => cell.metrics[metric.name]).filter(Boolean))]));

function measured(metric, cell) {
  const estimate = cell.metrics[metric.name];
  if (!estimate) return ["–"];
  const baseline = cells.get(summary.baseline)?.metrics[metric.name]?.mean;
  return [
    html("span", { class: "mean" }, number(metric.unit, estimate.mean)), " ",
    html("span", { class: "interval" }, interval(metric.unit, estimate)),
    whisker(estimate, scales.get(metric.name), baseline),
  ];
}

const differences = range([{ low: 0, high: 0 }, ...summary.cells.map(cell => cell.against?.difference).filter(Boolean)]);

function differing(cell) {
  if (!cell.against) return ["–"];
  const unit = metricNamed(cell.against.metric)?.unit;
  const { difference } = cell.against;
  return [
    html("span", { class: "mean" }, signed(unit, difference.mean)), " ",
    html("span", { class: "interval" }, `[${signed(unit, difference.low)}, ${signed(unit, difference.high)}]`),
    whisker(difference, differences, 0),
  ];
}

/** From surely better over the baseline and luck to surely worse. */
function certainty(cell) {
  const p = cell.against?.p_holm ?? 0;
  return { better: p, baseline: 1, luck: 1 + p, unknown: 3, worse: 4 - p }[verdict(cell)];
}

const probability = p => (p < 0.001 ? "p < 0.001" : `p = ${p.toFixed(3)}`);

function judged(cell) {
  const kind = verdict(cell);
  const said = [html("span", { class: `verdict ${kind}` }, `${SIGNS[kind]} ${WORDS[kind]}`)];
  const { against } = cell;
  if (!against) return said;
  const below = text => html("span", { class: "interval below" }, text);
  said.push(" ", html("span", { class: "interval", title: `${against.test}; p before the correction: ${against.p.toPrecision(2)}` }, probability(against.p_holm)),
    below(`won ${against.wins.toLocaleString("en")}, lost ${against.losses.toLocaleString("en")}`),
    kind === "luck" && against.needed ? below(`n needed: ${against.needed.toLocaleString("en")}`) : "");
  return said;
}

/** Cells that the filters let through, in the order of the table. */
function cellsShown() {
  const column = columns.find(column => column.key === table.sort);
  const wanted = table.find.toLowerCase().split(/\s+/).filter(Boolean);
  const shown = summary.cells.filter(cell => {
    const chosen = [...table.chosen].every(([axis, values]) => !values.size || values.has(cell.axes[axis]));
    const said = [cell.id, ...Object.values(cell.axes), WORDS[verdict(cell)]].join(" ").toLowerCase();
    return chosen && wanted.every(word => said.includes(word));
  });
  return shown.sort((a, b) => {
    const [x, y] = [column.value(a), column.value(b)];
    // What there is none of stands last, whichever way.
    if (x === undefined || y === undefined) return (x === undefined) - (y === undefined);
    const order = typeof x === "string" ? x.localeCompare(y, "en", { numeric: true }) : x - y;
    return table.up ? order : -order;
  });
}

function drawCells() {
  const shown = cellsShown();
  const body = shown.map(cell => html("tr", { class: cell.id === summary.baseline ? "baseline" : null },
    ...columns.map(({ key, numeric, show }) => key === "cell"
      ? html("th", { scope: "row" }, ...show(cell))
      : html("td", { class: numeric ? "numeric" : null }, ...show(cell)))));
  $("cells-table").tBodies[0].replaceChildren(...body);
  for (const head of $("cells-table").querySelectorAll("thead th")) {
    const sorted = head.dataset.key === table.sort;
    head.setAttribute("aria-sort", sorted ? (table.up ? "ascending" : "descending") : "none");
  }
  for (const chip of $("cells-axes").querySelectorAll("button")) {
    chip.setAttribute("aria-pressed", String(table.chosen.get(chip.dataset.axis)?.has(chip.textContent) ?? false));
  }
  $("cells-count").textContent = shown.length === summary.cells.length
    ? count(shown.length, "cell")
    : `${shown.length} of ${count(summary.cells.length, "cell")}`;
  $("cells-reset").hidden = !table.find && ![...table.chosen.values()].some(values => values.size);
  drawCharts();
}

function sortBy(column) {
  table.up = table.sort === column.key ? !table.up : column.up;
  table.sort = column.key;
  drawCells();
}

function startCells() {
  const head = columns.map(column => html("th", { scope: "col", class: column.numeric ? "numeric" : null, "data-key": column.key },
    html("button", { type: "button", onclick: () => sortBy(column) }, column.head)));
  $("cells-table").replaceChildren(html("thead", {}, html("tr", {}, ...head)), html("tbody"));
  for (const axis of summary.axes) {
    if (axis.values.length < 2) continue;
    table.chosen.set(axis.name, new Set());
    const choose = value => {
      const values = table.chosen.get(axis.name);
      values.delete(value) || values.add(value);
      drawCells();
    };
    const chips = axis.values.map(value =>
      html("button", { type: "button", class: "chip", "data-axis": axis.name, title: value, onclick: () => choose(value) }, value));
    $("cells-axes").append(html("div", { role: "group", "aria-label": `Only ${axis.name}` }, html("span", {}, axis.name), ...chips));
  }
  $("cells-search").addEventListener("input", event => { table.find = event.target.value; drawCells(); });
  $("cells-reset").addEventListener("click", () => {
    table.find = $("cells-search").value = "";
    table.chosen.forEach(values => values.clear());
    drawCells();
    $("cells-search").focus();
  });
  const compared = summary.cells.filter(cell => cell.against);
  $("legend-test").textContent = compared.length
    ? `Than ${summary.baseline} in ${compared[0].against.metric}, by more than luck would make: item by item (${compared[0].against.test}), p below 0.05 after Holm's correction for ${count(compared.length, "comparison")}.`
    : "Nothing was compared with a baseline.";
}
