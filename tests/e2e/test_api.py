"""Runs from Python: settings as code gives them, records, evaluation."""

import os
from pathlib import Path

import pytest
from tests.e2e.test_cli_run import RECIPE, SKILL

import sdar

pytestmark = pytest.mark.usefixtures("place")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty directory to work in, with a recipe of a tiny run and a data directory of its own."""
    (tmp_path / "bank").mkdir()
    (tmp_path / "bank" / "walk.md").write_text(SKILL)
    (tmp_path / "tiny.toml").write_text(RECIPE.format(root=tmp_path))
    monkeypatch.setenv("SDAR_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)


def test_train_evaluate_and_look_at_the_records(capfd: pytest.CaptureFixture[str]) -> None:
    run = sdar.train("tiny.toml", objective="grpo", steps=2, quiet=True)
    assert capfd.readouterr().err == ""
    assert run.settings["objective"]["name"] == "grpo"
    metrics = run.metrics()
    assert [line["step"] for line in metrics] == [0, 1, 2]
    assert metrics[2]["eval/success"] == sdar.evaluate(run, quiet=True).success.value
    episodes = run.episodes()
    assert [episode["step"] for episode in episodes] == [1] * 4 + [2] * 4
    assert {"task", "kind", "success", "reward", "turns"} <= episodes[0].keys()
    rates = [sum(e["success"] for e in episodes if e["step"] == step) / 4 for step in (1, 2)]
    assert [line["rollout/success"] for line in metrics[1:]] == rates


def test_a_run_goes_on_and_a_panel_is_cut_or_left_out() -> None:
    run = sdar.train("tiny.toml", {"eval.panel": "none", "objective.kl_coef": 0.0}, steps=1)
    assert not any(name.startswith("eval/") for line in run.metrics() for name in line)
    same = sdar.train(resume=run)
    assert same.path == run.path
    assert len(same.metrics()) == 2
    result = sdar.evaluate(run, panel="held_out", limit=2)
    assert [outcome.kind for outcome in result.outcomes] == ["left", "right"]
    expert = sdar.evaluate("walker", {"env": "toy"}, samples=2)
    assert expert.success.value == 1.0
    assert expert.samples == 2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sdar.train(stepz=2), "stepz: unknown setting"),
        (lambda: sdar.train({"train.stepz": 2}), "did you mean train.steps"),
        (lambda: sdar.train("tiny", steps=1), "there is no recipe 'tiny'"),
        (lambda: sdar.train("tiny.toml", steps="many"), "train.steps must be a whole number"),
        (lambda: sdar.train(resume="nowhere"), "nowhere is not a run directory"),
        (lambda: sdar.train(steps=2, resume="nowhere"), "give none beside it"),
        (lambda: sdar.evaluate("nowhere"), "nowhere is not a run directory"),
        (lambda: sdar.evaluate("walker", env="toy", panel="none"), "choose from held_out"),
    ],
)
def test_what_cannot_work_says_so(call: object, message: str) -> None:
    with pytest.raises(sdar.SdarError, match=message):
        call()  # type: ignore[operator]


def test_settings_out_of_parts() -> None:
    from sdar.objectives.sdar import SDAR

    config = sdar.load_config("alfworld/published", {"train.steps": 2, "objective": SDAR(coef=0.5)})
    assert (config.train.steps, config.objective, config.env.max_turns) == (2, SDAR(coef=0.5), 50)
    assert sdar.load_config(config) == config
    assert sdar.load_config([{"objective": "grpo"}, {"objective.kl_coef": 0.5}]).objective.kl_coef == 0.5  # type: ignore[attr-defined]
    mixed = sdar.load_config({"objective": "grpo", "objective.kl_coef": 0.25, "train": {"seed": 3}})
    assert (mixed.objective.kl_coef, mixed.train.seed) == (0.25, 3)  # type: ignore[attr-defined]


def test_importing_and_refusing_take_no_torch() -> None:
    import subprocess
    import sys

    code = (
        "import sys, sdar\n"
        "try: sdar.train(stepz=2)\n"
        "except sdar.ConfigError: pass\n"
        "sdar.load_config('alfworld/published')\n"
        "assert not {'torch', 'transformers', 'peft'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, env=dict(os.environ))
    assert done.returncode == 0
