// Start here: the top line, the two pages, and what is in the address after `#`.
//
//     #/episodes                       the list
//     #/episodes/RUN/STEP/PLACE        an episode; two of them, one after the other, are shown side by side
//     #/curves                         all metrics

import { CurvesPage } from "./curves.js";
import { el, fill } from "./dom.js";
import { EpisodesPage } from "./episodes.js";
import { Store } from "./store.js";

const STATUS = {
  loading: ["", "loading"],
  live: ["on", "up to date"],
  stopped: ["off", "the server has stopped"],
  exported: ["", "exported"],
};
const KEYS = [
  ["↑ ↓", "previous and next episode of the list (also k and j)"],
  ["← →", "previous and next token, with its values"],
  ["c", "colour by the next stream"],
  ["shift-click", "put an episode beside the one that is open"],
  ["/", "search"],
  ["g e, g c", "go to episodes, to curves"],
  ["?", "this help"],
];

const OF_EPISODES = new Set(["j", "k", "ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"]);

const top = document.getElementById("top");
const main = document.getElementById("main");
const help = document.getElementById("help");
const store = new Store();
let pages = {};
let lastKey = "";

function drawTop() {
  const [on, text] = STATUS[store.status];
  const problems = store.runs.flatMap((run) => Object.entries(run.problems).map(([what, why]) => `${run.name}, ${what}: ${why}`));
  const tab = (name, label) => el("a", { href: `#/${name}`, ariaCurrent: place().page === name ? "page" : null }, label);
  fill(top,
    el("h1", {}, "sdar view"),
    el("nav", { ariaLabel: "pages" }, tab("episodes", "Episodes"), tab("curves", "Curves")),
    el("span.runs", { title: store.runs.map((run) => run.name).join("\n") }, store.runs.map((run) => run.name).join(", ")),
    problems.length > 0 && el("span.problem", { title: problems.join("\n") }, `${problems.length} unreadable`),
    el(on ? `span.live.${on}` : "span.live", {}, text),
    el("button.quiet", { onclick: showHelp, ariaLabel: "help", title: "keys" }, "?"),
  );
  document.title = store.runs.length === 1 ? `${store.runs[0].name} – sdar view` : "sdar view";
}

function place() {
  const [, page = "episodes", ...rest] = location.hash.split("/");
  const ids = [rest.slice(0, 3), rest.slice(3, 6)].filter((part) => part.length === 3 && part.every((each) => /^\d+$/.test(each)));
  return { page: page === "curves" ? page : "episodes", ids: ids.map((part) => part.join("/")) };
}

function route() {
  const { page, ids } = place();
  if (main.firstChild !== pages[page].node) fill(main, pages[page].node);
  if (page === "episodes") pages.episodes.show(ids);
  drawTop();
}

function showHelp() {
  fill(help, el("h2", {}, "Keys"),
    el("dl", {}, KEYS.flatMap(([keys, text]) => [el("dt", {}, el("kbd", {}, keys)), el("dd", {}, text)])),
    el("form", { method: "dialog" }, el("p", {}, el("button.quiet", {}, "close"))));
  help.showModal();
}

function key(event) {
  if (event.target.closest("input, select, dialog") || event.ctrlKey || event.metaKey || event.altKey) return;
  const { episodes } = pages;
  const before = lastKey;
  lastKey = event.key;
  const inList = event.target.closest(".rows");
  const actions = {
    "?": showHelp,
    "/": () => document.getElementById(place().page === "curves" ? "metric" : "filter-text")?.focus(),
    j: () => episodes.list.move(1),
    k: () => episodes.list.move(-1),
    c: () => (before === "g" ? go("curves") : episodes.nextColour()),
    e: () => before === "g" && go("episodes"),
    ArrowLeft: () => episodes.moveToken(-1),
    ArrowRight: () => episodes.moveToken(1),
  };
  if (!inList && !event.target.closest(".token")) {
    Object.assign(actions, { ArrowDown: actions.j, ArrowUp: actions.k });
  }
  const act = actions[event.key];
  if (!act || (place().page === "curves" && OF_EPISODES.has(event.key))) return;
  event.preventDefault();
  act();
}

function go(page) {
  location.hash = `#/${page}`;
}

async function start() {
  try {
    await store.start();
  } catch (error) {
    fill(main, el("div.empty", {}, `Cannot load the runs: ${error.message}`));
    return;
  }
  pages = {
    episodes: new EpisodesPage(store, (ids) => { location.hash = `#/episodes/${ids.join("/")}`; }),
    curves: new CurvesPage(store),
  };
  store.addEventListener("change", () => {
    pages.episodes.grown();
    if (place().page === "curves") pages.curves.grown();
    drawTop();
  });
  addEventListener("hashchange", () => {
    if (place().page === "curves") pages.curves.grown();
    route();
  });
  addEventListener("keydown", key);
  route();
}

store.addEventListener("status", drawTop);
drawTop();
start();
