// The box that follows a token and shows every number that is known of it, exactly as it was stored.

import { el, fill } from "./dom.js";
import { describe } from "./scales.js";

const tip = document.getElementById("tip");
let owner = null;

export function showTip(anchor, word, id, values, coloured) {
  const rows = Object.entries(values).map(([name, value]) => el(name === coloured ? "tr.on" : "tr", {},
    el("td", {}, describe(name).label), el("td.num", { data: { stream: name } }, value === null ? "none" : String(value))));
  fill(tip,
    el("div.word", {}, JSON.stringify(word), el("span.muted", {}, `  token ${id}`)),
    el("table", {}, el("tbody", {}, rows)),
  );
  tip.hidden = false;
  owner = anchor;
  move();
}

export function hideTip() {
  tip.hidden = true;
  owner = null;
}

// After a scroll: a token that has the focus keeps its box.
export function followTip() {
  if (owner && owner === document.activeElement) move();
  else hideTip();
}

function move() {
  const box = owner.getBoundingClientRect();
  const left = Math.min(box.left, innerWidth - tip.offsetWidth - 12);
  const below = box.bottom + 8;
  const top = below + tip.offsetHeight > innerHeight ? box.top - tip.offsetHeight - 8 : below;
  tip.style.left = `${Math.max(8, left)}px`;
  tip.style.top = `${Math.max(8, top)}px`;
}
