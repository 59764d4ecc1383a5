// Start here: the top line, the pages, and what is in the address after `#`.
//
//     #/runs                                all runs
//     #/run/KEY                             one run: what it is, its curve, its panel, its settings
//     #/episodes                            the list
//     #/episodes/KEY/PART/STEP/PLACE        an episode; two of them, one after the other, stand side by side
//     #/tasks                               tasks by step
//     #/curves                              all metrics
//
// What comes after a `?` says how it is shown: filters, colour, metric. KEY is the run's own, wherever it is shown.

import { place } from "./address.js";
import { CurvesPage } from "./curves.js";
import { el, fill } from "./dom.js";
import { EpisodesPage } from "./episodes.js";
import { RunPage, RunsPage } from "./run.js";
import { Store } from "./store.js";
import { TasksPage } from "./tasks.js";

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
  ["g r, g e, g t, g c", "go to the run, to episodes, tasks, curves"],
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
  const at = page();
  const tab = (name, label, shows = [name]) => el("a", { href: `#/${name}`, ariaCurrent: shows.includes(at) ? "page" : null }, label);
  const one = store.runs.length === 1;
  fill(top,
    el("h1", {}, "sdar view"),
    el("nav", { ariaLabel: "pages" },
      one ? tab(`run/${store.runs[0].key}`, "Run", ["run"]) : tab("runs", "Runs", ["runs", "run"]),
      tab("episodes", "Episodes"), tab("tasks", "Tasks"), tab("curves", "Curves")),
    el("span.runs", { title: store.runs.map((run) => run.name).join("\n") }, store.runs.map((run) => run.name).join(", ")),
    problems.length > 0 && el("span.problem", { title: problems.join("\n") }, `${problems.length} unreadable`),
    el(on ? `span.live.${on}` : "span.live", { title: text }, text),
    el("button.quiet", { onclick: showHelp, ariaLabel: "help", title: "keys" }, "?"),
  );
  document.title = store.runs.length === 1 ? `${store.runs[0].name} – sdar view` : "sdar view";
}

// The page that the address names, or else the landing page.
function page() {
  const name = place().page;
  return name in pages ? name : store.runs.length === 1 ? "run" : "runs";
}

function route() {
  const name = page();
  const at = place();
  const rest = name === at.page ? at.rest : [store.runs[0]?.key];
  const named = [...(["run", "episodes"].includes(name) ? [rest[0], rest[4]] : []), at.query.get("run")];
  const unknown = named.find((key) => key && !store.run(key));
  if (unknown) {
    fill(main, el("div.empty", {}, `This address is of the run ${unknown}, which is not among those shown: start with “sdar view” and that run.`));
  } else {
    if (main.firstChild !== pages[name].node) fill(main, pages[name].node);
    pages[name].route(rest, at.query);
  }
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
    "/": () => document.getElementById({ curves: "metric", tasks: "task-text" }[page()] ?? "filter-text")?.focus(),
    j: () => episodes.list.move(1),
    k: () => episodes.list.move(-1),
    c: () => (before === "g" ? go("curves") : page() === "episodes" && episodes.nextColour()),
    e: () => before === "g" && go("episodes"),
    r: () => before === "g" && go(store.runs.length === 1 ? `run/${store.runs[0].key}` : "runs"),
    t: () => before === "g" && go("tasks"),
    ArrowLeft: () => episodes.moveToken(-1),
    ArrowRight: () => episodes.moveToken(1),
  };
  if (!inList && !event.target.closest(".token")) {
    Object.assign(actions, { ArrowDown: actions.j, ArrowUp: actions.k });
  }
  const act = actions[event.key];
  if (!act || (page() !== "episodes" && OF_EPISODES.has(event.key))) return;
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
    runs: new RunsPage(store), run: new RunPage(store), episodes: new EpisodesPage(store),
    tasks: new TasksPage(store), curves: new CurvesPage(store),
  };
  store.addEventListener("change", () => {
    pages.episodes.grown();
    if (page() !== "episodes") pages[page()].grown();
    drawTop();
  });
  addEventListener("hashchange", route);
  addEventListener("keydown", key);
  route();
}

store.addEventListener("status", drawTop);
drawTop();
start();
