// One episode, turn by turn, with its tokens coloured by a stream.

import { contexts } from "./contexts.js";
import { el, fill, short, signed } from "./dom.js";
import { mark } from "./list.js";
import { describe, paint, streams } from "./scales.js";
import { followTip, hideTip, showTip } from "./tip.js";

const ENDS = { cut: "cut short", done: "ended by itself", max_turns: "out of turns", context_full: "context full" };

export class EpisodePane {
  // `record` is the trajectory of episode `id`; `closed` is called by its button, or false for none.
  constructor(id, record, closed) {
    this.id = id;
    this.record = record;
    this.streams = streams(record);
    this.tokens = [];
    this.near = el("div");
    this.map = el("nav.map", { ariaLabel: "turns" });
    const turns = record.turns.map((turn, number) => this.#turn(turn, number));
    this.node = el("article.pane", { tabIndex: -1, data: { id } },
      closed && el("button.quiet.close", { onclick: closed, title: "close this episode" }, "×"),
      el("h2", {}, mark(record.success), " ", record.goal || record.task),
      this.#facts(),
      this.#skills(),
      this.#texts(),
      this.near, this.map, turns);
    this.node.addEventListener("scroll", followTip);
  }

  values(name) {
    return (this.streams[name] ?? []).flat();
  }

  colour(name, scale) {
    this.coloured = name;
    const flat = this.values(name);
    this.tokens.forEach((node, number) => paint(node, flat[number], scale));
    const perTurn = this.streams[name] ?? [];
    fill(this.map, this.record.turns.map((turn, number) => {
      const known = (perTurn[number] ?? []).filter((value) => value !== null);
      const mean = known.length ? known.reduce((a, b) => a + b, 0) / known.length : null;
      const about = `turn ${number + 1}, mean ${describe(name).label} ${signed(mean)}${turn.valid ? "" : ", invalid action"}`;
      const button = el(turn.valid ? "button.token" : "button.token.invalid", {
        title: about, ariaLabel: about, onclick: () => this.node.querySelectorAll(".turn")[number].scrollIntoView(),
      }, String(number + 1));
      paint(button, mean, scale);
      return button;
    }));
  }

  // Links to other episodes to put beside this one: [{ label, links }].
  showNear(near) {
    fill(this.near, near.map(({ label, links }) => links.length > 0 && el("div.chips", {}, label, links)));
  }

  #facts() {
    const { record } = this;
    const facts = {
      task: record.task, kind: record.kind, "played in": this.id.split("/")[1], step: this.id.split("/")[2], "in its group": record.index,
      reward: short(record.reward), end: ENDS[record.end] ?? record.end, turns: record.turns.length,
      invalid: record.turns.filter((turn) => !turn.valid).length,
      tokens: record.turns.reduce((sum, turn) => sum + turn.tokens.length, 0), context: record.context,
    };
    return el("div.facts-line.num", {}, Object.entries(facts).map(([name, value]) => el("span", {}, `${name} `, el("b", {}, String(value)))));
  }

  #skills() {
    if (!this.record.skills.length) return null;
    return el("div.chips", {}, "skills seen:", this.record.skills.map((skill) => el("span.chip", {}, skill)));
  }

  // What stages found out or had written about the episode; older runs have none.
  #texts() {
    return Object.entries(this.record.facts ?? {}).map(([name, text]) =>
      el("details", { data: { role: "text" } }, el("summary", {}, name), el("pre", { tabIndex: 0 }, text)));
  }

  #turn(turn, number) {
    const ends = [];
    if (!turn.valid) ends.push(el("span.badge", {}, "invalid action"));
    if (turn.reward !== 0) ends.push(el("span.badge.good", {}, `reward ${short(turn.reward)}`));
    return el("section.turn", { ariaLabel: `turn ${number + 1}` },
      el("span.number.num", {}, `turn ${number + 1}`),
      this.#prompt(turn, number),
      el("div.said", { title: "observation" }, turn.observation),
      contexts(turn, number),
      this.#completion(turn, number),
      el("div.outcome", {}, "action ", el("code", {}, turn.action || "none"), ends));
  }

  #prompt(turn, number) {
    const messages = turn.messages.map((message) => el("div", {}, el("h3", {}, message.role), el("pre", {}, message.content)));
    const whole = number === 0 || this.record.context === "window";
    return el("details.prompt", {},
      el("summary", { title: whole ? "the messages of the prompt" : "the messages that were added to the prompt" }, "messages"),
      el("div.contexts", {}, messages));
  }

  #completion(turn, number) {
    const known = turn.pieces !== undefined;
    const nodes = turn.tokens.map((id, place) => this.#token(known ? turn.pieces[place] : `#${id} `, number, place));
    nodes.forEach((node) => this.tokens.push(node));
    return el("div", {},
      !known && el("div.said", { title: "completion" }, turn.text),
      el("div.tokens", { ariaLabel: "sampled tokens" }, nodes));
  }

  #token(word, turn, place) {
    const special = /^<\|?[^\s<>]+\|?>$/.test(word);
    const node = el(special ? "span.token.special" : "span.token", {
      tabIndex: -1, data: { turn, place }, onmouseenter: () => this.#tip(node), onmouseleave: hideTip,
      onfocus: () => this.#tip(node), onblur: hideTip, onclick: () => node.focus(),
    }, visible(word));
    return node;
  }

  #tip(node) {
    const turn = Number(node.dataset.turn);
    const place = Number(node.dataset.place);
    const values = Object.fromEntries(Object.entries(this.streams).map(([name, all]) => [name, all[turn][place] ?? null]));
    const { tokens, pieces } = this.record.turns[turn];
    showTip(node, pieces?.[place] ?? "", tokens[place], values, this.coloured);
  }
}

// A token's text with its line breaks marked; a part of a character shows as a dot.
function visible(word) {
  if (word === "") return el("span.sign", {}, "·");
  if (!word.includes("\n")) return word;
  return word.split("\n").flatMap((part, i) => (i ? [el("span.sign", {}, "↵"), `\n${part}`] : [part]));
}
