"""The report of `studies/skill_quality.toml`: the tables and figures of docs/study.md, from its result files.

python studies/skill_quality.py

The page keeps its text; what stands between `<!-- NAME -->` and `<!-- /NAME -->` is written here.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from skill_quality_figures import METHODS, QUALITIES, draw_curves, draw_losses, draw_sweeps, draw_turns

from sdar.envs.base import Panel
from sdar.evaluation.compare import Comparison, Contrast, compare, contrast, holm, rates, success, two_way
from sdar.evaluation.results import EvalResult, Interval
from sdar.recipe import load_config
from sdar.runs.files import write_atomic
from sdar.settings.config import Layer
from sdar.study.plan import Plan, read_plan
from sdar.study.result import eval_result, read_results

ROOT = Path(__file__).parents[1]
SWEEPS = {
    "coef": ("coef-0.001", "", "coef-0.1", "coef-1"),
    "beta": ("beta-0", "beta-1", "", "beta-10"),
    "gate": (
        "",
        "gate-constant",
        "gate-hard",
        "gate-student-entropy",
        "gate-teacher-entropy",
        "gate-soft-or",
    ),
}
"""Axis -> its values in order; empty stands for the default of SDAR."""
DEFAULTS = {"coef": "coef-0.01", "beta": "beta-5", "gate": "gate-gap"}


@dataclass(frozen=True)
class Study:
    """A plan, what of it is done, and the panel all runs were evaluated on."""

    plan: Plan
    results: Mapping[str, Mapping[str, Any]]
    panel: Panel

    @classmethod
    def read(cls, file: Path) -> "Study":
        """The study of a TOML file, with the results beside it."""
        plan = read_plan(file)
        panel = load_config([Layer(str(file), plan.settings)]).panel
        return cls(plan, read_results(plan.results), panel)

    @cached_property
    def done(self) -> list[Mapping[str, Any]]:
        """Results of the runs that are done, in the order of the plan."""
        found = [self.results.get(run.name, {}) for run in self.plan.runs]
        return [result for result in found if result.get("status") == "done"]

    def arm(self, *values: str) -> list[Mapping[str, Any]]:
        """The finished runs with exactly these values of the axes, one for each seed."""
        wanted = [value for value in values if value]
        return [result for result in self.done if list(result["axes"].values()) == wanted]

    def evals(self, *values: str) -> list[EvalResult]:
        """Final evaluations of an arm."""
        return [eval_result(result, self.panel) for result in self.arm(*values)]

    @cached_property
    def main(self) -> dict[tuple[str, ...], list[EvalResult]]:
        """Method and skill quality -> final evaluations; GRPO sees no skills and has no quality."""
        arms = [("grpo",), *((method, q) for method in METHODS if method != "grpo" for q in QUALITIES)]
        return {arm: found for arm in arms if (found := self.evals(*arm))}

    @cached_property
    def start(self) -> float:
        """Success on the panel before training, without skills."""
        bits = next(iter(self.arm("grpo")))["success"]["0"]
        return bits.count("1") / len(bits)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; all columns but the first are numbers."""
    align = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, align, *rows])


def percent(interval: Interval) -> str:
    """A rate with its interval."""
    return "{:.1f} [{:.1f}, {:.1f}]".format(*(100 * value for value in interval))


def points(interval: Interval) -> str:
    """A difference with its interval."""
    return "{:+.1f} [{:+.1f}, {:+.1f}]".format(*(100 * value for value in interval))


def chance(p: float) -> str:
    """A p value for a table cell."""
    return "< 0.001" if p < 0.001 else f"{p:.2g}"


def label(arm: Sequence[str]) -> str:
    """Method and quality for people."""
    return METHODS[arm[0]] + (f", {QUALITIES[arm[1]]}" if len(arm) > 1 else "")


def against_grpo(study: Study) -> dict[str, Comparison]:
    """Every arm of the main table against GRPO, corrected together."""
    arms = {label(arm): found for arm, found in study.main.items()}
    return {pair.a: pair for pair in compare(arms, baseline="GRPO")}


# ---- tables


def status_table(study: Study) -> str:
    """How much is done."""
    runs = [(run.part, study.results.get(run.name, {}).get("status")) for run in study.plan.runs]
    planned = Counter(part for part, _ in runs)
    done, failed = (
        Counter(part for part, status in runs if status == wanted) for wanted in ("done", "failed")
    )
    rows = [[part, str(done[part]), str(failed[part]), str(planned[part])] for part in planned]
    total = [str(sum(counts.values())) for counts in (done, failed, planned)]
    return table(["part", "done", "failed", "planned"], [*rows, ["all", *total]])


def source_list(study: Study) -> str:
    """What the runs were made with."""
    seconds = [sum(result["seconds"].values()) for result in study.done]
    machines = {f"{r['machine']['platform']}, {r['machine']['cores']} cores" for r in study.done}
    versions = {f"Python {r['versions']['python']}, torch {r['versions']['torch']}" for r in study.done}
    lines = {
        "commit of the runs": {result["commit"] for result in study.done},
        "starting model, SHA-256": {result["model"][:16] for result in study.done},
        "machine": machines,
        "versions": versions,
        "panel": {f"{study.panel.name} {study.panel.fingerprint[:16]}, {len(study.panel.tasks)} tasks"},
        "seeds": {str(seed) for seed in {result["seed"] for result in study.done}},
        "time": {
            f"{sum(seconds) / 3600:.1f} hours of runs; a run took {min(seconds):.0f} to {max(seconds):.0f} s"
        },
    }
    return "\n".join(f"- {name}: {', '.join(sorted(values))}" for name, values in lines.items())


def main_table(study: Study) -> str:
    """Success of every method and quality, and the difference to GRPO."""
    pairs = against_grpo(study)
    rows = []
    for arm, found in study.main.items():
        pair = pairs.get(label(arm))
        gain = ["", ""] if pair is None else [points(pair.difference), chance(pair.p_holm)]
        rows.append([label(arm), str(len(found)), percent(success(found)), *gain])
    return table(["method, skills", "seeds", "success, %", "minus GRPO, points", "p (Holm)"], rows)


def losses(study: Study) -> dict[str, Contrast]:
    """Method -> success with right skills minus success with wrong ones."""
    arms = {method: [study.main.get((method, q), []) for q in ("right", "wrong")] for method in METHODS}
    return {method: contrast(*pair) for method, pair in arms.items() if all(pair)}


def excess_losses(study: Study) -> dict[str, Interval]:
    """Method -> how much more it loses to wrong skills than SDAR does; needs two seeds an arm."""
    signs = [("right", 1), ("wrong", -1)]
    own = [(-sign, study.main.get(("sdar", q), [])) for q, sign in signs]
    found = {}
    for method in METHODS:
        terms = [(sign, study.main.get((method, q), [])) for q, sign in signs] + own
        if method != "sdar" and min(len(evals) for _, evals in terms) > 1:
            found[method] = two_way([(sign, rates(evals)) for sign, evals in terms]).interval
    return found


def loss_table(study: Study) -> str:
    """What wrong skills cost each method."""
    lost, excess = losses(study), excess_losses(study)
    corrected = dict(zip(lost, holm([found.p for found in lost.values()]), strict=True))
    rows = []
    for method, found in lost.items():
        more = points(excess[method]) if method in excess else ""
        rows.append([METHODS[method], points(found.difference), chance(corrected[method]), more])
    return table(["method", "right minus all wrong, points", "p (Holm)", "more than SDAR loses"], rows)


def sweep(study: Study, axis: str) -> dict[str, list[EvalResult]]:
    """Name of a value -> final evaluations of SDAR with it, skills half wrong."""
    arms = {value or DEFAULTS[axis]: study.evals("sdar", "half", value) for value in SWEEPS[axis]}
    return {name: found for name, found in arms.items() if found}


def sweep_table(study: Study) -> str:
    """SDAR with half of the skills wrong, one setting changed at a time, against its defaults."""
    rows = []
    for axis, default in DEFAULTS.items():
        arms = sweep(study, axis)
        pairs = {pair.a: pair for pair in compare(arms, baseline=default)} if default in arms else {}
        for name, found in arms.items():
            gain = ["default", ""]
            if name in pairs:
                gain = [points(pairs[name].difference), chance(pairs[name].p_holm)]
            rows.append([name, str(len(found)), percent(success(found)), *gain])
    return table(["SDAR", "seeds", "success, %", "minus default, points", "p (Holm)"], rows)


def rate_table(study: Study) -> str:
    """Every method at every learning rate, on the seed that nothing else uses."""
    rates_ = list(dict.fromkeys(run.axes["lr"] for run in study.plan.runs if "lr" in run.axes))
    rows = []
    for method in METHODS:
        cells = []
        for rate in rates_:
            found = study.arm(method, "right", rate)
            late = [np.mean(result["curves"]["rollout/success"][-10:]) for result in found]
            cells.append(f"{100 * np.mean(late):.1f}" if late else "")
        rows.append([METHODS[method], *cells])
    complete = all(cell for row in rows for cell in row)
    if complete:
        means = np.array([[float(cell) for cell in row[1:]] for row in rows]).mean(0)
        rows.append(["mean", *(f"{mean:.1f}" for mean in means)])
    return table(["training success in the last 10 steps, %", *rates_], rows)


# ---- claims


def verdict(found: Sequence[Interval]) -> str:
    """Yes when all differences are clearly above 0, no when one is clearly below, else undecided."""
    if not found:
        return "too few runs yet"
    if all(interval.low > 0 for interval in found):
        return "holds"
    return "does not hold" if any(interval.high < 0 for interval in found) else "not decided"


def claims_table(study: Study) -> str:
    """The paper's claims, what was measured, and what that supports; one seed supports nothing."""
    pairs = {name: pair.difference for name, pair in against_grpo(study).items() if min(pair.seeds) > 1}
    opsd = study.main.get(("opsd", "right"), [])
    drop = []
    if len(opsd) > 1:
        end = success(opsd)
        drop = [
            (
                "warm start minus OPSD",
                Interval(study.start - end.value, study.start - end.high, study.start - end.low),
            )
        ]
    claims = {
        "OPSD alone collapses (right skills)": drop,
        "SDAR is better than GRPO, right skills": pick(pairs, "SDAR, right"),
        "SDAR is better than GRPO, half wrong": pick(pairs, "SDAR, half wrong"),
        "SDAR is better than GRPO, all wrong": pick(pairs, "SDAR, all wrong"),
        "SDAR degrades least with wrong skills": [
            (METHODS[method], interval) for method, interval in excess_losses(study).items()
        ],
        "the gap gate is better than other gates": minus_others(study, "gate"),
        "beta 5 is best": minus_others(study, "beta"),
        "coefficient 0.01 is best": minus_others(study, "coef"),
    }
    rows = []
    for claim, found in claims.items():
        measured = "; ".join(f"{name} {points(interval)}" for name, interval in found)
        rows.append([claim, measured, verdict([interval for _, interval in found])])
    return table(["claim", "measured, points", "verdict"], rows).replace("---:", "---")


def pick(pairs: Mapping[str, Interval], name: str) -> list[tuple[str, Interval]]:
    """One difference to GRPO, where it is known."""
    return [("minus GRPO", pairs[name])] if name in pairs else []


def minus_others(study: Study, axis: str) -> list[tuple[str, Interval]]:
    """The default of SDAR minus each other value of an axis."""
    arms = {name: found for name, found in sweep(study, axis).items() if len(found) > 1}
    default = arms.pop(DEFAULTS[axis], [])
    return [(f"minus {name}", contrast(default, found).difference) for name, found in arms.items() if default]


def learning_curves(study: Study) -> dict[tuple[str, ...], dict[int, Interval]]:
    """Arm -> step -> success on the panel, with the interval over seeds and tasks of several seeds."""
    curves: dict[tuple[str, ...], dict[int, Interval]] = {}
    for arm in study.main:
        found = [result["success"] for result in study.arm(*arm)]
        for step in found[0]:
            played = np.array([[bit == "1" for bit in bits[step]] for bits in found], float)
            mean = float(played.mean())
            known = len(played) > 1 and len(np.unique(played, axis=0)) > 1
            low, high = two_way([(1, played)]).interval[1:] if known else (mean, mean)
            curves.setdefault(arm, {})[int(step)] = Interval(mean, max(0.0, low), min(1.0, high))
    return curves


# ---- the page


def fill(page: str, blocks: Mapping[str, str]) -> str:
    """The page with new text between the marks of each block; a block without marks is an error."""
    for name, text in blocks.items():
        marks = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        page, count = marks.subn(lambda match, text=text: f"{match[1]}\n{text}\n\n{match[2]}", page)
        if count != 1:
            raise SystemExit(f"the page has the block '{name}' {count} times")
    return page


def write_report(file: Path, page: Path) -> None:
    """Rewrite the generated parts of `page` and its figures beside it."""
    study = Study.read(file)
    if ("grpo",) not in study.main:
        raise SystemExit(f"{study.plan.results} has no finished run of GRPO to compare with")
    blocks = {
        "status": status_table(study),
        "source": source_list(study),
        "main": main_table(study),
        "loss": loss_table(study),
        "sweep": sweep_table(study),
        "rate": rate_table(study),
        "claims": claims_table(study),
    }
    write_atomic(page, fill(page.read_text(encoding="utf-8"), blocks))
    images = page.parent / "images"
    draw_curves(images / "study-curves.png", learning_curves(study), study.start)
    draw_losses(images / "study-skills.png", {arm: success(found) for arm, found in study.main.items()})
    draw_turns(images / "study-turns.png", {q: study.arm("sdar", q) for q in QUALITIES})
    swept = {axis: {name: success(found) for name, found in sweep(study, axis).items()} for axis in SWEEPS}
    draw_sweeps(images / "study-sweeps.png", swept, success(study.main["grpo",]))


if __name__ == "__main__":
    write_report(ROOT / "studies" / "skill_quality.toml", ROOT / "docs" / "study.md")
