// Elements out of plain values. Text becomes text nodes, never markup.

export function el(tag, props = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  const node = document.createElement(name || "div");
  node.classList.add(...classes);
  for (const [key, value] of Object.entries(props)) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (key === "data") Object.assign(node.dataset, value);
    else if (key in node) node[key] = value;
    else node.setAttribute(key, value);
  }
  node.append(...present(children));
  return node;
}

// New children for an element; null and false stand for none.
export function fill(node, ...children) {
  node.replaceChildren(...present(children));
}

function present(children) {
  return children.flat().filter((child) => child !== null && child !== false);
}

export function svg(tag, props = {}, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(props)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

export function select(label, value, options, onchange) {
  const items = options.map(([key, text]) => el("option", { value: key, selected: key === value }, text));
  const control = el("select", { onchange: () => onchange(control.value), ariaLabel: label }, items);
  control.value = value;
  return el("label.field", {}, el("span", {}, label), control);
}

// A number as people read it; exact values are shown with `String`.
export function short(value, digits = 3) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  const size = Math.abs(value);
  const text = Number.isInteger(value) && size < 1e6 ? String(value)
    : size >= 1e5 || size < 1e-3 ? value.toExponential(1) : String(+value.toPrecision(digits));
  return text.replaceAll("-", "−");
}

export function count(number, word) {
  return `${number} ${word}${number === 1 ? "" : "s"}`;
}

export function signed(value, digits = 2) {
  return value > 0 ? `+${short(value, digits)}` : short(value, digits);
}
