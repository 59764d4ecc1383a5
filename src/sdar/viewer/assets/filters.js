// What the list shows: the filters above it, and their order. They stand in the address.

import { el, fill, select } from "./dom.js";

const ORDERS = {
  newest: ["newest step first", (a, b) => b.step - a.step],
  oldest: ["oldest step first", (a, b) => a.step - b.step],
  reward: ["largest reward first", (a, b) => b.reward - a.reward],
  gap: ["largest mean gap first", (a, b) => (b.gap ?? -Infinity) - (a.gap ?? -Infinity)],
  turns: ["most turns first", (a, b) => b.turns - a.turns],
};
const ALL = "";
const DEFAULTS = {
  text: "", task: "", run: ALL, part: ALL, kind: ALL, success: ALL, skill: ALL, order: "newest", group: "",
  from: "", to: "", least: "", most: "", all: "",
};

export class Filters {
  values = { ...DEFAULTS };

  constructor(runs, changed) {
    this.runs = runs;
    this.changed = changed;
    this.controls = el("div.filters", { role: "search" });
    this.node = el("details.filters-box", { open: innerWidth > 700 }, el("summary", {}, "Filters"), this.controls);
  }

  #signature = null;

  // Take over what an address says.
  read(query) {
    const wanted = Object.fromEntries(Object.entries(DEFAULTS).map(([name, value]) => [name, query.get(name) ?? value]));
    if (!(wanted.order in ORDERS)) wanted.order = DEFAULTS.order;
    if (JSON.stringify(wanted) === JSON.stringify(this.values)) return;
    this.values = wanted;
    this.#signature = null;
  }

  // What an address has to say.
  get query() {
    return Object.fromEntries(Object.entries(this.values).filter(([name, value]) => value !== DEFAULTS[name]));
  }

  // Draw the controls again when there is something new to choose from.
  refresh(rows) {
    const of = (values) => [...new Set(values)].sort();
    const kinds = of(rows.map((row) => row.kind));
    const skills = of(rows.flatMap((row) => row.skills));
    const parts = of(rows.map((row) => row.part));
    const signature = JSON.stringify([kinds, skills, parts]);
    if (signature === this.#signature) return;
    this.#signature = signature;
    const focused = document.activeElement?.id;
    fill(this.controls,
      el("label.field.wide", {}, el("span", {}, "goal or task"), this.#input("search", "text", "filter-text")),
      this.values.task !== "" && el("div.wide.chips", {}, "only the task ", el("button.chip", {
        title: "show all tasks", onclick: () => { this.#set("task", ""); this.#signature = null; this.refresh(rows); },
      }, `${this.values.task} ×`)),
      this.runs.length > 1 && this.#choose("run", "run", this.runs.map((run) => [run.key, run.name]), "wide"),
      this.#choose("played in", "part", parts.map((part) => [part, part])),
      this.#choose("outcome", "success", [["yes", "✓ solved"], ["no", "✗ not solved"]]),
      this.#choose("task kind", "kind", kinds.map((kind) => [kind, kind])),
      this.#choose("skill seen", "skill", skills.map((skill) => [skill, skill])),
      select("order", this.values.order, Object.entries(ORDERS).map(([key, [text]]) => [key, text]), (value) => this.#set("order", value)),
      this.#choose("grouped by", "group", [["task", "task"], ["kind", "task kind"]], "", "nothing"),
      this.#range("steps", "from", "to"),
      this.#range("reward", "least", "most"),
      el("label.check.wide", {}, this.#input("checkbox", "all", "filter-all"), "also episodes that were not kept turn by turn"),
    );
    if (focused) document.getElementById(focused)?.focus();
  }

  apply(rows) {
    const { text, task, run, part, kind, success, skill, all } = this.values;
    const [from, to, least, most] = ["from", "to", "least", "most"].map((name) => this.values[name]);
    const wanted = text.trim().toLowerCase();
    const shown = rows.filter((row) => (
      (all !== "" || row.id)
      && (task === "" || row.task === task)
      && (run === ALL || row.key === run)
      && (part === ALL || row.part === part)
      && (kind === ALL || row.kind === kind)
      && (success === ALL || row.success === (success === "yes"))
      && (skill === ALL || row.skills.includes(skill))
      && (from === "" || row.step >= Number(from)) && (to === "" || row.step <= Number(to))
      && (least === "" || row.reward >= Number(least)) && (most === "" || row.reward <= Number(most))
      && (wanted === "" || row.find.includes(wanted))
    ));
    return shown.sort(ORDERS[this.values.order][1]);
  }

  // The rows of each task or kind together, under a row that sums them up.
  grouped(rows) {
    const { group } = this.values;
    if (group !== "task" && group !== "kind") return rows;
    const groups = new Map();
    for (const row of rows) {
      if (!groups.has(row[group])) groups.set(row[group], []);
      groups.get(row[group]).push(row);
    }
    return [...groups].sort(([a], [b]) => (a < b ? -1 : 1)).flatMap(([name, members]) => [
      { id: null, group: name, goal: group === "task" ? members.find((row) => row.goal)?.goal ?? "" : "", all: members.length, won: members.filter((row) => row.success).length },
      ...members,
    ]);
  }

  #set(name, value) {
    this.values[name] = value;
    this.changed();
  }

  #choose(label, name, options, width = "", none = "all") {
    const field = select(label, this.values[name], [[ALL, none], ...options], (value) => this.#set(name, value));
    if (width) field.classList.add(width);
    field.querySelector("select").id = `filter-${name}`;
    return field;
  }

  #range(label, low, high) {
    return el("div.field", {}, el("span", {}, label),
      el("div.pair", {}, this.#input("number", low, `filter-${low}`, `${label} from`), "–", this.#input("number", high, `filter-${high}`, `${label} to`)));
  }

  #input(type, name, id, label = null) {
    const box = type === "checkbox";
    const input = el("input", { type, id, oninput: () => this.#set(name, box ? (input.checked ? "1" : "") : input.value) });
    if (label) input.ariaLabel = label;
    if (type === "number") input.step = "any";
    if (box) input.checked = this.values[name] !== "";
    else input.value = this.values[name];
    return input;
  }
}
