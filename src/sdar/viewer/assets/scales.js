// What colours a token, and what the colours mean.

const DIVERGING = "diverging";
const POSITIVE = "positive";
const UNIT = "unit";

const KNOWN = {
  gap: {
    label: "gap", kind: DIVERGING, ends: ["student likes it more", "teacher likes it more"],
    note: "teacher − student log-prob of the sampled token, in nats",
  },
  gate: {
    label: "gate", kind: UNIT, ink: "green", ends: ["closed", "open"],
    note: "weight of the token in the distillation term",
  },
  adv: {
    label: "advantage", kind: DIVERGING, ends: ["worse than its group", "better than its group"],
    note: "group-relative advantage that the policy gradient was given",
  },
  given: {
    label: "advantage, before credit", kind: DIVERGING, ends: ["worse than its group", "better than its group"],
    note: "the advantage as it was before the objective’s credit",
  },
  credit: {
    label: "credit", kind: DIVERGING, ends: ["credit took", "credit gave"],
    note: "what the objective’s credit changed of the token’s advantage",
  },
  entropy: {
    label: "entropy", kind: POSITIVE, ink: "amber", ends: ["sure", "unsure"],
    note: "entropy of the policy’s distribution before the token, in nats",
  },
  surprise: {
    label: "surprise", kind: POSITIVE, ink: "amber", ends: ["expected", "surprising"],
    note: "−log p of the sampled token, in nats: an estimate of the entropy from one sample",
  },
  logp: { label: "log p, sampled", note: "log-prob of the token when it was sampled" },
  live: { label: "log p, trained on", note: "log-prob of the token when it was trained on" },
  teacher: { label: "log p, teacher", note: "log-prob of the token with the teacher’s context" },
  ref: { label: "log p, reference", note: "log-prob of the token by the frozen reference" },
  old: { label: "log p, start of step", note: "log-prob of the token at the start of the step" },
};

const NOT_STREAMS = new Set(["tokens", "pieces", "messages"]);
const FIRST = ["gap", "gate", "adv", "credit", "entropy", "surprise"];
const OF_VIEW = "gap/";

// The streams of an episode in the order of interest: name -> one value for each token of each turn.
export function streams(record) {
  const found = {};
  for (const turn of record.turns) {
    for (const [name, values] of Object.entries(turn)) {
      if (Array.isArray(values) && !NOT_STREAMS.has(name)) found[name] = [];
    }
  }
  for (const name of Object.keys(found)) {
    found[name] = record.turns.map((turn) => turn[name] ?? turn.tokens.map(() => null));
  }
  found.surprise = found.logp.map((turn) => turn.map((value) => (value === null ? null : -value)));
  if (found.given && found.adv) {
    found.credit = found.adv.map((turn, i) => turn.map((value, k) => (value === null || (found.given[i][k] ?? null) === null ? null : value - found.given[i][k])));
  }
  const names = [...FIRST.filter((name) => name in found), ...Object.keys(found).filter((name) => !FIRST.includes(name))];
  return Object.fromEntries(names.map((name) => [name, found[name]]));
}

export function describe(name) {
  if (name.startsWith(OF_VIEW)) {
    const view = name.slice(OF_VIEW.length);
    return { ...KNOWN.gap, label: `gap, ${view}`, note: `${KNOWN.gap.note}; of the teacher with the view “${view}”` };
  }
  return KNOWN[name] ?? { label: name, note: "as the objective shows it" };
}

// How values become colours: a kind, and the value of the strongest colour, a round number.
export function scaleOf(name, values) {
  const known = describe(name);
  const finite = values.filter((value) => value !== null);
  const negative = finite.some((value) => value < 0);
  const within = !negative && finite.every((value) => value <= 1);
  const kind = known.kind ?? (negative ? DIVERGING : within ? UNIT : POSITIVE);
  const sizes = finite.map(Math.abs).sort((a, b) => a - b);
  const high = sizes.length ? sizes[Math.floor(0.9 * (sizes.length - 1))] : 1;
  const limit = kind === UNIT ? 1 : roundUp(high || 1);
  return { kind, limit, low: kind === DIVERGING ? -limit : 0, ink: known.ink ?? "green" };
}

function roundUp(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return power * [1, 2, 5, 10].find((step) => step * power >= value * 0.999);
}

// Colour an element by a value: an ink and its strength, which the style sheet mixes.
export function paint(node, value, scale) {
  node.classList.remove("ink-blue", "ink-orange", "ink-green", "ink-amber");
  if (value === null || value === undefined || !scale) return;
  const strength = Math.min(1, Math.abs(value) / scale.limit);
  const ink = scale.kind === DIVERGING ? (value < 0 ? "orange" : "blue") : scale.ink;
  node.classList.add(`ink-${ink}`);
  node.style.setProperty("--strength", strength.toFixed(3));
}
