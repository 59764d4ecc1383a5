"""A whole run through the command line: warm start, training, Ctrl-C, resume, evaluation."""

import json
import re
import signal
from collections.abc import Mapping
from pathlib import Path

import pytest

from sdar.cli import main
from sdar.runs.rundir import RunDir, read_metrics, read_trajectories, trajectory_steps
from sdar.runs.trackers import trackers

SKILL = "---\nname: walk\nsummary: walk to the door.\n---\nWalk to the door.\n"
RECIPE = """
name = "tiny"
out = "{root}/runs"
env = "toy"
[train]
steps = 3
eval_every = 2
[skills]
bank = "{root}/bank"
retrieval = "all"
[warm_start]
steps = 2
demonstrations = 2
skilled_expert = "walker"
plain_expert = "walker"
[warm_start.model]
hidden_size = 32
intermediate_size = 32
num_layers = 1
num_heads = 1
num_kv_heads = 1
vocab_size = 300
context_length = 256
[rollout]
tasks_per_step = 2
group_size = 2
max_tokens = 6
[eval]
panel = "held_out"
"""

TRACKERS = """
from sdar.runs.trackers import Tracker, trackers

def crash(self, *args):
    raise RuntimeError("no connection")

for method in ("__init__", "log", "close"):
    methods = dict.fromkeys(("__init__", "log", "close"), lambda self, *args: None) | {method: crash}
    trackers.register(f"broken-{method.strip('_')}")(type("Broken", (Tracker,), methods))
"""


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("SDAR_DATA", str(tmp_path / "data"))
    (tmp_path / "bank").mkdir()
    (tmp_path / "bank" / "walk.md").write_text(SKILL)
    (tmp_path / "toy.toml").write_text(RECIPE.replace("{root}", str(tmp_path)))
    return str(tmp_path / "toy.toml")


def test_train_stop_resume_and_evaluate(
    recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunDir(tmp_path / "runs" / "tiny")
    log = RunDir.log_metrics

    def stop_after_first_step(self: RunDir, step: int, metrics: Mapping[str, float]) -> None:
        log(self, step, metrics)
        if step == 1:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(RunDir, "log_metrics", stop_after_first_step)
    assert main(["train", recipe]) == 130
    out, err = capsys.readouterr()
    why, header = err.splitlines()[:2]
    assert why.startswith("making a model by demonstrations, once for these settings")
    assert header.startswith(f"{run.path}: sdar on toy, model embedded, 3 steps of 2 tasks x 2")
    assert f"stopped after step 1 of 3; go on with: sdar train --resume {run.path}" in out
    assert out.splitlines()[-1] == str(run.path)
    assert "step 1/3" in err
    assert [line["step"] for line in read_metrics(run)] == [0, 1]

    monkeypatch.setattr(RunDir, "log_metrics", log)
    assert main(["train", "--resume", str(run.path)]) == 0
    out, _ = capsys.readouterr()
    assert "stopped" not in out
    assert out.splitlines()[-1] == str(run.path)
    assert "before" in out
    assert re.search(r"^invalid actions on the panel: [\d.]+ % before, [\d.]+ % trained$", out, re.MULTILINE)
    assert "training samples at temperature 1 and the panel at 0.4" in out
    assert [line["step"] for line in read_metrics(run)] == [0, 1, 2, 3]
    assert trajectory_steps(run) == [1, 2, 3]
    [first, *_] = read_trajectories(run, 3)
    assert first["skills"] == ["walk"]
    assert len(first["turns"][0]["gap"]) == len(first["turns"][0]["tokens"])
    assert run.learning_curve.stat().st_size > 10_000
    assert list(run.path.glob("tensorboard/events*"))

    assert main(["train", recipe]) == 2
    assert "exists: choose another --name" in capsys.readouterr().err

    assert main(["eval", str(run.path), "--samples", "2", "--with-skills", "all"]) == 0
    out, _ = capsys.readouterr()
    plain, skilled = (json.loads(Path(line).read_text()) for line in out.splitlines()[-2:])
    assert (plain["skills"], skilled["skills"]) == ("", "all")
    assert (skilled["samples"], skilled["panel"], set(skilled["pass_at_k"])) == (2, "held_out", {"1", "2"})
    assert skilled["versions"]["python"]
    assert skilled["settings"]["env"]["name"] == "toy"
    assert "the data do not tell tiny step 3" in out
    assert re.search(r"^walker +100.0 \[51.0, 100.0\]", out, re.MULTILINE)
    assert main(["eval", "walker", "--env", "toy", "--with-skills", "all"]) == 2
    assert "the expert 'walker' reads no prompt" in capsys.readouterr().err
    assert list(run.path.glob("eval/step-*.json"))
    checkpoint = run.checkpoints / "step-000003"
    elsewhere = ["--env", "toy", "--panel", "held_out", "--out", str(tmp_path / "runs")]
    assert main(["eval", str(checkpoint / "model"), *elsewhere]) == 0
    assert main(["eval", str(checkpoint), "--temperature", "0"]) == 0
    assert main(["eval", str(run.path), "--step", "2"]) == 2
    assert "has no checkpoint of step 2" in capsys.readouterr().err


def test_warm_start_command(recipe: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["warm-start", recipe]) == 0
    out, _ = capsys.readouterr()
    kinds = [line.partition(" ")[0] for line in out.splitlines()[1:-1]]
    assert kinds[:2] == ["skills", "none"]
    assert "right" in kinds
    assert (Path(out.splitlines()[-1]) / "model.safetensors").is_file()
    assert main(["warm-start", recipe, "--eval.panel", "none"]) == 0
    assert capsys.readouterr().out == out.splitlines()[-1] + "\n"


def test_a_run_outlives_its_trackers(
    recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Trackers of a plugin that crash when they start, log or close."""
    for name in ("init", "log", "close"):
        monkeypatch.delitem(trackers._table, f"broken-{name}", raising=False)
    plugin = tmp_path / "broken_trackers.py"
    plugin.write_text(TRACKERS)
    names = ["tensorboard", "broken-init", "broken-log", "broken-close"]
    flags = ["--plugins", str(plugin), "--trackers", *names, "--train.steps", "1"]
    assert main(["train", recipe, *flags]) == 0
    run = RunDir(tmp_path / "runs" / "tiny")
    assert [line["step"] for line in read_metrics(run)] == [0, 1]
    assert caplog.text.count("RuntimeError: no connection") == 3
