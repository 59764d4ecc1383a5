"""A whole study on the toy corridor: runs in processes, one result each, resumed, retried, never repeated."""

import json
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

import sdar
from sdar.cli import main
from sdar.runs.rundir import RunDir, read_metrics
from sdar.study.plan import Planned, flags, read_plan
from sdar.study.processes import SDAR
from sdar.study.result import read_results
from sdar.study.run import missing, starting_model

SKILL = "---\nname: walk\nsummary: walk to the door.\n---\nWalk to the door.\n"
STUDY = """
[settings]
trackers = []
env = { name = "toy" }
skills = { bank = "{root}/bank", retrieval = "all" }
rollout = { tasks_per_step = 2, group_size = 2, max_tokens = 6 }
train = { steps = 2, eval_every = 1 }
eval = { panel = "held_out" }
checkpoint = { every = 1 }
[axes.method]
sdar = { objective.name = "sdar" }
broken = { objective.name = "grpo", rollout.max_tokens = 400 }
[parts]
all = { method = "*" }
[[order]]
seeds = [3]
parts = ["all"]
"""
WARM = """
[warm_start]
steps = 1
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
"""


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SDAR_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("PYTHONPATH", str(Path(sdar.__file__).parents[1]))
    (tmp_path / "bank").mkdir()
    (tmp_path / "bank" / "walk.md").write_text(SKILL)
    file = tmp_path / "toy.toml"
    file.write_text(STUDY.replace("{root}", str(tmp_path)))
    return file


def warm_model(study: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    recipe = study.with_name("warm.toml")
    skills = f'env = "toy"\n[skills]\nbank = "{study.parent}/bank"\nretrieval = "all"\n'
    recipe.write_text(
        skills + '[eval]\npanel = "held_out"\n[rollout]\ntasks_per_step = 2\nmax_tokens = 6\n' + WARM
    )
    assert main(["warm-start", str(recipe)]) == 0
    return Path(capsys.readouterr().out.splitlines()[-1])


def interrupt(planned: Planned, place: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> RunDir:
    """Do the first step of a run as the study would, then press Ctrl-C."""
    name = f"{planned.name}-{planned.digest}"
    log = RunDir.log_metrics

    def stop(self: RunDir, step: int, metrics: Mapping[str, float]) -> None:
        log(self, step, metrics)
        if step == 1:
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patched:
        patched.setattr(RunDir, "log_metrics", stop)
        words = ["--name", name, "--out", str(place), "--model.path", str(model)]
        assert main(["train", *words, *flags(planned.settings)]) == 130
    return RunDir(place / name)


def test_a_study_resumes_skips_and_retries(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plan, model, runs = read_plan(study), warm_model(study, capsys), tmp_path / "runs"
    study.write_text(f'model = "{model}"\n{study.read_text()}')
    command = ["study", str(study), "--jobs", "2", "--runs", str(runs)]
    half = interrupt(plan.runs[0], runs / "toy", model, monkeypatch)
    assert [line["step"] for line in read_metrics(half)] == [0, 1]

    assert main(command) == 1
    out, _ = capsys.readouterr()
    assert "2/2" not in out
    results = read_results(plan.results)
    done, failed = results["sdar-seed3"], results["broken-seed3"]
    assert [line["step"] for line in read_metrics(half)] == [0, 1, 2]
    assert (done["status"], done["seed"], done["axes"]) == ("done", 3, {"method": "sdar"})
    assert list(done["success"]) == ["0", "1", "2"]
    assert {len(bits) for bits in done["success"].values()} == {len(done["last"]["turns"])}
    assert len(done["curves"]["rollout/success"]) == 2
    assert [block["steps"] for block in done["turns"]] == [[1, 1], [2, 2]]
    assert len(done["turns"][0]["gap"]) == len(done["turns"][0]["gate"]) == len(done["turns"][0]["tokens"])
    assert (failed["status"], failed["exit"]) == ("failed", 2)
    assert "context" in failed["reason"]
    assert failed["model"] == done["model"]

    written = (plan.results / "sdar-seed3.json").stat().st_mtime_ns
    assert [run.name for run in missing(plan)] == ["broken-seed3"]
    assert main([*command, "--dry-run"]) == 0
    assert "1 of 2 runs are left, about 0.0 hours" in capsys.readouterr().out
    assert main(command) == 1
    assert (plan.results / "sdar-seed3.json").stat().st_mtime_ns == written

    broken = {**done, "name": "broken-seed3", "settings": plan.runs[1].settings}
    (plan.results / "broken-seed3.json").write_text(json.dumps(broken))
    assert main(command) == 0
    assert "all 2 runs are done" in capsys.readouterr().out
    (plan.results / "broken-seed3.json").unlink()

    (model / "config.json").write_text((model / "config.json").read_text() + " ")
    capsys.readouterr()
    assert main(command) == 2
    assert "sdar-seed3 started from the model" in capsys.readouterr().err


def test_a_study_takes_the_model_that_is_there_and_plays_no_panel_with_it(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = warm_model(study, capsys)
    study.write_text(f'base = "warm.toml"\n{study.read_text()}')
    said = []

    def here(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        status = main(command[len(SDAR) :])
        said.append(capsys.readouterr().out)
        return subprocess.CompletedProcess(command, status, said[-1])

    monkeypatch.setattr(subprocess, "run", here)
    assert starting_model(read_plan(study), None, tmp_path) == model
    assert said == [f"{model}\n"]


def test_a_result_of_other_settings_is_refused(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = read_plan(study)
    plan.results.mkdir(parents=True)
    other = {"name": "sdar-seed3", "status": "done", "settings": {"train": {"steps": 9}}}
    (plan.results / "sdar-seed3.json").write_text(json.dumps(other))
    assert main(["study", str(study), "--dry-run"]) == 2
    assert "was made with other settings" in capsys.readouterr().err
