"""The report of `when_it_helps*.toml` and `smollm2*.toml`: tables and figures of docs/when_it_helps.md.

python studies/when_it_helps.py

The page keeps its text; what stands between `<!-- NAME -->` and `<!-- /NAME -->` is written here.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from skill_quality import Study, fill, percent, points, source_list, status_table, table, verdict
from skill_quality_figures import frame

from sdar.evaluation.compare import success, two_way
from sdar.evaluation.curves import save_figure
from sdar.evaluation.results import Interval
from sdar.runs.files import write_atomic

ROOT = Path(__file__).parents[1]
FILES = ("when_it_helps", "when_it_helps_confirmed")
"""The studies of the page: screen and confirmation."""
READS = {"Search-QA": "smollm2", "WebShop": "smollm2_webshop", "ALFWorld": "smollm2_alfworld"}
"""Environment -> study of a model that reads English; its block of the page is `english-` and that name."""
OTHERS = {"search-qa": "when_it_helps_search_qa", "webshop": "when_it_helps_webshop"}
"""Block of the page -> study of the decisive arms in another environment."""
NAMES = {
    "grpo": "GRPO",
    "published": "SDAR as published",
    "likelihood": "SDAR",
    "gated-kl": "gated reverse KL",
    "plain-kl": "plain reverse KL",
    "plain-js": "plain Jensen-Shannon",
    "rlsd": "RLSD",
    "skill-sd": "Skill-SD",
    "frozen": "SDAR, frozen teacher",
    "recommended": "G: gated reverse KL, frozen",
    "gated": "G: gated reverse KL, frozen",
    "plain": "U: plain reverse KL, frozen",
}
WORDS = {
    "right": "right skills",
    "half": "half of the skills wrong",
    "wrong": "all skills wrong",
    "gate-half": "gate 0.5 everywhere",
    "gate-constant": "gate 1 everywhere",
    "gate-hard": "hard gate",
    "gate-persistence": "persistence gate",
    "gate-signed": "signed gate",
    "start": "teacher at the step's start",
    "ema": "averaging teacher",
    "twice": "60 steps",
}
"""What else an arm has, for people."""
DRAWN = {
    ("grpo",): "#7b8794",
    ("published",): "#56b4e9",
    ("likelihood", "frozen", "right"): "#0b5394",
    ("gated-kl", "frozen", "right"): "#009e73",
    ("plain-kl", "frozen", "right"): "#e69f00",
    ("likelihood", "start"): "#cc79a7",
    ("plain-kl", "start"): "#b45309",
}
"""Arms of the screen's figure and their colours."""
CONFIRMED = {("grpo",): "#7b8794", ("published",): "#56b4e9", ("gated",): "#009e73", ("plain",): "#e69f00"}
"""Arms of the confirmation's figure and their colours."""
ENGLISH = {
    ("grpo",): "#7b8794",
    ("published",): "#56b4e9",
    ("frozen",): "#0b5394",
    ("recommended",): "#009e73",
}
"""Arms of the figure of a model that reads English and their colours."""
SHOWN = (1, 2, 5, 10, 20)
"""Steps of the tables before the last one."""
RIGHT = ((), ("right",), ("0.1",), ("0.3",), ("3",))
"""What stands behind term and teacher of an arm with right skills and a falling coefficient."""
Arm = tuple[str, ...]
Terms = tuple[tuple[int, Arm], ...]


def minus(a: Arm, b: Arm) -> Terms:
    """The difference of two arms."""
    return ((1, a), (-1, b))


def protected(skills: str) -> Terms:
    """What these skills cost the plain arm more than the gated one."""
    return minus(("gated", skills), ("gated",)) + minus(("plain",), ("plain", skills))


CLAIMS = (
    ("1: G beats GRPO", minus(("gated",), ("grpo",)), -1),
    ("1: G beats GRPO at step 10", minus(("gated",), ("grpo",)), 10),
    ("2: the published setting beats GRPO", minus(("published",), ("grpo",)), -1),
    ("3: the gate protects when all skills are wrong", protected("wrong"), -1),
    ("3: the gate protects when half of the skills are wrong", protected("half"), -1),
    ("4: the gate must look at the teacher", minus(("gated",), ("gated", "gate-half")), -1),
    ("5: the gap gate is better than a constant one", minus(("gated",), ("gated", "gate-constant")), -1),
    ("5: the gap gate is better than a hard one", minus(("gated",), ("gated", "gate-hard")), -1),
    ("5: the gap gate is better than persistence", minus(("gated",), ("gated", "gate-persistence")), -1),
    (
        "6: a frozen teacher is better than the step's start",
        minus(("gated",), ("gated", "start")),
        -1,
    ),
    ("6: a frozen teacher is better than an averaging one", minus(("gated",), ("gated", "ema")), -1),
    ("7: GRPO catches up with twice the steps", minus(("grpo", "twice"), ("gated",)), -1),
    ("not in the plan: G beats U", minus(("gated",), ("plain",)), -1),
    ("not in the plan: U beats GRPO", minus(("plain",), ("grpo",)), -1),
    ("not in the plan: all skills wrong, G beats GRPO", minus(("gated", "wrong"), ("grpo",)), -1),
    ("not in the plan: right skills are better than wrong ones", minus(("gated",), ("gated", "wrong")), -1),
)
"""The plan's claims and a few more: a difference of arms, and its step; -1 is the last."""
ELSEWHERE = (
    ("8: G beats GRPO", minus(("gated",), ("grpo",)), -1),
    ("8: G beats GRPO at step 10", minus(("gated",), ("grpo",)), 10),
    ("8: the published setting beats GRPO", minus(("published",), ("grpo",)), -1),
    ("8: G beats U", minus(("gated",), ("plain",)), -1),
)
"""Claims of another environment's study."""


def arms(study: Study) -> list[Arm]:
    """All arms with a finished run, in the order of the plan."""
    return list(dict.fromkeys(tuple(result["axes"].values()) for result in study.done))


def label(arm: Arm) -> str:
    """An arm for people; what differs from an arm with a letter is named beside that letter."""
    name = NAMES[arm[0]]
    short = name.partition(":")[0] if len(arm) > 1 else name
    return ", ".join([short, *(WORDS.get(word, word) for word in arm[1:])])


def curve(runs: Sequence[Mapping[str, Any]]) -> dict[int, float]:
    """Step -> success on the panel, in percent, the mean of the runs."""
    steps = [int(step) for step in runs[0]["success"]]
    return {
        step: 100 * float(np.mean([bit == "1" for run in runs for bit in run["success"][str(step)]]))
        for step in steps
    }


def success_cells(study: Study, arm: Arm, steps: Sequence[int]) -> list[str]:
    """An arm, its number of seeds, its success after these steps, and at the end with its interval."""
    runs = study.arm(*arm)
    means = curve(runs)
    shown = [f"{means[step]:.1f}" for step in steps]
    return [label(arm), str(len(runs)), *shown, percent(success(study.evals(*arm)))]


def screen_table(study: Study) -> str:
    """Success of every arm over training, and at the end minus GRPO's of the same seeds."""
    base = {result["seed"]: result for result in study.arm("grpo")}
    rows = []
    for arm in arms(study):
        runs = study.arm(*arm)
        last = max(map(int, runs[0]["success"]))
        pairs = [(run, base[run["seed"]]) for run in runs if run["seed"] in base and arm != ("grpo",)]
        gains = [curve([run])[last] - curve([theirs])[30] for run, theirs in pairs]
        invalid = [np.sum(run["last"]["invalid"]) / np.sum(run["last"]["turns"]) for run in runs]
        rows.append(
            [
                *success_cells(study, arm, SHOWN),
                f"{np.mean(gains):+.1f}" if gains else "",
                f"{100 * np.mean(invalid):.0f}",
            ]
        )
    head = ["term, teacher, skills", "seeds", *map(str, SHOWN), "end", "minus GRPO", "invalid, %"]
    return table(head, rows)


def chosen(study: Study, terms: Sequence[str]) -> Arm:
    """The arm of these terms that the plan's rule confirms, among those with a frozen or averaging teacher.

    The best mean success at the end with right skills; of all within two points of it, the best at step 10.
    Arms with one seed only were far behind (the plan's amendment).
    """
    curves = {
        arm: curve(study.arm(*arm))
        for arm in arms(study)
        if arm[0] in terms and arm[1] in ("frozen", "ema") and arm[2:] in RIGHT and len(study.arm(*arm)) > 1
    }
    best = max(means[30] for means in curves.values())
    return max((means[10], arm) for arm, means in curves.items() if means[30] > best - 2 - 1e-9)[1]


# ---- the confirmation


def rates_at(study: Study, arm: Arm, step: int) -> np.ndarray:
    """Success of each seed (row) on each game (column) of the panel; step -1 is the last."""
    samples = {run["panel"]["samples"] for run in study.arm(*arm)}
    rows = [list(run["success"].items()) for run in study.arm(*arm)]
    bits = [row[-1][1] if step < 0 else dict(row)[str(step)] for row in rows]
    games = np.array([[bit == "1" for bit in row] for row in bits], float)
    return games.reshape(len(games), -1, samples.pop()).mean(2) if len(games) else games


def measured(study: Study, terms: Terms, step: int) -> Interval | None:
    """The sum of sign * success of arms, with its interval; None before each arm has two seeds."""
    played = [(sign, rates_at(study, arm, step)) for sign, arm in terms]
    return two_way(played).interval if all(len(games) > 1 for _, games in played) else None


def claims_table(study: Study, claims: Sequence[tuple[str, Terms, int]]) -> str:
    """Claims of the plan: the difference that decides each, and what it says."""
    rows = []
    for claim, terms, step in claims:
        found = measured(study, terms, step)
        value = "" if found is None else points(found)
        rows.append([claim, value, verdict([] if found is None else [found])])
    return table(["claim", "points", "verdict"], rows)


def arms_table(study: Study, steps: Sequence[int]) -> str:
    """Success of every arm after these steps and at the end, and what it has more than GRPO then."""
    rows = []
    for arm in arms(study):
        gain = None if arm == ("grpo",) else measured(study, minus(arm, ("grpo",)), -1)
        rows.append([*success_cells(study, arm, steps), "" if gain is None else points(gain)])
    return table(["arm", "seeds", *map(str, steps), "end", "minus GRPO"], rows)


def draw(panels: Mapping[str, Study], inks: Mapping[Arm, str], path: Path) -> None:
    """Success over training of a few arms, a panel for each study under its title.

    Lines are means of seeds; from three on they have intervals.
    """
    figure = Figure(figsize=(8 if len(panels) == 1 else 12, 4.2), dpi=150, layout="constrained")
    for axes, (title, study) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
    ):
        for arm, ink in inks.items():
            if not (runs := study.arm(*arm)):
                continue
            means = curve(runs)
            axes.plot(list(means), list(means.values()), color=ink, linewidth=2, label=label(arm))
            if len(runs) > 2:
                found = [two_way([(1, rates_at(study, arm, step))]).interval for step in means]
                low, high = ([100 * each[side] for each in found] for side in (1, 2))
                axes.fill_between(list(means), low, high, color=ink, alpha=0.15, linewidth=0)
        frame(axes, title, "training step")
        axes.set(ylabel="success on the panel, %", ylim=(0, 100))
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.legend(frameon=False, fontsize=8)
    save_figure(figure, path)


def confirmation(name: str, study: Study, claims: Sequence[tuple[str, Terms, int]]) -> dict[str, str]:
    """The blocks of a study that decides claims."""
    return {
        f"{name}-status": status_table(study),
        name: arms_table(study, SHOWN),
        f"{name}-claims": claims_table(study, claims),
        f"{name}-source": source_list(study),
    }


def write_report(studies: Path, page: Path) -> None:
    """Rewrite the generated parts of `page` and its figures beside it, from the studies in a directory."""
    screen, confirmed = (Study.read(studies / f"{name}.toml") for name in FILES)
    others = {block: Study.read(studies / f"{name}.toml") for block, name in OTHERS.items()}
    reads = {title: Study.read(studies / f"{name}.toml") for title, name in READS.items()}
    for study in (screen, confirmed, *others.values(), *reads.values()):
        if not study.arm("grpo"):
            raise SystemExit(f"{study.plan.results} has no finished run of GRPO to compare with")
    blocks = {
        "status": status_table(screen),
        "source": source_list(screen),
        "screen": screen_table(screen),
        **confirmation("confirmed", confirmed, CLAIMS),
    }
    for block, study in others.items():
        blocks |= confirmation(block, study, ELSEWHERE)
    for title, study in reads.items():
        block, steps = f"english-{title.lower()}", list(curve(study.arm("grpo")))
        blocks |= {block: arms_table(study, steps[:-1]), f"{block}-source": source_list(study)}
    write_atomic(page, fill(page.read_text(encoding="utf-8"), blocks))
    images = page.parent / "images"
    screened = {"right skills, 95 % intervals are in the table": screen}
    draw(screened, DRAWN, images / "when-it-helps.png")
    draw({"held-out games; 95 % intervals": confirmed}, CONFIRMED, images / "when-it-helps-confirmed.png")
    for block, study in others.items():
        shown = {f"{block}: held-out tasks; 95 % intervals": study}
        draw(shown, CONFIRMED, images / f"when-it-helps-{block}.png")
    draw(reads, ENGLISH, images / "when-it-helps-smollm2.png")


if __name__ == "__main__":
    write_report(ROOT / "studies", ROOT / "docs" / "when_it_helps.md")
