"""What differs besides the method is said first, and no verdict is given across budgets."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.evaluation.test_grouping import GRPO, SDAR, make_run

from sdar.cli import main
from sdar.evaluation.fairness import differences, unfair
from sdar.evaluation.grouping import group, read_entry


def test_methods_alone_differ_in_nothing_else(tmp_path: Path) -> None:
    entries = [
        read_entry(str(make_run(tmp_path, name, method, seed).path), tmp_path)
        for name, method, seed in (("a", SDAR, 0), ("b", GRPO, 0), ("c", SDAR, 1))
    ]
    assert differences(group(entries)) == {}
    assert unfair(group(entries)) == {}


def test_settings_start_and_versions_are_told(tmp_path: Path) -> None:
    one = read_entry(str(make_run(tmp_path, "a", SDAR).path), tmp_path)
    other = replace(
        one,
        name="b",
        settings={**one.settings, "env.max_turns": 9, "objective.coef": 1.0},
        start="embedded-1",
        versions={**one.versions, "torch": "1.0"},
        result=replace(one.result, temperature=1.0),
    )
    one = replace(one, settings={**one.settings, "env.max_turns": 8}, start="embedded-0")
    found = differences(group([one, other]))
    assert found.pop("version of torch")["b"] == ["1.0"]
    assert {name: [*values.values()] for name, values in found.items()} == {
        "started from": [["embedded-0"], ["embedded-1"]],
        "env.max_turns": [["8"], ["9"]],
        "played with temperature": [["0.4"], ["1.0"]],
    }


def test_no_verdict_across_budgets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(tmp_path, "long", SDAR, step=60, won=20)
    make_run(tmp_path, "short", GRPO, step=2, won=0)
    make_run(tmp_path, "equal", GRPO, step=60, won=0)
    assert main(["compare", "long", "short", "equal", "--out", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert text.startswith("what differs besides the method\n")
    assert "\nsteps" in text.split("success")[0]
    assert "no verdict on long and short: they had long 60 and short 2 steps; long has +100.0 points" in text
    assert "long is better than equal by 100.0 points" in text, "at one budget there is a verdict"
    assert "long is better than short" not in text


def test_differences_for_programs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, step in (("long", 60), ("short", 2)):
        make_run(tmp_path, name, SDAR, step=step)
    words = ["compare", "long", "short", "--out", str(tmp_path), "--format", "json"]
    assert main(words) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["differences"] == [{"besides the method": "steps", "long": "60", "short": "2"}]
