// Keys, and the start of it all.

/** Moves to the next or previous item, over the edge of a page to the next one. */
function step(by) {
  const all = [...$("items-list").querySelectorAll(".row")];
  const here = document.activeElement?.closest("#items-list > li")?.firstChild;
  let next = here ? all[all.indexOf(here) + by] : all[0];
  if (here && !next && turn(by)) {
    const fresh = $("items-list").querySelectorAll(".row");
    next = by > 0 ? fresh[0] : fresh[fresh.length - 1];
  }
  next?.focus();
  next?.scrollIntoView({ block: "nearest" });
}

document.addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey || $("keys").open) return;
  const typing = event.target.matches("input:not([type=radio]), select, textarea");
  if (typing) {
    // A browser would clear the search as well, and tell nobody.
    if (event.key === "Escape" && event.target === $("items-search")) event.preventDefault(), step(1);
    return;
  }
  const inList = event.target.matches("#items-list .row");
  const acts = {
    j: () => step(1), k: () => step(-1), n: () => turn(1), p: () => turn(-1),
    "/": () => { $("items").scrollIntoView(); $("items-search").focus(); $("items-search").select(); },
    "?": () => $("keys").showModal(),
    ...(inList ? { ArrowDown: () => step(1), ArrowUp: () => step(-1) } : {}),
  };
  if (!Object.hasOwn(acts, event.key)) return;
  event.preventDefault();
  acts[event.key]();
});
$("keys-open").addEventListener("click", () => $("keys").showModal());

document.documentElement.classList.add("with-script");
startCells();
startCharts();
drawCells();
startItems();
followLink();
