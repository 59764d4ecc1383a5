"""The report of the second study: its rule of choice and its claims, on made-up results."""

import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from sdar.study.plan import read_plan

ROOT = Path(__file__).parents[3]
Curve = Mapping[int, float]


@pytest.fixture
def report(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "studies"))
    return importlib.import_module("when_it_helps")


def made_up(report: ModuleType, arms: Mapping[tuple[str, ...], Curve], seeds: int = 2) -> Any:
    """A study whose arms won so much, in percent, at some steps, with a chance of their own at each seed."""
    plan = read_plan(ROOT / "studies" / "when_it_helps.toml")
    results = {}
    for arm, curve in arms.items():
        for seed in range(seeds):
            dice = np.random.default_rng([seed, len(results)])
            won = {step: dice.permutation(np.arange(200) < 2 * rate) for step, rate in curve.items()}
            results[f"{arm}{seed}"] = {
                "status": "done",
                "axes": dict(enumerate(arm)),
                "seed": seed,
                "panel": {"samples": 2},
                "success": {str(step): "".join(map(str, map(int, bits))) for step, bits in won.items()},
            }
    made = report.Study(plan, results, None)
    made.__dict__["done"] = list(results.values())
    return made


def test_the_rule_prefers_the_faster_of_arms_that_end_within_two_points(report: ModuleType) -> None:
    screen = made_up(
        report,
        {
            ("likelihood", "frozen", "right"): {10: 40, 30: 60},
            ("gated-kl", "frozen", "right"): {10: 50, 30: 58},
            ("likelihood", "frozen", "3"): {10: 55, 30: 57},
            ("likelihood", "start"): {10: 70, 30: 70},
            ("likelihood", "frozen", "0.01"): {10: 70, 30: 70},
            ("likelihood", "frozen", "wrong"): {10: 70, 30: 70},
            ("plain-kl", "ema"): {10: 20, 30: 90},
        },
    )
    assert report.chosen(screen, ("likelihood", "gated-kl")) == ("gated-kl", "frozen", "right")
    assert report.chosen(screen, ("plain-kl", "plain-js")) == ("plain-kl", "ema")


def test_the_rule_takes_no_arm_of_one_seed(report: ModuleType) -> None:
    screen = made_up(report, {("plain-kl", "frozen", "right"): {10: 40, 30: 60}})
    lone = made_up(report, {("plain-kl", "ema"): {10: 70, 30: 70}}, seeds=1)
    screen.__dict__["done"] = screen.done + lone.done
    assert report.chosen(screen, ("plain-kl", "plain-js")) == ("plain-kl", "frozen", "right")


def test_claims_are_differences_of_arms_at_their_step(report: ModuleType) -> None:
    confirmed = made_up(
        report,
        {
            ("grpo",): {10: 30, 30: 40},
            ("gated",): {10: 60, 30: 60},
            ("gated", "wrong"): {10: 60, 30: 58},
            ("plain",): {10: 60, 30: 65},
            ("plain", "wrong"): {10: 40, 30: 20},
            ("grpo", "twice"): {10: 30, 60: 30},
        },
        seeds=4,
    )
    rows = [line.split(" | ") for line in report.claims_table(confirmed, report.CLAIMS).splitlines()[2:]]
    found = {row[0].strip("| "): row[1:] for row in rows}
    assert [
        float(found[name][0].split()[0]) for name in ("1: G beats GRPO", "1: G beats GRPO at step 10")
    ] == [20, 30]
    assert found["1: G beats GRPO"][1].startswith("holds")
    protects = found["3: the gate protects when all skills are wrong"]
    assert float(protects[0].split()[0]) == 43
    assert protects[1].startswith("holds")
    assert found["7: GRPO catches up with twice the steps"][1].startswith("does not hold")
    assert found["2: the published setting beats GRPO"][1].startswith("too few runs yet")


def test_games_are_the_means_of_their_samples(report: ModuleType) -> None:
    study = made_up(report, {("grpo",): {30: 25}})
    study.done[0]["success"]["30"] = "1101"
    study.done[1]["success"]["30"] = "0000"
    assert report.rates_at(study, ("grpo",), -1).tolist() == [[1.0, 0.5], [0.0, 0.0]]


def test_the_page_has_all_blocks(report: ModuleType, tmp_path: Path) -> None:
    page = tmp_path / "docs" / "when_it_helps.md"
    page.parent.mkdir()
    page.write_text((ROOT / "docs" / "when_it_helps.md").read_text())
    report.write_report(ROOT / "studies", page)
    assert page.read_text() == (ROOT / "docs" / "when_it_helps.md").read_text()
    assert (page.parent / "images" / "when-it-helps.png").is_file()


def test_results_are_of_the_runs_that_the_files_plan(report: ModuleType) -> None:
    for name in (*report.FILES, *report.OTHERS.values(), *report.READS.values()):
        plan = read_plan(ROOT / "studies" / f"{name}.toml")
        planned = {run.name: json.loads(json.dumps(run.settings)) for run in plan.runs}
        for file in sorted(plan.results.glob("*.json")):
            assert json.loads(file.read_text())["settings"] == planned[file.stem]
