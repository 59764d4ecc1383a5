// The table of task by step: what was won and lost when, and so what was learnt and what was forgotten.

import { link, note } from "./address.js";
import { csvButton } from "./csv.js";
import { el, fill, select } from "./dom.js";
import { Windowed } from "./windowed.js";

const ROW = 30;
const CELL = 38;
const SPARE = 8;
const MARKS = { won: "✓", lost: "✗" };
const CHANGES = {
  learnt: "solved more at the last step than at the first", forgotten: "solved less at the last step than at the first",
  always: "solved each time", never: "never solved", between: "the same at the first and the last step, not always or never",
};
const SETTINGS = ["run", "part", "kind", "change", "text"];

export class TasksPage {
  values = Object.fromEntries(SETTINGS.map((name) => [name, ""]));
  #window;

  constructor(store) {
    this.store = store;
    this.bar = el("div.bar");
    this.counts = el("div.chips");
    this.head = el("div.task-head.num");
    this.inner = el("div.inner");
    this.table = el("div.task-table", { tabIndex: 0, role: "table", ariaLabel: "tasks by step", onscroll: () => this.#window.draw() }, this.head, this.inner);
    this.node = el("div.tasks", {}, this.bar, this.counts, this.table);
    this.search = el("input", { type: "search", id: "task-text", oninput: () => this.#set("text", this.search.value) });
    this.#window = new Windowed(this.table, this.inner, ROW, SPARE, (number) => this.#row(number));
    new ResizeObserver(() => this.#layout()).observe(this.table);
  }

  route(rest, query) {
    for (const name of SETTINGS) this.values[name] = query.get(name) ?? "";
    this.grown();
  }

  grown() {
    const { runs } = this.store;
    const run = this.store.run(this.values.run) ?? runs[0];
    const parts = [...new Set(run.rows.map((row) => row.part))].sort((a, b) => (b === "panel") - (a === "panel") || (a < b ? -1 : 1));
    const part = parts.includes(this.values.part) ? this.values.part : parts[0] ?? "";
    const rows = run.rows.filter((row) => row.part === part);
    this.steps = [...new Set(rows.map((row) => row.step))].sort((a, b) => a - b);
    const all = tasksOf(rows);
    const kinds = [...new Set(all.map((task) => task.kind))].sort();
    const wanted = this.values.text.trim().toLowerCase();
    const here = all.filter((task) => (!this.values.kind || task.kind === this.values.kind) && (!wanted || `${task.goal}\n${task.task}`.toLowerCase().includes(wanted)));
    this.run = run;
    this.part = part;
    this.shown = here.filter((task) => !this.values.change || task.change === this.values.change);
    this.#drawBar(parts, kinds);
    fill(this.counts, Object.keys(CHANGES).map((change) => el("button.chip", {
      title: CHANGES[change], ariaPressed: String(this.values.change === change), data: { change },
      onclick: () => this.#set("change", this.values.change === change ? "" : change),
    }, `${change === "always" || change === "never" ? `${change} solved` : change === "between" ? "in between" : change} ${here.filter((task) => task.change === change).length}`)),
    el("span.num", {}, `${this.shown.length} of ${all.length} tasks`));
    this.#layout();
  }

  #drawBar(parts, kinds) {
    const { runs } = this.store;
    if (this.search.value !== this.values.text) this.search.value = this.values.text;
    const focused = document.activeElement === this.search;
    fill(this.bar,
      runs.length > 1 && select("run", this.run.key, runs.map((run) => [run.key, run.name]), (value) => this.#set("run", value)),
      select("played in", this.part, parts.map((part) => [part, part]), (value) => this.#set("part", value)),
      select("task kind", this.values.kind, [["", "all"], ...kinds.map((kind) => [kind, kind])], (value) => this.#set("kind", value)),
      el("label.field", {}, el("span", {}, "goal or task"), this.search),
      csvButton(`${this.run.name}-${this.part}-tasks`, () => this.#csv()));
    if (focused) this.search.focus();
  }

  #set(name, value) {
    this.values[name] = value;
    note("tasks", [], this.values);
    this.grown();
  }

  #csv() {
    return [
      ["task", "goal", "kind", "change", ...this.steps.map((step) => `step ${step}`)],
      ...this.shown.map((task) => [task.task, task.goal, task.kind, task.change, ...this.steps.map((step) => {
        const cell = task.cells.get(step);
        return cell ? cell.won / cell.rows.length : null;
      })]),
    ];
  }

  #layout() {
    if (!this.shown) return;
    const label = this.table.clientWidth < 600 ? 150 : 380;
    this.table.style.setProperty("--label", `${label}px`);
    const width = `${label + this.steps.length * CELL}px`;
    this.inner.style.width = width;
    this.head.style.width = width;
    fill(this.head, el("span.task-name", {}, this.steps.length ? "task \\ step" : "No episodes yet."), this.steps.map((step, i) => {
      const node = el("span.task-step", {}, String(step));
      node.style.left = `${label + i * CELL}px`;
      return node;
    }));
    this.label = label;
    this.#window.reset(this.shown.length);
    this.#window.draw();
  }

  #row(number) {
    const task = this.shown[number];
    const name = el("a.task-name", { href: this.#address(task, {}), title: `${task.goal}\n${task.task} (${task.kind})` },
      el("span", { className: `change ${task.change}` }), task.goal || task.task);
    const cells = [...task.cells].map(([step, cell]) => {
      const state = stateOf(cell);
      const kept = cell.rows.find((row) => row.id);
      const node = el(`a.task-cell.${state}`, {
        href: kept ? this.#address(task, { id: kept.id }) : this.#address(task, { from: step, to: step }),
        title: `step ${step}: ${cell.won} of ${cell.rows.length} solved${kept ? "" : ", not kept turn by turn"}`,
        data: { step },
      }, MARKS[state] ?? `${cell.won}/${cell.rows.length}`);
      if (kept) node.classList.add("kept");
      node.style.left = `${this.label + this.steps.indexOf(step) * CELL}px`;
      return node;
    });
    const node = el("div.task-row", { role: "row", data: { task: task.task } }, name, cells);
    node.style.top = `${number * ROW}px`;
    return node;
  }

  // The episodes of a task in the list, or one of them.
  #address(task, { id, from, to }) {
    return link("episodes", id ? [id] : [], { task: task.task, run: this.run.key, part: this.part, from, to, all: "1", order: "oldest" });
  }
}

// The tasks of some episodes, kind by kind: how each went at each step, and what became of it.
function tasksOf(rows) {
  const tasks = new Map();
  for (const row of rows) {
    if (!tasks.has(row.task)) tasks.set(row.task, { task: row.task, kind: row.kind, goal: "", cells: new Map() });
    const task = tasks.get(row.task);
    task.goal ||= row.goal;
    if (!task.cells.has(row.step)) task.cells.set(row.step, { won: 0, rows: [] });
    const cell = task.cells.get(row.step);
    cell.won += row.success === true;
    cell.rows.push(row);
  }
  for (const task of tasks.values()) task.change = changeOf(task.cells);
  const key = (task) => `${task.kind}\n${task.task}`;
  return [...tasks.values()].sort((a, b) => (key(a) < key(b) ? -1 : 1));
}

function changeOf(cells) {
  const steps = [...cells.keys()].sort((a, b) => a - b);
  const rates = steps.map((step) => cells.get(step).won / cells.get(step).rows.length);
  if (rates.every((rate) => rate === 1)) return "always";
  if (rates.every((rate) => rate === 0)) return "never";
  if (rates[0] === rates.at(-1)) return "between";
  return rates[0] < rates.at(-1) ? "learnt" : "forgotten";
}

function stateOf(cell) {
  return cell.won === 0 ? "lost" : cell.won === cell.rows.length ? "won" : "mixed";
}
