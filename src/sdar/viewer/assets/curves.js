// The page of curves: every metric of every run, smoothed as wished, and seeds joined to a mean with a band.

import { note } from "./address.js";
import { chart } from "./chart.js";
import { csvButton } from "./csv.js";
import { el, fill } from "./dom.js";

const MAIN = ["eval/success", "rollout/success", "teacher/gap_mean", "sdar/gate_mean", "objective/loss", "rollout/entropy"];
const SPAN = 5;
const OVERVIEW = "overview";
const OTHER = "other";

export class CurvesPage {
  span = SPAN;
  wanted = "";
  joined = false;

  constructor(store) {
    this.store = store;
    this.body = el("div");
    this.key = el("div.key");
    this.hidden = new Set();
    const smoothing = el("input", { type: "range", min: "1", max: "51", step: "2", id: "smoothing" });
    const amount = el("span.num");
    const search = el("input", { type: "search", id: "metric", placeholder: "metric" });
    const join = el("input", { type: "checkbox", id: "join" });
    smoothing.addEventListener("input", () => this.#set({ span: Number(smoothing.value) }));
    search.addEventListener("input", () => this.#set({ wanted: search.value }));
    join.addEventListener("input", () => this.#set({ joined: join.checked }));
    this.#show = () => {
      smoothing.value = String(this.span);
      amount.textContent = this.span === 1 ? "off" : `${this.span} steps`;
      if (search.value !== this.wanted) search.value = this.wanted;
      join.checked = this.joined;
    };
    const groups = new Set(store.runs.map((run) => run.group));
    this.node = el("div.curves", {},
      el("div.bar", {},
        el("label.field", {}, el("span", {}, "metric"), search),
        el("label.field", {}, el("span", {}, "smoothing"), smoothing, amount),
        groups.size < store.runs.length && el("label.check", {}, join, "join seeds: mean, and a band from lowest to highest"),
        csvButton("metrics", () => this.#table()),
        this.key),
      store.runs.flatMap((run) => run.segments.map((line) => el("p.note", {}, line))),
      this.body);
  }

  #show;

  // Show what an address says.
  route(rest, query) {
    const span = Number(query.get("smooth") ?? SPAN);
    this.span = span >= 1 && span <= 51 ? span : SPAN;
    this.wanted = query.get("metric") ?? "";
    this.joined = query.has("join");
    this.hidden = new Set(query.getAll("hide"));
    this.grown();
  }

  #set(changes) {
    Object.assign(this, changes);
    note("curves", [], { metric: this.wanted, smooth: this.span === SPAN ? "" : this.span, join: this.joined && "1", hide: [...this.hidden] });
    this.grown();
  }

  // Every value of the metrics that are shown, one line a run and step.
  #table() {
    const names = this.#wanted(this.#names());
    return [["run", "step", ...names], ...this.store.runs.flatMap((run) => run.lines.map((line) => [run.name, line.step, ...names.map((name) => line[name] ?? null)]))];
  }

  #names() {
    const names = new Set(this.store.runs.flatMap((run) => run.lines.flatMap((line) => Object.keys(line))));
    names.delete("step");
    return names;
  }

  #wanted(names) {
    return [...names].filter((name) => name.toLowerCase().includes(this.wanted.trim().toLowerCase()) && !isBound(name, names)).sort();
  }

  grown() {
    this.#show();
    const series = this.joined ? joinSeeds(this.store.runs) : this.store.runs.map((run) => ({ id: run.key, label: labelOf(run), line: run.number, runs: [run] }));
    this.#drawKey(series);
    const shown = series.filter((each) => !this.hidden.has(each.id));
    const names = this.#names();
    const wanted = this.#wanted(names);
    const sections = new Map();
    const main = MAIN.filter((name) => wanted.includes(name));
    if (main.length) sections.set(OVERVIEW, main);
    for (const name of wanted) {
      if (main.includes(name)) continue;
      const section = name.includes("/") ? name.slice(0, name.indexOf("/")) : OTHER;
      sections.set(section, [...(sections.get(section) ?? []), name]);
    }
    fill(this.body, [...sections].flatMap(([section, metrics]) => [
      el("h2", {}, section),
      el(section === OVERVIEW ? "div.grid.big" : "div.grid", {}, metrics.map((name) => lazily(() => (
        chart(name, shown.map((each) => points(each, name, names)), name.startsWith("eval/") ? 1 : this.span, section === OVERVIEW ? 210 : 150)
      )))),
    ]), wanted.length ? "" : el("div.empty", {}, names.size ? "No metric has this name." : "No metrics yet. They appear after the first step."));
  }

  #drawKey(series) {
    fill(this.key, (series.length < 2 ? [] : series.map((each) => {
      const box = el("input", { type: "checkbox", checked: !this.hidden.has(each.id) });
      box.addEventListener("input", () => {
        if (box.checked) this.hidden.delete(each.id);
        else this.hidden.add(each.id);
        this.#set({});
      });
      return el("label.check", {}, box, el(`span.dot.line-${each.line % 8}`), each.label);
    })));
  }
}

// A run by its name and the settings that tell it from the others.
function labelOf(run) {
  const differs = Object.entries(run.differs).filter(([, value]) => value !== null).slice(0, 4).map(([name, value]) => `${name} ${value}`);
  return differs.length ? `${run.name} (${differs.join(", ")})` : run.name;
}

function joinSeeds(runs) {
  const groups = new Map();
  for (const run of runs) groups.set(run.group, [...(groups.get(run.group) ?? []), run]);
  return [...groups.values()].map((members, line) => {
    const differs = Object.entries(members[0].differs).filter(([name, value]) => name !== "train.seed" && value !== null).map(([name, value]) => `${name} ${value}`);
    const label = differs.join(", ") || members[0].name;
    return { id: members.map((run) => run.key).join("+"), label: `${label}, ${members.length} ${members.length === 1 ? "seed" : "seeds"}`, line, runs: members };
  });
}

// The points of one metric: a run's own, with its interval where it has one, or the mean over seeds.
export function points({ label, line, runs }, name, names) {
  const found = runs.map((run) => new Map(run.lines.filter((each) => Number.isFinite(each[name])).map((each) => [each.step, each])));
  if (runs.length > 1) {
    const steps = [...found[0].keys()].filter((step) => found.every((each) => each.has(step)));
    const values = steps.map((step) => found.map((each) => each.get(step)[name]));
    return {
      label, line, x: steps, y: values.map((each) => each.reduce((a, b) => a + b, 0) / each.length),
      low: values.map((each) => Math.min(...each)), high: values.map((each) => Math.max(...each)),
    };
  }
  const lines = [...found[0].values()];
  const one = { label, line, x: lines.map((each) => each.step), y: lines.map((each) => each[name]) };
  const bounds = [`${name}_low`, `${name}_high`];
  if (!bounds.every((bound) => names.has(bound))) return one;
  return { ...one, low: lines.map((each) => each[bounds[0]] ?? each[name]), high: lines.map((each) => each[bounds[1]] ?? each[name]) };
}

function isBound(name, names) {
  return /_(low|high)$/.test(name) && names.has(name.replace(/_(low|high)$/, ""));
}

// Draw a chart when it comes into sight.
const waiting = new WeakMap();
const watcher = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    watcher.unobserve(target);
    target.replaceWith(waiting.get(target)());
  }
}, { rootMargin: "200px" });

function lazily(draw) {
  const place = el("div.chart");
  waiting.set(place, draw);
  watcher.observe(place);
  return place;
}
