// What the list shows: the filters above it, and their order.

import { el, fill, select } from "./dom.js";

const ORDERS = {
  newest: ["newest step first", (a, b) => b.step - a.step],
  oldest: ["oldest step first", (a, b) => a.step - b.step],
  reward: ["largest reward first", (a, b) => b.reward - a.reward],
  gap: ["largest mean gap first", (a, b) => (b.gap ?? -Infinity) - (a.gap ?? -Infinity)],
  turns: ["most turns first", (a, b) => b.turns - a.turns],
};
const ALL = "";

export class Filters {
  values = { text: "", run: ALL, kind: ALL, success: ALL, skill: ALL, order: "newest", from: "", to: "", least: "", most: "", kept: true };

  constructor(runs, changed) {
    this.runs = runs;
    this.changed = changed;
    this.node = el("div.filters", { role: "search" });
    this.#signature = null;
  }

  #signature;

  // Draw the controls again when there are new kinds or skills to choose from.
  refresh(rows) {
    const kinds = [...new Set(rows.map((row) => row.kind))].sort();
    const skills = [...new Set(rows.flatMap((row) => row.skills))].sort();
    const signature = JSON.stringify([kinds, skills]);
    if (signature === this.#signature) return;
    this.#signature = signature;
    const focused = document.activeElement?.id;
    fill(this.node,
      el("label.field.wide", {}, el("span", {}, "goal or task"), this.#input("search", "text", "filter-text")),
      this.runs.length > 1 && this.#choose("run", "run", this.runs.map((run) => [String(run.number), run.name]), "wide"),
      this.#choose("task kind", "kind", kinds.map((kind) => [kind, kind])),
      this.#choose("outcome", "success", [["yes", "✓ solved"], ["no", "✗ not solved"]]),
      this.#choose("skill seen", "skill", skills.map((skill) => [skill, skill])),
      select("order", this.values.order, Object.entries(ORDERS).map(([key, [text]]) => [key, text]), (value) => this.#set("order", value)),
      this.#range("steps", "from", "to"),
      this.#range("reward", "least", "most"),
      el("label.check.wide", {}, this.#input("checkbox", "kept", "filter-kept"), "only episodes whose tokens were kept"),
    );
    if (focused) document.getElementById(focused)?.focus();
  }

  apply(rows) {
    const { text, run, kind, success, skill, kept } = this.values;
    const [from, to, least, most] = ["from", "to", "least", "most"].map((name) => this.values[name]);
    const wanted = text.trim().toLowerCase();
    const shown = rows.filter((row) => (
      (!kept || row.id)
      && (run === ALL || row.run === Number(run))
      && (kind === ALL || row.kind === kind)
      && (success === ALL || row.success === (success === "yes"))
      && (skill === ALL || row.skills.includes(skill))
      && (from === "" || row.step >= Number(from)) && (to === "" || row.step <= Number(to))
      && (least === "" || row.reward >= Number(least)) && (most === "" || row.reward <= Number(most))
      && (wanted === "" || row.find.includes(wanted))
    ));
    return shown.sort(ORDERS[this.values.order][1]);
  }

  #set(name, value) {
    this.values[name] = value;
    this.changed();
  }

  #choose(label, name, options, width = "") {
    const field = select(label, this.values[name], [[ALL, "all"], ...options], (value) => this.#set(name, value));
    if (width) field.classList.add(width);
    field.querySelector("select").id = `filter-${name}`;
    return field;
  }

  #range(label, low, high) {
    return el("div.field", {}, el("span", {}, label),
      el("div.pair", {}, this.#input("number", low, `filter-${low}`, `${label} from`), "–", this.#input("number", high, `filter-${high}`, `${label} to`)));
  }

  #input(type, name, id, label = null) {
    const input = el("input", { type, id, oninput: () => this.#set(name, type === "checkbox" ? input.checked : input.value) });
    if (label) input.ariaLabel = label;
    if (type === "number") input.step = "any";
    if (type === "checkbox") input.checked = this.values[name];
    else input.value = this.values[name];
    return input;
  }
}
