"""The figures in docs/recipes.md are what `sdar plan` says."""

import json
import re
from pathlib import Path

import pytest

from sdar.cli import main
from sdar.plan.report import Plan
from sdar.plan.settings import GIB, Assumed
from sdar.recipe import load_config

PAGE = (Path(__file__).parents[3] / "docs" / "recipes.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| (alfworld|webshop|search_qa) \| (\S+) \| (.*) \|$", PAGE, re.MULTILINE)


def test_every_published_setting_is_in_the_table() -> None:
    assert [row[:2] for row in ROWS] == [
        (env, model)
        for env in ("alfworld", "webshop", "search_qa")
        for model in ("qwen3-1.7b", "qwen2.5-3b", "qwen2.5-7b")
    ]


@pytest.mark.parametrize(("env", "model", "cells"), ROWS)
def test_a_row_is_what_the_plan_says(env: str, model: str, cells: str) -> None:
    config = load_config(f"{env}/published", model)
    plans = [Plan.of(config, Assumed(gpus=gpus)) for gpus in (1, 2, 4, 8)]
    peaks = [f"{max(plan.peaks.values()) / GIB:.0f}{'' if plan.fits else ' no'}" for plan in plans]
    minutes = sum(part.seconds for part in plans[-1].work().values()) / 60
    assert cells.split(" | ") == [*peaks, f"{minutes:.1f}"]


def test_the_example_is_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    command, shown = re.findall(r"^    sdar (plan .*)\n\n```text\n(.*?)```", PAGE, re.MULTILINE | re.DOTALL)[
        0
    ]
    assert main(command.split()) == 1
    assert capsys.readouterr().out == shown


def test_a_program_gets_the_tables(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "alfworld/published", "qwen2.5-7b", "--gpus", "8", "--format", "json"]) == 0
    made = json.loads(capsys.readouterr().out)
    first = made["memory"][0]
    assert first.pop("GiB of a rank") == "weights"
    assert {phase: round(gib, 2) for phase, gib in first.items()} == dict.fromkeys(
        ("build", "rollout", "score", "update", "sync"), 3.55
    )
    assert [row["a step"] for row in made["work"]][-2:] == ["sync", "all"]
    assert made["notes"][-1].startswith("It fits")
