"""Runs and results become methods: what differs only in its seed is one method."""

import json
from pathlib import Path

import pytest
from tests.outcomes import result_of

from sdar.errors import ConfigError, DataError
from sdar.evaluation.grouping import group, read_entry
from sdar.runs.rundir import RunDir

CONFIG = """
name = "{name}"
out = "runs"
[train]
seed = {seed}
steps = {step}
[env]
name = "toy"
[objective]
{objective}
[eval]
samples = 1
"""
SDAR, STRONG, GRPO = 'name = "sdar"\ncoef = 0.01', 'name = "sdar"\ncoef = 0.1', 'name = "grpo"'


def make_run(out: Path, name: str, objective: str, seed: int = 0, step: int = 6, won: int = 10) -> RunDir:
    run = RunDir.create(out, name, CONFIG.format(name=name, seed=seed, step=step, objective=objective))
    for at, wins in ((0, 5), (step, won)):
        run.log_metrics(at, {"rollout/tokens": 100.0, "time/step_s": 30.0} if at else {})
        run.write_eval(at, result_of([[i < wins] for i in range(20)]).to_json())
    return run


def labels(out: Path, *names: str) -> dict[str, list[str]]:
    found = group([read_entry(name, out) for name in names])
    return {label: [entry.name for entry in entries] for label, entries in found.items()}


def test_seeds_are_grouped_and_methods_named_by_what_differs(tmp_path: Path) -> None:
    make_run(tmp_path, "a", SDAR, seed=0)
    make_run(tmp_path, "b", GRPO, seed=0)
    make_run(tmp_path, "c", SDAR, seed=1)
    make_run(tmp_path, "d", STRONG, seed=0)
    assert labels(tmp_path, "a", "b", "c") == {"sdar": ["a", "c"], "grpo": ["b"]}
    assert labels(tmp_path, "a", "c", "d") == {"coef=0.01": ["a", "c"], "coef=0.1": ["d"]}


def test_without_seeds_the_names_of_the_runs_are_kept(tmp_path: Path) -> None:
    make_run(tmp_path, "a", SDAR)
    make_run(tmp_path, "b", GRPO)
    make_run(tmp_path / "other", "a", STRONG)
    assert labels(tmp_path, "a", "b") == {"a": ["a"], "b": ["b"]}
    assert labels(tmp_path, "a", str(tmp_path / "other" / "a")) == {"a (1)": ["a"], "a (2)": ["a"]}


def test_an_unfinished_run_is_another_method(tmp_path: Path) -> None:
    make_run(tmp_path, "a", SDAR, seed=0)
    make_run(tmp_path, "b", SDAR, seed=1)
    (tmp_path / "b" / "eval" / "step-000006.json").unlink()
    assert labels(tmp_path, "a", "b") == {"a": ["a"], "b": ["b"]}


def test_one_seed_twice_is_refused(tmp_path: Path) -> None:
    make_run(tmp_path, "a", SDAR)
    with pytest.raises(ConfigError, match="a and a are one method with one training seed"):
        labels(tmp_path, "a", "latest")


def test_labels_of_the_user(tmp_path: Path) -> None:
    make_run(tmp_path, "a", SDAR, seed=0)
    make_run(tmp_path, "b", GRPO, seed=1)
    make_run(tmp_path, "c=1", GRPO, seed=0)
    found = labels(tmp_path, "ours=a", "ours=b", f"theirs={tmp_path}/c=1")
    assert found == {"ours": ["a", "b"], "theirs": ["c=1"]}
    assert labels(tmp_path, "a", "ours=b") == {"a": ["a"], "ours": ["b"]}
    assert labels(tmp_path, "a", "c=1") == {"a": ["a"], "c=1": ["c=1"]}


def test_results_in_files(tmp_path: Path) -> None:
    made = {"player": "step 6", "settings": {"train": {"seed": 3}, "env": {"name": "toy"}}}
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(result_of([[1]] * 8).to_json() | made))
    entry = read_entry(str(file), tmp_path)
    assert (entry.name, entry.source, entry.settings["train.seed"]) == ("mine", "step 6", 3)
    assert entry.result.success.value == 1
    run = make_run(tmp_path, "a", SDAR)
    steps = [str(file) for file in sorted(run.path.glob("eval/*.json"))]
    assert list(labels(tmp_path, *steps)) == ["a/step-000000", "a/step-000006"], "without player and settings"
    file.write_text('{"a": 1}')
    with pytest.raises(DataError, match="is not a result of sdar eval"):
        read_entry(str(file), tmp_path)
    with pytest.raises(DataError, match="cannot read"):
        read_entry(str(tmp_path / "none.json"), tmp_path)


def test_a_run_without_an_evaluation(tmp_path: Path) -> None:
    RunDir.create(tmp_path, "empty", "")
    with pytest.raises(DataError, match="has no evaluation yet"):
        read_entry("empty", tmp_path)
