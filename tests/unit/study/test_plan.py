"""A study's file becomes an ordered list of runs."""

import re
from pathlib import Path

import pytest

from sdar.errors import ConfigError, DataError
from sdar.study.plan import flags, read_plan
from sdar.study.run import starting_model

STUDY = """
[settings]
train = { steps = 2 }
[axes.method]
grpo = { objective.name = "grpo" }
sdar = { objective.name = "sdar" }
[axes.coef]
small = { objective.coef = 0.1 }
[parts]
main = { method = "*" }
coef = { method = ["sdar"], coef = "*" }
[[order]]
seeds = [0, 1]
parts = ["main"]
[[order]]
seeds = [0]
parts = ["coef", "main"]
"""


def write(path: Path, text: str) -> Path:
    file = path / "study.toml"
    file.write_text(text)
    return file


def test_runs_are_in_the_order_asked_for_and_none_is_made_twice(tmp_path: Path) -> None:
    plan = read_plan(write(tmp_path, STUDY))
    names = ["grpo-seed0", "sdar-seed0", "grpo-seed1", "sdar-seed1", "sdar-small-seed0"]
    assert [run.name for run in plan.runs] == names
    last = plan.runs[-1]
    assert last.settings == {"train": {"steps": 2, "seed": 0}, "objective": {"name": "sdar", "coef": 0.1}}
    assert last.axes == {"method": "sdar", "coef": "small"}
    assert plan.results == tmp_path / "results" / "study"


def test_runs_share_the_settings_of_a_recipe(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("train = { steps = 9, eval_every = 3 }\n")
    plan = read_plan(write(tmp_path, f'base = "mine.toml"\n{STUDY}'))
    assert plan.runs[0].settings["train"] == {"steps": 2, "eval_every": 3, "seed": 0}


def test_what_a_study_does_not_have_is_that_of_the_one_it_is_like(tmp_path: Path) -> None:
    theirs = read_plan(write(tmp_path, STUDY))
    (tmp_path / "mine.toml").write_text('base = "objectives/rlsd-published"\nlike = "study.toml"\n')
    mine = read_plan(tmp_path / "mine.toml")
    assert [run.name for run in mine.runs] == [run.name for run in theirs.runs]
    assert mine.runs[0].settings["objective"]["name"] == "grpo"
    assert mine.settings["train"]["steps"] == 2
    assert "objective" in mine.settings
    assert mine.results == tmp_path / "results" / "mine"
    (tmp_path / "mine.toml").write_text('like = "study.toml"\nsettings = { train = { steps = 3 } }\n')
    assert read_plan(tmp_path / "mine.toml").settings == {"train": {"steps": 3}}


def test_a_study_is_like_one_that_stands_alone(tmp_path: Path) -> None:
    write(tmp_path, 'like = "another.toml"\n' + STUDY)
    (tmp_path / "mine.toml").write_text('like = "study.toml"\n')
    with pytest.raises(ConfigError, match="unknown name 'like'"):
        read_plan(tmp_path / "mine.toml")


@pytest.mark.parametrize("name", ["axes", "parts", "order"])
def test_what_a_study_must_have(name: str, tmp_path: Path) -> None:
    tables = re.split(r"(?m)^(?=\[)", STUDY)
    kept = [table for table in tables if not table.lstrip("[").startswith(name)]
    with pytest.raises(ConfigError, match=f"has no {name}"):
        read_plan(write(tmp_path, "".join(kept)))


def test_the_model_is_beside_the_file(tmp_path: Path) -> None:
    plan = read_plan(write(tmp_path, f'model = "start"\n{STUDY}'))
    with pytest.raises(DataError, match="there is no model in"):
        starting_model(plan, None, tmp_path)
    for name in ("start", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
    assert starting_model(plan, None, tmp_path) == tmp_path / "start"
    assert starting_model(plan, tmp_path / "other", tmp_path) == tmp_path / "other"
    assert read_plan(write(tmp_path, STUDY)).model is None


def test_the_digest_follows_the_settings(tmp_path: Path) -> None:
    before = read_plan(write(tmp_path, STUDY)).runs
    after = read_plan(write(tmp_path, STUDY.replace("coef = 0.1", "coef = 0.2"))).runs
    changed = [old.name for old, new in zip(before, after, strict=True) if old.digest != new.digest]
    assert changed == ["sdar-small-seed0"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('["main"]', '["mian"]', "did you mean 'main'?"),
        ('method = ["sdar"]', 'method = ["sdra"]', "did you mean 'sdar'?"),
        ("[parts]", "[prats]", "did you mean 'parts'?"),
        ('coef = "*"', 'cofe = "*"', "did you mean 'coef'?"),
    ],
)
def test_unknown_names_are_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        read_plan(write(tmp_path, STUDY.replace(old, new)))


def test_two_runs_of_one_name_with_different_settings_are_refused(tmp_path: Path) -> None:
    text = STUDY.replace("[axes.coef]", "[axes.rate]\nsmall = { optim.lr = 1.0 }\n[axes.coef]")
    text = text.replace("[[order]]", 'rate = { method = ["sdar"], rate = "*" }\n[[order]]', 1)
    text = text.replace('["coef", "main"]', '["coef", "rate"]')
    with pytest.raises(ConfigError, match="two runs with different settings are named sdar-small-seed0"):
        read_plan(write(tmp_path, text))


def test_flags_are_words_of_a_command_line() -> None:
    words = flags({"trackers": [], "objective": {"name": "sdar", "coef": 0.1}, "x": True})
    assert words == ["--trackers", "--objective.name", "sdar", "--objective.coef", "0.1", "--x", "true"]
