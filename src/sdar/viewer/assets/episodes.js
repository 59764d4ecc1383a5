// The page of episodes: filters and list on the left, one or two episodes on the right.

import { el, fill, select } from "./dom.js";
import { EpisodePane } from "./episode.js";
import { Filters } from "./filters.js";
import { EpisodeList, mark } from "./list.js";
import { describe, paint, scaleOf } from "./scales.js";
import { hideTip } from "./tip.js";

const BUTTONS = ["gap", "gate", "adv", "entropy"];

export class EpisodesPage {
  coloured = null;
  panes = [];
  ids = [];

  constructor(store, go) {
    this.store = store;
    this.go = go;
    this.filters = new Filters(store.runs, () => this.#list());
    this.list = new EpisodeList(store.runs, (row, beside) => this.open(row.id, beside));
    this.counts = el("div.counts.num", { ariaLive: "polite" });
    this.bar = el("div.bar");
    this.beside = el("div.side-by-side");
    this.node = el("div.page", {},
      el("aside.side", {}, this.filters.node, this.counts, this.list.node),
      el("section.panes", {}, this.bar, this.beside));
    this.grown();
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

  // Colour by the next of the streams that have a button.
  nextColour() {
    const have = this.#names();
    if (have.length) this.colour(have[(have.indexOf(this.coloured) + 1) % have.length]);
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
    fill(this.counts,
      el("span", {}, `${rows.length.toLocaleString("en")} of ${this.rows.length.toLocaleString("en")} episodes`),
      el("span", {}, waiting ? `reading, ${waiting} steps to go` : kept < this.rows.length ? `${kept.toLocaleString("en")} with tokens` : ""),
    );
    this.list.show(rows);
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
    const link = (other, text) => el("a.chip", {
      href: `#/episodes/${id}/${other.id}`, ariaCurrent: this.ids.includes(other.id) ? "true" : null, title: "put it beside this one",
    }, mark(other.success), ` ${text}`);
    const group = same.filter((other) => other.run === row.run && other.step === row.step);
    const later = same.filter((other) => other.run !== row.run || other.step !== row.step);
    return [
      { label: "beside, same group:", links: group.map((other) => link(other, `episode ${other.index}`)) },
      {
        label: "beside, same task:",
        links: later.slice(0, 40).map((other) => link(other, `${other.run === row.run ? "" : `${this.store.runs[other.run].name}, `}step ${other.step}, episode ${other.index}`)),
      },
    ];
  }

  #drawBar(name, scale) {
    const names = this.#names();
    const buttons = BUTTONS.filter((each) => names.includes(each)).map((each) => el("button", {
      ariaPressed: String(each === name), data: { stream: each }, onclick: () => this.colour(each),
    }, describe(each).label));
    const others = names.filter((each) => !BUTTONS.includes(each)).map((each) => [each, describe(each).label]);
    const more = select("or", others.some(([each]) => each === name) ? name : "", [["", "more…"], ...others], (value) => value && this.colour(value));
    more.firstChild.remove();
    const { ends, note } = describe(name);
    fill(this.bar,
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
