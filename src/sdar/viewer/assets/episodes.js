// The page of episodes: filters and list on the left, one or two episodes on the right.

import { link, note } from "./address.js";
import { csvButton } from "./csv.js";
import { el, fill, select } from "./dom.js";
import { EpisodePane } from "./episode.js";
import { Filters } from "./filters.js";
import { EpisodeList, mark } from "./list.js";
import { describe, paint, scaleOf } from "./scales.js";
import { hideTip } from "./tip.js";

const BUTTONS = ["gap", "gate", "adv", "credit", "entropy"];
const SHOWN = ["key", "part", "step", "task", "kind", "goal", "index", "success", "reward", "end", "turns", "invalid", "tokens", "gap"];

export class EpisodesPage {
  coloured = null;
  chosen = "";
  panes = [];
  ids = [];

  constructor(store) {
    this.store = store;
    this.filters = new Filters(store.runs, () => {
      this.#list();
      note("episodes", this.ids, this.#query);
    });
    this.list = new EpisodeList(store.runs, (row, beside) => this.open(row.id, beside));
    this.counts = el("div.counts.num", { ariaLive: "polite" });
    this.bar = el("div.bar");
    this.beside = el("div.side-by-side");
    this.node = el("div.page", {},
      el("aside.side", {}, this.filters.node, this.counts, this.list.node),
      el("section.panes", {}, this.bar, this.beside));
    this.grown();
  }

  get #query() {
    return { ...this.filters.query, colour: this.chosen };
  }

  go(ids) {
    location.hash = link("episodes", ids, this.#query);
  }

  // Show what an address says: filters, and episodes by id, none to two.
  route(rest, query) {
    this.filters.read(query);
    this.chosen = query.get("colour") ?? "";
    if (this.chosen) this.coloured = this.chosen;
    this.filters.refresh(this.rows);
    this.#list();
    const ids = [rest.slice(0, 4), rest.slice(4, 8)].filter((part) => part.length === 4).map((part) => part.join("/"));
    this.show(ids);
  }

  // The runs have grown.
  grown() {
    this.rows = this.store.runs.flatMap((run) => run.rows);
    this.filters.refresh(this.rows);
    this.#list();
    if (!this.ids.length) this.show([]);
    for (const pane of this.panes) pane.showNear(this.#near(pane.id));
  }

  // Show these episodes, none to two, by id.
  async show(ids) {
    this.ids = ids;
    this.node.classList.toggle("reading", ids.length > 0);
    hideTip();
    this.list.select(ids.at(-1) ?? null);
    if (!ids.length) {
      this.panes = [];
      fill(this.bar);
      fill(this.beside, el("div.empty", {}, this.rows.length
        ? "Pick an episode on the left. Shift-click puts a second one beside it."
        : "No episodes yet. They appear here as soon as a training step is over."));
      return;
    }
    try {
      const records = await Promise.all(ids.map((id) => this.store.episode(id)));
      if (this.ids !== ids) return;
      this.#draw(ids, records);
    } catch (error) {
      fill(this.bar, this.#back());
      fill(this.beside, el("div.empty", {}, `This episode cannot be shown: ${error.message}`));
    }
  }

  open(id, beside = false) {
    this.go(beside && this.ids.length && this.ids[0] !== id ? [this.ids[0], id] : [id]);
  }

  colour(name) {
    this.coloured = name;
    const values = this.panes.flatMap((pane) => pane.values(name));
    const scale = scaleOf(name, values);
    for (const pane of this.panes) pane.colour(name, scale);
    this.#drawBar(name, scale);
  }

  // Colour by the next of the streams.
  nextColour() {
    const have = this.#names();
    if (have.length) this.#choose(have[(have.indexOf(this.coloured) + 1) % have.length]);
  }

  // Colour by what the user wants, and say so in the address.
  #choose(name) {
    this.chosen = name;
    note("episodes", this.ids, this.#query);
    this.colour(name);
  }

  #back() {
    return el("a.quiet.back", { href: link("episodes", [], this.#query) }, "← list");
  }

  // Put the focus on the token that is `by` tokens away.
  moveToken(by) {
    const pane = this.panes.find((each) => each.node.contains(document.activeElement)) ?? this.panes[0];
    if (!pane) return;
    const at = pane.tokens.indexOf(document.activeElement);
    pane.tokens[Math.max(0, Math.min(pane.tokens.length - 1, at < 0 ? 0 : at + by))]?.focus();
  }

  #list() {
    const rows = this.filters.apply(this.rows);
    const kept = this.rows.reduce((sum, row) => sum + (row.id !== null), 0);
    const waiting = this.store.runs.reduce((sum, run) => sum + run.waiting, 0);
    const save = csvButton("episodes", () => [SHOWN, ...rows.map((row) => SHOWN.map((name) => row[name]))]);
    fill(this.counts,
      el("span", {}, `${rows.length.toLocaleString("en")} of ${this.rows.length.toLocaleString("en")} episodes`),
      el("span", {}, waiting ? `reading, ${waiting} steps to go` : kept < this.rows.length ? `${kept.toLocaleString("en")} kept` : ""),
      save,
    );
    this.list.show(this.filters.grouped(rows));
    this.list.select(this.ids.at(-1) ?? null);
  }

  #draw(ids, records) {
    this.panes = ids.map((id, number) => new EpisodePane(
      id, records[number], ids.length > 1 && (() => this.go(ids.filter((_, other) => other !== number))),
    ));
    for (const pane of this.panes) pane.showNear(this.#near(pane.id));
    fill(this.beside, this.panes.map((pane) => pane.node));
    const names = this.#names();
    this.colour(names.includes(this.coloured) ? this.coloured : names[0]);
  }

  #names() {
    return [...new Set(this.panes.flatMap((pane) => Object.keys(pane.streams)))];
  }

  // Links that put another episode of the group, or the task at another step or run, beside this one.
  #near(id) {
    const row = this.store.row(id);
    if (!row) return [];
    const same = this.rows.filter((other) => other.id && other.task === row.task && other.id !== id);
    const beside = (other, text) => el("a.chip", {
      href: link("episodes", [id, other.id], this.#query), ariaCurrent: this.ids.includes(other.id) ? "true" : null, title: "put it beside this one",
    }, mark(other.success), ` ${text}`);
    const group = same.filter((other) => other.run === row.run && other.part === row.part && other.step === row.step);
    const later = same.filter((other) => !group.includes(other));
    return [
      { label: "beside, same group:", links: group.map((other) => beside(other, `episode ${other.index}`)) },
      {
        label: "beside, same task:",
        links: later.slice(0, 40).map((other) => beside(other, `${other.run === row.run ? "" : `${this.store.runs[other.run].name}, `}${other.part === row.part ? "" : `${other.part}, `}step ${other.step}, episode ${other.index}`)),
      },
    ];
  }

  #drawBar(name, scale) {
    const names = this.#names();
    const buttons = BUTTONS.filter((each) => names.includes(each)).map((each) => el("button", {
      ariaPressed: String(each === name), data: { stream: each }, onclick: () => this.#choose(each),
    }, describe(each).label));
    const others = names.filter((each) => !BUTTONS.includes(each)).map((each) => [each, describe(each).label]);
    const more = select("or", others.some(([each]) => each === name) ? name : "", [["", "more…"], ...others], (value) => value && this.#choose(value));
    more.firstChild.remove();
    const { ends, note } = describe(name);
    fill(this.bar, this.#back(),
      el("span", {}, "Colour tokens by"), el("div.choice", { role: "group", ariaLabel: "colour tokens by" }, buttons), more,
      el("span.hint", {}, "Point at a token for all its values"),
      el("div.note", {}, `${describe(name).label}: ${note}`), legend(scale, ends),
    );
  }
}

function legend(scale, ends = ["", ""]) {
  const steps = scale.low < 0 ? [-1, -0.75, -0.5, -0.25, 0, 0.25, 0.5, 0.75, 1] : [0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1];
  const ramp = steps.map((step) => {
    const cell = el("i.token");
    paint(cell, step * scale.limit, scale);
    return cell;
  });
  const [least, most] = { unit: ["", ""], positive: ["", "≥ "], diverging: ["≤ ", "≥ "] }[scale.kind];
  return el("div.legend.num", { ariaLabel: "legend" }, ends[0],
    el("span", {}, `${least}${scale.low}`.replace("-", "−")), el("span.ramp", {}, ramp), el("span", {}, `${most}${scale.limit}`), ends[1]);
}
