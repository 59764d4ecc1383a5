// The landing page of a run: what it is, its curve, its panel by kind and step, its settings. And the list of runs.

import { link } from "./address.js";
import { chart } from "./chart.js";
import { csvButton } from "./csv.js";
import { points } from "./curves.js";
import { el, fill, short } from "./dom.js";

const CURVES = ["eval/success", "rollout/success"];

export class RunPage {
  constructor(store) {
    this.store = store;
    this.node = el("div.run-page");
  }

  route([key]) {
    this.key = key;
    this.grown();
  }

  grown() {
    const run = this.store.run(this.key);
    if (!run) return;
    const open = [...this.node.querySelectorAll("details")].map((each) => each.open);
    fill(this.node,
      el("h2", {}, run.name),
      el("p", {}, sentence(run)),
      el("div.facts-line.num", {}, facts(run).map(([name, value]) => el("span", {}, `${name} `, el("b", {}, String(value))))),
      el("p.links", {},
        el("a.quiet", { href: link("episodes", [], { run: run.key }) }, "its episodes"),
        el("a.quiet", { href: link("episodes", [], { run: run.key, part: "panel", success: "no" }) }, "failures on the panel"),
        el("a.quiet", { href: link("tasks", [], { run: run.key }) }, "tasks by step")),
      run.segments.length > 0 && el("section", {}, el("h3", {}, "Resumed"), run.segments.map((line) => el("p.note", {}, line))),
      this.#curves(run), this.#panel(run), this.#later(run), settings(run), made(run));
    this.node.querySelectorAll("details").forEach((each, i) => { each.open = open[i] ?? each.open; });
  }

  #curves(run) {
    const names = new Set(run.lines.flatMap((line) => Object.keys(line)));
    const shown = CURVES.filter((name) => names.has(name));
    if (!shown.length) return el("p.muted", {}, "No results yet. They appear after the first step.");
    return el("div.grid.big", {}, shown.map((name) => chart(name, [points({ label: run.name, line: run.number, runs: [run] }, name, names)], name.startsWith("eval/") ? 1 : 5, 210)));
  }

  #panel(run) {
    const panels = run.panels.filter((each) => each.part === "panel").sort((a, b) => a.step - b.step);
    if (!panels.length) return null;
    const kinds = [...new Set(panels.flatMap((each) => Object.keys(each.by_kind)))].sort();
    const rows = [["all", (each) => each.success], ...kinds.map((kind) => [kind, (each) => each.by_kind[kind]])];
    const last = panels.at(-1);
    const where = [...new Set(panels.map((each) => `${each.panel}, ${each.tasks} tasks, ${each.samples === 1 ? "one episode" : `${each.samples} episodes`} of each`))];
    return el("section", {},
      el("h3", {}, "Panel by kind and step"),
      el("p.muted", {}, `Share solved, in %: ${where.join("; then ")}. Point at a number for its 95 % interval; it leads to the failures.`),
      el("div.wide-table", {}, el("table.panel.num", {},
        el("thead", {}, el("tr", {}, el("th", {}, "kind"), panels.map((each) => el("th", {}, `step ${each.step}`)))),
        el("tbody", {}, rows.map(([name, of]) => el("tr", { data: { kind: name } }, el("th", {}, name), panels.map((each) => this.#cell(run, name, each, of(each)))))))),
      csvButton(`${run.name}-panel`, () => [
        ["kind", "step", "success", "low", "high"],
        ...rows.flatMap(([name, of]) => panels.flatMap((each) => (of(each) ? [[name, each.step, ...of(each)]] : []))),
      ]),
      last.skills ? el("p.muted", {}, `With the skills of the rule ${last.skills} in its own prompts.`) : null);
  }

  #cell(run, name, panel, interval) {
    if (!interval) return el("td", {}, "–");
    const [value, low, high] = interval;
    const percent = (number) => (100 * number).toFixed(1);
    const query = { run: run.key, part: "panel", kind: name === "all" ? "" : name, from: panel.step, to: panel.step, success: "no", all: "1" };
    const cell = el("td.token.ink-green", { title: `${percent(value)} % [${percent(low)}, ${percent(high)}]` }, el("a", { href: link("episodes", [], query) }, percent(value)));
    cell.style.setProperty("--strength", (0.8 * value).toFixed(3));
    return cell;
  }

  #later(run) {
    const later = run.panels.filter((each) => each.part !== "panel");
    if (!later.length) return null;
    const percent = (value) => (100 * value).toFixed(1);
    return el("section", {}, el("h3", {}, "Later evaluations"), el("div.wide-table", {}, el("table.panel.num", {},
      el("thead", {}, el("tr", {}, ["player", "panel", "episodes a task", "temperature", "skills", "success, %"].map((name) => el("th", {}, name)))),
      el("tbody", {}, later.map((each) => el("tr", {},
        el("th", {}, el("a", { href: link("episodes", [], { run: run.key, part: each.part, all: "1" }) }, each.player || each.part)),
        [each.panel, each.samples, each.temperature, each.skills || "none", `${percent(each.success[0])} [${percent(each.success[1])}, ${percent(each.success[2])}]`].map((value) => el("td", {}, String(value)))))))));
  }
}

// All runs that are shown, each with a link to its page.
export class RunsPage {
  constructor(store) {
    this.store = store;
    this.node = el("div.run-page");
  }

  route() {
    this.grown();
  }

  grown() {
    const { runs } = this.store;
    const head = ["run", "objective", "environment", "steps", "panel, last, %", "differs in"];
    const rows = runs.map((run) => {
      const last = lastPanel(run);
      const differs = Object.entries(run.differs).filter(([, value]) => value !== null).map(([name, value]) => `${name} ${value}`).join(", ");
      return [run, [run.settings["objective.name"], run.settings["env.name"], `${stepsDone(run)} of ${run.settings["train.steps"] ?? "?"}`, last ? (100 * last.success[0]).toFixed(1) : "–", differs]];
    });
    fill(this.node, el("h2", {}, "Runs"), el("div.wide-table", {}, el("table.panel.runs-table.num", {},
      el("thead", {}, el("tr", {}, head.map((name) => el("th", {}, name)))),
      el("tbody", {}, rows.map(([run, cells]) => el("tr", {},
        el("th", {}, el(`span.dot.line-${run.number % 8}`), el("a", { href: link("run", [run.key]) }, run.name)), cells.map((value) => el("td", {}, String(value ?? "–")))))))));
  }
}

function stepsDone(run) {
  return run.lines.at(-1)?.step ?? 0;
}

function lastPanel(run) {
  return run.panels.filter((each) => each.part === "panel").sort((a, b) => a.step - b.step).at(-1);
}

function sentence({ settings: of }) {
  const of_a_step = of["rollout.tasks_per_step"] && of["rollout.group_size"] ? ` of ${of["rollout.tasks_per_step"]} tasks × ${of["rollout.group_size"]} episodes` : "";
  const steps = of["train.steps"] ? `, ${of["train.steps"]} steps${of_a_step}` : "";
  const model = of["model.path"] ? `, model ${of["model.path"]}` : "";
  const env = of["env.name"] ? ` on ${of["env.name"]}` : "";
  return `${of["objective.name"] ?? "?"}${env}${model}${steps}, seed ${of["train.seed"] ?? "?"}`;
}

function facts(run) {
  const last = lastPanel(run);
  const seconds = run.lines.reduce((sum, line) => sum + (line["time/step"] ?? 0) + (line["time/eval"] ?? 0), 0);
  const percent = (value) => (100 * value).toFixed(1);
  return [
    ["begun", run.created ?? "?"],
    ["steps done", `${stepsDone(run)} of ${run.settings["train.steps"] ?? "?"}`],
    seconds > 0 && ["took", seconds < 5400 ? `${short(seconds / 60, 2)} min` : `${short(seconds / 3600, 2)} h`],
    ["episodes", run.rows.filter((row) => row.part === "training").length],
    last && [`panel at step ${last.step}`, `${percent(last.success[0])} % [${percent(last.success[1])}, ${percent(last.success[2])}]`],
    run.commit && ["commit", String(run.commit).slice(0, 12)],
  ].filter(Boolean);
}

function settings(run) {
  const sections = new Map();
  for (const [name, value] of Object.entries(run.settings)) {
    const section = name.includes(".") ? name.slice(0, name.indexOf(".")) : "run";
    sections.set(section, [...(sections.get(section) ?? []), [name, value]]);
  }
  const several = Object.keys(run.differs).length > 0;
  return el("section", {},
    el("h3", {}, "Settings"),
    several && el("p.muted", {}, "Marked: what differs between the runs shown."),
    el("div.settings", {}, [...sections].map(([section, lines]) => el("details", { open: ["objective", "train"].includes(section) },
      el("summary", {}, section),
      el("dl", {}, lines.flatMap(([name, value]) => [
        el(name in run.differs ? "dt.differs" : "dt", {}, name), el("dd", {}, typeof value === "string" ? value || "“”" : JSON.stringify(value)),
      ]))))));
}

function made(run) {
  const versions = Object.entries(run.versions ?? {}).map(([name, version]) => `${name} ${version}`).join(", ");
  const command = Array.isArray(run.command) ? run.command.join(" ") : "";
  return el("section", {}, el("details", {}, el("summary", {}, "How it was made"),
    el("dl", {}, [["command", command], ["platform", run.platform ?? ""], ["commit", run.commit ?? ""], ["versions", versions]].flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, String(value))]))));
}
