// The items of two cells side by side, a page at a time.

const PAGE = 50;
const list = { a: null, b: null, metric: first, filter: "all", find: "", page: 0, open: new Set(), shown: [] };

const FILTERS = {
  all: ["all", () => true],
  flips: ["flips", (a, b) => differs(a, b) !== 0],
  wins: ["better in B", (a, b) => differs(a, b) > 0],
  losses: ["worse in B", (a, b) => differs(a, b) < 0],
  wrong: ["wrong in both", (a, b) => a && b && isRight(a, list.metric) === false && isRight(b, list.metric) === false],
  errors: ["errors", (a, b) => a?.error !== undefined || b?.error !== undefined],
  failed: ["assertions failed", (a, b) => [a, b].some(row => row?.assertions?.some(checked => !checked.passed))],
};

/** Above 0 where the second row is better, 0 where nobody can say. */
function differs(a, b) {
  if (!a || !b) return 0;
  const [x, y] = [quality(a, list.metric), quality(b, list.metric)];
  return x === y || Number.isNaN(x) || Number.isNaN(y) ? 0 : y > x ? 1 : -1;
}

const pair = key => [rowsOf.get(list.a.id).get(key), rowsOf.get(list.b.id).get(key)];

/** What a row can be found by, made when first looked for. */
function words(row) {
  return (row.words ??= [row.id, text(row.input), text(row.output), ...row.expected.map(text), row.error ? text(row.error) : ""].join("\n").toLowerCase());
}

function chooseItems() {
  const present = keys.filter(key => pair(key).some(Boolean));
  const wanted = list.find.toLowerCase().trim();
  const found = wanted ? present.filter(key => pair(key).some(row => row && words(row).includes(wanted))) : present;
  for (const input of $("items-filter").querySelectorAll("input")) {
    const number = found.filter(key => FILTERS[input.value][1](...pair(key))).length;
    input.parentNode.querySelector(".number").textContent = number.toLocaleString("en");
    input.checked = input.value === list.filter;
  }
  list.shown = found.filter(key => FILTERS[list.filter][1](...pair(key)));
  list.page = Math.max(0, Math.min(list.page, Math.ceil(list.shown.length / PAGE) - 1));
}

function line(key) {
  const [left, right] = pair(key);
  const some = right ?? left;
  const short = row => (row ? clip(text(row.error ?? row.output).replace(/\s+/g, " ").trim(), 200) : "no row here");
  const [was, is] = outputsCompared(left, right, short);
  const sign = differs(left, right);
  const half = (cell, row, pieces, tag) => html("span", { class: "half" },
    html("span", { class: "which" }, cell.id), row ? grade(row, list.metric) : null, putPieces(html("span", { class: "said" }), pieces, tag));
  const button = html("button", { type: "button", class: "row", "aria-expanded": "false", onclick: () => toggle(item) },
    html("span", { class: "what" },
      put(html("span", { class: "id" }), clip(some.repeat ? `${some.id} (repeat ${some.repeat})` : some.id, 60)), " ",
      sign ? html("span", { class: `verdict ${sign > 0 ? "better" : "worse"}` }, sign > 0 ? "▲ better" : "▼ worse") : null,
      put(html("span", { class: "input" }), clip(text(some.input).replace(/\s+/g, " ").trim(), 160))),
    half(list.a, left, was, "del"),
    list.a === list.b ? null : half(list.b, right, is, "ins"));
  const item = html("li", { "data-key": key }, button);
  if (list.open.has(key)) unfold(item);
  return item;
}

function unfold(item) {
  item.firstChild.setAttribute("aria-expanded", "true");
  item.append(detail(item.dataset.key, list.a, list.b));
}

function toggle(item) {
  const { key } = item.dataset;
  if (list.open.delete(key)) {
    item.lastChild.remove();
    item.firstChild.setAttribute("aria-expanded", "false");
    return;
  }
  list.open.add(key);
  unfold(item);
  history.replaceState(null, "", `#${encodeURIComponent(list.b.id)}/${key}`);
}

function drawItems() {
  if (!list.a) return;
  chooseItems();
  const from = list.page * PAGE;
  const page = list.shown.slice(from, from + PAGE);
  $("items-list").replaceChildren(...page.map(line));
  $("items-list").start = from + 1;
  $("items-count").textContent = list.shown.length
    ? `${(from + 1).toLocaleString("en")}–${(from + page.length).toLocaleString("en")} of ${count(list.shown.length, "item")}`
    : "No item is like that.";
  $("items-previous").disabled = !list.page;
  $("items-next").disabled = from + PAGE >= list.shown.length;
  const named = (letter, cell) => html("span", {}, html("b", {}, `${letter}: ${cell.id}`), " ", cell.id === summary.baseline ? "baseline " : "", put(html("span", { class: "quiet" }), described(cell)));
  $("items-head").replaceChildren(html("span", {}, "item"), named("A", list.a), ...(list.a === list.b ? [] : [named("B", list.b)]));
  $("items-a").value = list.a.id;
  $("items-b").value = list.b.id;
}

function turn(by) {
  const page = list.page + by;
  if (page < 0 || page * PAGE >= list.shown.length) return false;
  list.page = page;
  drawItems();
  return true;
}

/** The two cells that say most: the baseline, and the best of the others. */
function usual() {
  const baseline = cells.get(summary.baseline) ?? summary.cells[0];
  const others = ranked(summary.cells.filter(cell => cell !== baseline), first);
  return [baseline, others[0] ?? baseline];
}

/** From the table: a cell's items beside the baseline's. */
function showItems(id) {
  const [baseline, best] = usual();
  [list.a, list.b] = [baseline, id === baseline.id ? best : cells.get(id)];
  list.page = 0;
  drawItems();
  $("items").scrollIntoView();
  $("items-b").focus({ preventScroll: true });
}

/** Without the escapes of addresses; what is none stays as it is. */
function plain(address) {
  try { return decodeURIComponent(address); } catch { return address; }
}

/** What `#c02/item-17` asks for. */
function followLink() {
  const [cell, ...rest] = location.hash.slice(1).split("/");
  if (!rest.length || !list.a) return;
  const asked = cells.get(plain(cell));
  // However a browser wrote it.
  const key = keys.find(key => key === rest.join("/")) ?? keys.find(key => plain(key) === plain(rest.join("/")));
  if (!asked || !key) {
    $("items-count").textContent = `The row ${clip(plain(location.hash.slice(1)), 80)} is not on this page; look for it in rows.jsonl.`;
    $("items").scrollIntoView();
    return;
  }
  const [baseline, best] = usual();
  if (asked !== list.b) [list.a, list.b] = asked === baseline ? [best, asked] : [baseline, asked];
  [list.filter, list.find, $("items-search").value] = ["all", "", ""];
  list.open.add(key);
  chooseItems();
  list.page = Math.max(0, Math.floor(list.shown.indexOf(key) / PAGE));
  drawItems();
  const item = [...$("items-list").children].find(item => item.dataset.key === key);
  item?.scrollIntoView();
  item?.firstChild.focus({ preventScroll: true });
}

function startItems() {
  if (!summary.cells.length || !rows.length) {
    $("items-list").replaceWith(html("p", { class: "note" }, "There are no rows."));
    for (const part of $("items").querySelectorAll(".bar, .choice, .head")) part.hidden = true;
    return;
  }
  [list.a, list.b] = usual();
  for (const side of ["a", "b"]) {
    $(`items-${side}`).append(...summary.cells.map(cell =>
      html("option", { value: cell.id }, clip(`${cell.id}${cell.id === summary.baseline ? " (baseline)" : ""} ${described(cell)}`, 60))));
    $(`items-${side}`).addEventListener("change", event => { list[side] = cells.get(event.target.value); drawItems(); });
  }
  $("items-swap").addEventListener("click", () => { [list.a, list.b] = [list.b, list.a]; drawItems(); });
  const measuredRows = summary.metrics.filter(metric => rows.some(row => typeof row.metrics[metric.name] === "number"));
  list.metric = measuredRows[0];
  $("items-metric").parentNode.hidden = measuredRows.length < 2;
  $("items-metric").append(...measuredRows.map(metric => html("option", { value: metric.name }, metric.name)));
  $("items-metric").addEventListener("change", event => { list.metric = metricNamed(event.target.value); drawItems(); });
  const choose = event => { list.filter = event.target.value; list.page = 0; drawItems(); };
  for (const [value, [words]] of Object.entries(FILTERS)) {
    if (value === "failed" && !rows.some(row => row.assertions)) continue;
    $("items-filter").append(html("label", {},
      html("input", { type: "radio", name: "items-filter", value, onchange: choose }), words, " ", html("span", { class: "number" })));
  }
  let waiting;
  $("items-search").addEventListener("input", event => {
    clearTimeout(waiting);
    waiting = setTimeout(() => { list.find = event.target.value; list.page = 0; drawItems(); }, 120);
  });
  $("items-previous").addEventListener("click", () => turn(-1));
  $("items-next").addEventListener("click", () => turn(1));
  drawItems();
  addEventListener("hashchange", followLink);
}
