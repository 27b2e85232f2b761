// Two drawings of what the table shows: every cell's interval, and what a score costs.

const shapes = {
  baseline: (x, y) => svg("rect", { x: x - 5, y: y - 5, width: 10, height: 10 }),
  better: (x, y) => svg("path", { d: `M${x} ${y - 6}l6 10.5h-12z` }),
  worse: (x, y) => svg("path", { d: `M${x} ${y + 6}l6 -10.5h-12z` }),
  luck: (x, y) => svg("circle", { cx: x, cy: y, r: 5 }),
};

/** A cell's mark: what it is judged to be only where that was judged, in the first metric. */
function mark(cell, metric, x, y) {
  let kind = verdict(cell);
  if (kind !== "baseline" && (kind === "unknown" || metric !== first)) kind = "luck";
  return element(shapes[kind](x, y), { class: `shape ${kind}` });
}

/** Round numbers from `from` to `to`, about `wanted` of them. */
function ticks(from, to, wanted) {
  const rough = (to - from) / wanted || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find(factor => factor * power >= rough);
  const found = [];
  for (let at = Math.ceil(from / step); at * step <= to + step * 1e-9; at++) found.push(at * step);
  return found;
}

function scale([from, to], low, high) {
  const margin = (to - from) * 0.06 || Math.abs(to) * 0.1 || 0.5;
  const [start, end] = [from - margin, to + margin];
  return Object.assign(value => low + (high - low) * ((value - start) / (end - start)), { start, end });
}

function tickText(metric, value) {
  const shown = metric.unit === "share" ? value * 100 : value;
  return shown.toLocaleString("en", { maximumFractionDigits: 2 }).replace("-", "−");
}

const said = (cell, metric) => `${metric.name} ${number(metric.unit, cell.metrics[metric.name].mean)} ${interval(metric.unit, cell.metrics[metric.name])}`;
const name = cell => `${cell.id}  ${described(cell)}`;
const about = (cell, ...metrics) => svg("title", {}, `${name(cell)}\n${metrics.map(metric => said(cell, metric)).join("\n")}`);

function drawIntervals(shown, metric) {
  const picture = $("intervals");
  const list = shown.filter(cell => cell.metrics[metric.name]);
  const width = Math.max(280, picture.parentNode.clientWidth - 2);
  const narrow = width < 480;
  // Names stand beside the intervals, or above them where there is no room.
  const longest = Math.max(40, ...list.map(cell => 7 * name(cell).length));
  const gutter = narrow ? 8 : Math.min(longest + 12, width * 0.42);
  const [step, top] = [narrow ? 42 : 26, 8];
  const bottom = top + list.length * step;
  const x = scale(range(list.map(cell => cell.metrics[metric.name])), gutter, width - 12);
  const parts = [];
  for (const tick of ticks(x.start, x.end, (width - gutter) / 80)) {
    parts.push(svg("line", { class: "grid", x1: x(tick), x2: x(tick), y1: top, y2: bottom }),
      svg("text", { class: "tick", x: x(tick), y: bottom + 16, "text-anchor": "middle" }, tickText(metric, tick)));
  }
  const baseline = cells.get(summary.baseline)?.metrics[metric.name];
  if (baseline && list.length) {
    parts.push(svg("line", { class: "mark", x1: x(baseline.mean), x2: x(baseline.mean), y1: top, y2: bottom }));
  }
  list.forEach((cell, at) => {
    const y = top + (at + (narrow ? 0.72 : 0.5)) * step;
    const { mean, low, high } = cell.metrics[metric.name];
    const label = clip(name(cell), Math.floor((narrow ? width : gutter - 8) / 6.8));
    parts.push(svg("g", {}, about(cell, metric),
      svg("rect", { class: "catch", x: 0, y: top + at * step, width, height: step }),
      svg("text", { class: "label", x: 0, y: narrow ? y - 14 : y + 4 }, label),
      svg("path", { class: "line", d: `M${x(low)} ${y}H${x(high)}M${x(low)} ${y - 4}v8M${x(high)} ${y - 4}v8` }),
      mark(cell, metric, x(mean), y)));
  });
  parts.push(svg("text", { class: "axis", x: (gutter + width - 12) / 2, y: bottom + 34, "text-anchor": "middle" }, heading(metric)));
  picture.setAttribute("viewBox", `0 0 ${width} ${bottom + 40}`);
  picture.replaceChildren(...parts);
  $("intervals-title").textContent = `${metric.name} with its 95 % interval, in the order of the table`;
}

function drawScatter(shown, metric, cost) {
  const picture = $("scatter");
  const list = shown.filter(cell => cell.metrics[metric.name] && cell.metrics[cost.name]);
  const width = Math.max(280, picture.parentNode.clientWidth - 2);
  const [left, bottom, height] = [48, 300, 344];
  const x = scale(range(list.map(({ metrics }) => ({ low: metrics[cost.name].mean, high: metrics[cost.name].mean }))), left, width - 36);
  const y = scale(range(list.map(({ metrics }) => metrics[metric.name])), bottom, 8);
  const parts = [];
  for (const tick of ticks(x.start, x.end, width / 90)) {
    parts.push(svg("line", { class: "grid", x1: x(tick), x2: x(tick), y1: 8, y2: bottom }),
      svg("text", { class: "tick", x: x(tick), y: bottom + 16, "text-anchor": "middle" }, tickText(cost, tick)));
  }
  for (const tick of ticks(y.start, y.end, 6)) {
    parts.push(svg("line", { class: "grid", x1: left, x2: width - 8, y1: y(tick), y2: y(tick) }),
      svg("text", { class: "tick", x: left - 6, y: y(tick) + 4, "text-anchor": "end" }, tickText(metric, tick)));
  }
  const points = list.map(cell => ({ cell, x: x(cell.metrics[cost.name].mean), y: y(cell.metrics[metric.name].mean) }));
  const taken = points.map(point => [point.x - 7, point.y - 7, point.x + 7, point.y + 7]);
  for (const { cell, x: px, y: py } of points) {
    const { low, high } = cell.metrics[metric.name];
    const wide = 7.2 * cell.id.length;
    // Beside the mark, on whichever side nothing stands yet.
    const boxes = [[9, -6], [-9 - wide, -6], [-wide / 2, -21], [-wide / 2, 9], [8, -20], [8, 8], [-8 - wide, -20], [-8 - wide, 8]]
      .map(([dx, dy]) => [px + dx, py + dy, px + dx + wide, py + dy + 12]);
    const hits = box => taken.filter(other => box[0] < other[2] && other[0] < box[2] && box[1] < other[3] && other[1] < box[3]).length
      + (box[2] > width || box[0] < left ? 1 : 0);
    const box = boxes.reduce((best, box) => (hits(box) < hits(best) ? box : best));
    taken.push(box);
    parts.push(svg("g", {}, about(cell, metric, cost),
      svg("line", { class: "line faint", x1: px, x2: px, y1: y(low), y2: y(high) }),
      mark(cell, metric, px, py),
      svg("text", { class: "label", x: box[0], y: box[1] + 10 }, cell.id)));
  }
  const axis = (where, words) => svg("text", { class: "axis", "text-anchor": "middle", ...where }, words);
  parts.push(axis({ x: (left + width) / 2, y: height - 6 }, heading(cost)),
    axis({ transform: `translate(12 ${bottom / 2}) rotate(-90)` }, heading(metric)));
  picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
  picture.replaceChildren(...parts);
  $("scatter-title").textContent = `What ${metric.name} costs in ${cost.name}`;
}

function drawCharts() {
  const metric = metricNamed($("charts-metric").value);
  if (!metric) return;
  const shown = cellsShown();
  const cost = metricNamed($("charts-cost").value);
  const both = cost && cost !== metric && shown.some(cell => cell.metrics[metric.name] && cell.metrics[cost.name]);
  $("scatter-box").hidden = !both;
  drawIntervals(shown, metric);
  if (both) drawScatter(shown, metric, cost);
}

function startCharts() {
  const option = metric => html("option", { value: metric.name }, metric.name);
  $("charts-metric").append(...summary.metrics.map(option));
  const costs = summary.metrics.filter(metric => metric !== first);
  // What a score costs comes before other scores.
  const isCost = metric => metric.unit === "ms" || metric.unit === "tokens";
  costs.sort((a, b) => isCost(b) - isCost(a));
  $("charts-cost").append(...costs.map(option));
  $("charts-cost-label").hidden = !costs.length;
  $("charts").hidden = document.querySelector("nav a[href='#charts']").hidden = !first;
  for (const id of ["charts-metric", "charts-cost"]) $(id).addEventListener("change", drawCharts);
  for (const kind of ["baseline", "better", "worse", "luck"]) {
    $("charts-key").append(html("span", {}, svg("svg", { viewBox: "0 0 16 16", "aria-hidden": "true" },
      element(shapes[kind](8, 8), { class: `shape ${kind}` })), kind === "luck" ? "could be luck, or not tested" : WORDS[kind]));
  }
  let width = 0;
  new ResizeObserver(() => {
    if (width === (width = $("charts").clientWidth)) return;
    requestAnimationFrame(drawCharts);
  }).observe($("charts"));
}
