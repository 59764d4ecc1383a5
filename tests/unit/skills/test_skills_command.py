"""`sdar skills`, through the command line."""

import json
import math
from pathlib import Path

import pytest

from sdar.cli import main
from sdar.runs.rundir import RunDir
from sdar.skills.bank import SkillBank
from sdar.types import Completion, ContextMode, EndReason, Observation, StopReason, Task, Trajectory, Turn


def trajectory(kind: str, won: bool) -> Trajectory:
    turn = Turn(Observation("x"), (), (), Completion((), (), StopReason.STOP), "", "", float(won), True)
    return Trajectory(Task("t", kind), 0, ContextMode.TRANSCRIPT, (turn,), won, EndReason.DONE)


def test_show_and_check_a_bank(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["skills", "show", str(directory)]) == 0
    assert "use the microwave." in capsys.readouterr().out
    assert main(["skills", "check", str(directory)]) == 0
    (directory / "bad.md").write_text("nothing")
    assert main(["skills", "check", str(directory), "--env", "toy"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("can be used")
    assert sum(line.startswith("FAIL") for line in lines) == 3, "bad.md, and nothing for left and right"
    assert lines[-1].endswith("cannot be used")


def test_stats_of_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = RunDir.create(tmp_path, "toy", "")
    episodes = [trajectory("heat", won) for won in (True, True, False, False)]
    seen = [("heat",), ("heat",), ("heat",), ("none",)]
    run.write_episodes(1, episodes, seen, [0.25, 0.75, 0.5, math.nan])
    assert main(["skills", "stats", "toy", "--out", str(tmp_path)]) == 0
    _, heat, none = capsys.readouterr().out.splitlines()
    assert heat.split() == ["heat", "3", "+0.500", "66.7", "%", "1", "0.0", "%"]
    assert none.split() == ["none", "1", "-", "0.0", "%", "3", "66.7", "%"]


def test_import_of_a_published_bank(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rule = {"title": "Look", "principle": "Look once.", "when_to_apply": "Always."}
    source, target = tmp_path / "bank.json", tmp_path / "ours"
    source.write_text(json.dumps({"general_skills": [rule], "task_specific_skills": {"left": [rule]}}))
    assert main(["skills", "import", str(source), str(target), "--env", "toy"]) == 0
    assert "no skill for task kind 'right'" in capsys.readouterr().out
    assert SkillBank.load(target).kinds == ("left",)
    assert main(["skills", "import", str(source), str(target)]) == 2
    assert "save the skill bank to a new directory" in capsys.readouterr().err


def test_an_import_says_which_files_the_mapping_does_not_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mapping = {"skill_files": {"general_skills": "g.md", "left": "l.md"}, "task_to_skill": {"left": "left"}}
    (tmp_path / "skill_mapping.json").write_text(json.dumps(mapping))
    for name in ("g.md", "l.md", "notes.md"):
        (tmp_path / name).write_text("1. Look: once.\n")
    words = ["skills", "import", str(tmp_path), str(tmp_path / "ours"), "--env", "search_qa"]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "left out, as skill_mapping.json does not name them: notes.md" in said
    (tmp_path / "l.md").unlink()
    assert main([*words[:3], str(tmp_path / "other"), *words[4:]]) == 2
    assert f"cannot read {tmp_path / 'l.md'}: No such file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("env", "rule"), [("webshop", "keyword-published"), ("search_qa", "by-source"), ("toy", "by-kind")]
)
def test_an_import_keeps_the_published_rule(
    env: str, rule: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whole: what the environment's own kinds do not know stays under its published kind."""
    entry = {"title": "Look", "principle": "Look once.", "when_to_apply": "Always."}
    special = {"left": [entry], "right": [entry]}
    source, target = tmp_path / "bank.json", tmp_path / "ours"
    source.write_text(json.dumps({"general_skills": [entry], "task_specific_skills": special}))
    assert main(["skills", "import", str(source), str(target), "--env", env]) == 0
    assert f"--skills.bank {target} --skills.retrieval {rule}" in capsys.readouterr().out
    assert SkillBank.load(target).kinds == ("left", "right")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("skills", "sdar skills cannot '': choose from"),
        ("skills stat x", "sdar skills cannot 'stat': did you mean 'stats'?"),
        ("skills import x", "usage: sdar skills import SOURCE TARGET"),
        ("skills check alfwrld", "did you mean 'alfworld'?"),
        ("skills stats nowhere", "not a run directory"),
        ("skills check alfworld --env ty", "unknown environment 'ty': did you mean 'toy'"),
    ],
)
def test_bad_words_are_answered(args: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(args.split()) == 2
    assert message in capsys.readouterr().err
