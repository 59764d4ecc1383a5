// One curve chart: a line for each series, drawn as SVG, with exact values under the pointer.

import { el, fill, short, svg } from "./dom.js";

const WIDTH = 400;
const LEFT = 40;
const BOTTOM = 18;

// Centred moving average over `span` steps, shorter at the ends; `x`, the steps, ascend. What is measured more
// rarely than that, such as evaluations, stays as it is.
export function smooth(x, y, span) {
  const half = Math.floor(span / 2);
  let first = 0;
  let next = 0;
  let sum = 0;
  return x.map((step) => {
    while (next < x.length && x[next] <= step + half) sum += y[next++];
    while (x[first] < step - half) sum -= y[first++];
    return sum / (next - first);
  });
}

// `series`: [{ label, line, x, y, low?, high? }]; `span`: steps to smooth over.
export function chart(title, series, span, height) {
  const drawn = series.filter((each) => each.x.length);
  const value = el("span.num");
  const node = el("figure.chart", { data: { metric: title } }, el("h3", {}, el("span", { title }, title), value));
  if (!drawn.length) return node;
  const smoothed = drawn.map((each) => smooth(each.x, each.y, span));
  const say = (text, numbers) => fill(value, text, numbers.map((number, i) => el(`b.line-${drawn[i].line % 8}`, {}, ` ${number}`)));
  const last = drawn.map((each) => short(each.y.at(-1)));
  say("", last);
  const all = drawn.flatMap((each, i) => [...each.y, ...smoothed[i], ...(each.low ?? []), ...(each.high ?? [])]);
  const [x0, x1] = extent(drawn.flatMap((each) => each.x));
  const ticks = nice(...extent(all));
  const [y0, y1] = [ticks[0], ticks.at(-1)];
  const px = (x) => LEFT + ((x - x0) / (x1 - x0 || 1)) * (WIDTH - LEFT - 6);
  const py = (y) => 6 + (1 - (y - y0) / (y1 - y0 || 1)) * (height - BOTTOM - 6);
  const path = (xs, ys) => xs.map((x, i) => `${i ? "L" : "M"}${px(x).toFixed(1)} ${py(ys[i]).toFixed(1)}`).join("");
  const picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${height}`, role: "img", "aria-label": `${title}, last ${last.join(", ")}` });
  for (const tick of ticks) {
    picture.append(svg("line", { class: "axis", x1: LEFT, x2: WIDTH - 6, y1: py(tick), y2: py(tick) }),
      svg("text", { x: LEFT - 5, y: py(tick) + 3.5, "text-anchor": "end" }, short(tick)));
  }
  picture.append(svg("text", { x: LEFT, y: height - 4 }, `step ${x0}`), svg("text", { x: WIDTH - 6, y: height - 4, "text-anchor": "end" }, String(x1)));
  drawn.forEach((each, i) => {
    const group = svg("g", { class: `line-${each.line % 8}` });
    if (each.low) {
      const back = [...each.x].reverse();
      group.append(svg("path", { class: "band", d: `${path(each.x, each.high)}${path(back, [...each.low].reverse()).replace("M", "L")}Z` }));
    }
    if (span > 1) group.append(svg("path", { class: "raw", d: path(each.x, each.y) }));
    group.append(svg("path", { class: "line", d: path(each.x, smoothed[i]) }));
    if (each.x.length < 25) group.append(...each.x.map((x, k) => svg("circle", { class: "point", cx: px(x), cy: py(smoothed[i][k]), r: 2.4 })));
    picture.append(group);
  });
  follow(picture, drawn, px, height, say, () => say("", last));
  node.append(picture);
  return node;
}

// Show the values of the step under the pointer, and `rest` when there is none.
function follow(picture, series, px, height, say, rest) {
  const cursor = svg("line", { class: "cursor", y1: 6, y2: height - BOTTOM, visibility: "hidden" });
  picture.append(cursor);
  picture.addEventListener("pointermove", (event) => {
    const box = picture.getBoundingClientRect();
    const at = ((event.clientX - box.left) / box.width) * WIDTH;
    const nearest = (xs) => xs.reduce((best, x, i) => (Math.abs(px(x) - at) < Math.abs(px(xs[best]) - at) ? i : best), 0);
    const steps = series.map((each) => nearest(each.x));
    const x = series[0].x[steps[0]];
    cursor.setAttribute("x1", px(x));
    cursor.setAttribute("x2", px(x));
    cursor.setAttribute("visibility", "visible");
    say(`step ${x}:`, series.map((each, i) => String(+each.y[steps[i]].toPrecision(6))));
  });
  picture.addEventListener("pointerleave", () => {
    cursor.setAttribute("visibility", "hidden");
    rest();
  });
}

function extent(values) {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  return [low, high];
}

// Three to six round numbers around a range.
function nice(low, high) {
  if (low === high) [low, high] = low === 0 ? [0, 1] : [low - Math.abs(low) / 2, high + Math.abs(high) / 2];
  const rough = (high - low) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 2.5, 5, 10].find((each) => each * power >= rough * 0.999);
  const first = Math.floor(low / step + 1e-9);
  const last = Math.ceil(high / step - 1e-9);
  return Array.from({ length: last - first + 1 }, (_, i) => (first + i) * step);
}
