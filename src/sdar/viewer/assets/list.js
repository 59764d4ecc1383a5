// The list of episodes. Only the rows in sight are elements, however many there are.

import { count, el, short, signed } from "./dom.js";
import { Windowed } from "./windowed.js";

const HEIGHT = 52;
const SPARE = 6;

export class EpisodeList {
  rows = [];
  #selected = null;
  #revealed = null;
  #window;

  // `open(row, beside)` is called when the user picks a row.
  constructor(runs, open) {
    this.runs = runs;
    this.open = open;
    this.inner = el("div.inner");
    this.node = el("div.rows", {
      tabIndex: 0, role: "listbox", ariaLabel: "episodes", onscroll: () => this.#window.draw(), onkeydown: (event) => this.#key(event),
    }, this.inner);
    this.#window = new Windowed(this.node, this.inner, HEIGHT, SPARE, (number) => this.#row(number));
    this.#window.reset(0);
    new ResizeObserver(() => this.#window.draw()).observe(this.node);
  }

  show(rows) {
    const before = Math.floor(this.node.scrollTop / HEIGHT);
    const after = before > 0 ? rows.indexOf(this.rows[before]) : -1;
    this.rows = rows;
    this.#window.reset(rows.length);
    // Rows that came in above must not push away what the user looks at.
    if (after >= 0) this.node.scrollTop += (after - before) * HEIGHT;
    this.#window.draw();
  }

  // Mark a row, and bring it into sight once.
  select(id) {
    this.#selected = id;
    const at = this.rows.findIndex((row) => row.id !== null && row.id === id);
    if (at >= 0 && this.#revealed !== id) {
      this.#revealed = id;
      this.#reveal(at);
    }
    for (const [number, node] of this.#window.drawn) node.ariaSelected = String(this.rows[number].id === id);
  }

  // Select the row that is `by` rows away, and open it.
  move(by) {
    const at = this.rows.findIndex((row) => row.id === this.#selected);
    let next = at < 0 ? 0 : Math.max(0, Math.min(this.rows.length - 1, at + by));
    while (this.rows[next] && !this.rows[next].id && this.rows[next + Math.sign(by)]) next += Math.sign(by);
    if (this.rows[next]?.id) this.#pick(next, false);
  }

  #row(number) {
    const row = this.rows[number];
    if (row.group !== undefined) return this.#head(row, number);
    const facts = [
      row.part === "training" ? null : row.part, `step ${row.step}`, `reward ${short(row.reward)}`, count(row.turns, "turn"),
      row.gap === null ? null : `gap ${signed(row.gap)}`, row.kind,
    ].filter(Boolean).join(" · ");
    const node = el("div.row", {
      role: "option", ariaSelected: String(row.id !== null && row.id === this.#selected),
      title: row.id ? row.task : `${row.task}: this episode was not kept turn by turn (${row.part === "training" ? "train" : "eval"}.record)`,
      onclick: (event) => row.id && this.#pick(number, event.shiftKey || event.ctrlKey || event.metaKey),
    },
    mark(row.success),
    el("div.goal", {}, row.goal || row.task),
    el("div.facts.num", {}, this.runs.length > 1 ? dot(row.run) : null, facts));
    node.ariaDisabled = String(!row.id);
    node.ariaSetSize = String(this.rows.length);
    node.ariaPosInSet = String(number + 1);
    node.style.top = `${number * HEIGHT}px`;
    return node;
  }

  #head(row, number) {
    const node = el("div.row.head", { role: "presentation", title: row.group },
      el("div.goal", {}, row.goal || row.group), el("div.facts.num", {}, `${row.won} of ${row.all} shown solved${row.goal ? ` · ${row.group}` : ""}`));
    node.style.top = `${number * HEIGHT}px`;
    return node;
  }

  #pick(number, beside) {
    this.select(this.rows[number].id);
    this.open(this.rows[number], beside);
  }

  #reveal(number) {
    const top = number * HEIGHT;
    if (top < this.node.scrollTop) this.node.scrollTop = top;
    const bottom = top + HEIGHT - this.node.clientHeight;
    if (bottom > this.node.scrollTop) this.node.scrollTop = bottom;
    this.#window.draw();
  }

  #key(event) {
    const page = Math.max(1, Math.floor(this.node.clientHeight / HEIGHT) - 1);
    const moves = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    if (!(event.key in moves)) return;
    event.preventDefault();
    this.move(moves[event.key]);
  }
}

export function mark(success) {
  return el(success ? "span.mark.yes" : "span.mark.no", { title: success ? "solved" : "not solved" }, success ? "✓" : "✗");
}

export function dot(run) {
  return el(`span.dot.line-${run % 8}`);
}
