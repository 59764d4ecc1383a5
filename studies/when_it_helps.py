"""The report of `studies/when_it_helps.toml`: tables and figure of docs/when_it_helps.md.

python studies/when_it_helps.py

The page keeps its text; what stands between `<!-- NAME -->` and `<!-- /NAME -->` is written here.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from skill_quality import Study, fill, percent, source_list, status_table, table
from skill_quality_figures import frame

from sdar.evaluation.compare import success
from sdar.evaluation.curves import save_figure
from sdar.runs.files import write_atomic

ROOT = Path(__file__).parents[1]
NAMES = {
    "grpo": "GRPO",
    "published": "SDAR as published",
    "likelihood": "SDAR",
    "gated-kl": "gated reverse KL",
    "plain-kl": "plain reverse KL",
    "plain-js": "plain Jensen-Shannon",
    "rlsd": "RLSD",
    "skill-sd": "Skill-SD",
}
DRAWN = {
    ("grpo",): "#7b8794",
    ("published",): "#56b4e9",
    ("likelihood", "frozen", "right"): "#0b5394",
    ("gated-kl", "frozen", "right"): "#009e73",
    ("plain-kl", "frozen", "right"): "#e69f00",
    ("likelihood", "start"): "#cc79a7",
    ("plain-kl", "start"): "#b45309",
}
"""Arms of the figure and their colours."""
Arm = tuple[str, ...]


def arms(study: Study) -> list[Arm]:
    """All arms with a finished run, in the order of the plan."""
    return list(dict.fromkeys(tuple(result["axes"].values()) for result in study.done))


def label(arm: Arm) -> str:
    """An arm for people."""
    return ", ".join([NAMES[arm[0]], *arm[1:]])


def curve(runs: Sequence[Mapping[str, Any]]) -> dict[int, float]:
    """Step -> success on the panel, in percent, the mean of the runs."""
    steps = [int(step) for step in runs[0]["success"]]
    return {
        step: 100 * float(np.mean([bit == "1" for run in runs for bit in run["success"][str(step)]]))
        for step in steps
    }


def screen_table(study: Study) -> str:
    """Success of every arm over training, and at the end minus GRPO's of the same seeds."""
    base = {result["seed"]: result for result in study.arm("grpo")}
    shown = (1, 2, 5, 10, 20)
    rows = []
    for arm in arms(study):
        runs = study.arm(*arm)
        means, last = curve(runs), max(map(int, runs[0]["success"]))
        pairs = [(run, base[run["seed"]]) for run in runs if run["seed"] in base and arm != ("grpo",)]
        gains = [curve([run])[last] - curve([theirs])[30] for run, theirs in pairs]
        invalid = [np.sum(run["last"]["invalid"]) / np.sum(run["last"]["turns"]) for run in runs]
        rows.append(
            [
                label(arm),
                str(len(runs)),
                *(f"{means[step]:.1f}" for step in shown),
                percent(success(study.evals(*arm))),
                f"{np.mean(gains):+.1f}" if gains else "",
                f"{100 * np.mean(invalid):.0f}",
            ]
        )
    head = ["term, teacher, skills", "seeds", *map(str, shown), "end", "minus GRPO", "invalid, %"]
    return table(head, rows)


def draw(study: Study, path: Path) -> None:
    """Success on the panel over training of a few arms; each line is the mean of its seeds."""
    figure = Figure(figsize=(8, 4.2), dpi=150, layout="constrained")
    axes = figure.subplots()
    for arm, ink in DRAWN.items():
        if runs := study.arm(*arm):
            means = curve(runs)
            axes.plot(list(means), list(means.values()), color=ink, linewidth=2, label=label(arm))
    frame(axes, "right skills, 95 % intervals are in the table", "training step")
    axes.set(ylabel="success on the panel, %", ylim=(0, 100))
    axes.legend(frameon=False, fontsize=8)
    save_figure(figure, path)


def write_report(file: Path, page: Path) -> None:
    """Rewrite the generated parts of `page` and its figure beside it."""
    study = Study.read(file)
    if not study.arm("grpo"):
        raise SystemExit(f"{study.plan.results} has no finished run of GRPO to compare with")
    blocks = {
        "status": status_table(study),
        "source": source_list(study),
        "screen": screen_table(study),
    }
    write_atomic(page, fill(page.read_text(encoding="utf-8"), blocks))
    draw(study, page.parent / "images" / "when-it-helps.png")


if __name__ == "__main__":
    write_report(ROOT / "studies" / "when_it_helps.toml", ROOT / "docs" / "when_it_helps.md")
