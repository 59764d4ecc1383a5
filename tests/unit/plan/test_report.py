"""The whole plan, as the command line tells it."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from sdar.build.checks import check
from sdar.cli import main
from sdar.errors import ConfigError
from sdar.plan.memory import BUCKET, FIRST_ROOM, LOGITS
from sdar.plan.report import Plan
from sdar.plan.settings import GIB, Assumed
from sdar.recipe import load_config
from sdar.rollout.engines.settings import VLLM

SEVEN = ["alfworld/published", "qwen2.5-7b"]


def test_tokens_and_flops_are_those_of_the_settings() -> None:
    config = load_config("alfworld/published", "qwen3-1.7b")
    plan = Plan.of(config, Assumed(gpus=8, turns=10, answer=100, prompt=500))
    done = plan.work()
    turns = 16 * 8 * 10
    assert done["read prompts"].tokens == turns * 500
    assert done["generate"].tokens == turns * 100
    assert done["score old"].tokens == done["score reference"].tokens == done["update"].tokens == turns * 600
    packs = turns * 600 // 8 // 8192 + 1
    assert done["score teacher (skills)"].tokens == turns * 600 + 8 * packs * 1046
    # Two for each parameter of a layer and token, causal attention, the output layer for answers.
    layers, attention = 2 * 1_409_408_000, 2 * 28 * 2048 * 600
    assert done["score old"].flops == turns * (600 * (layers + attention) + 100 * 2 * 151_936 * 2048)
    assert done["update"].flops == 4 * done["score old"].flops
    assert done["update"].seconds == pytest.approx(done["update"].flops / 8 / (989e12 * 0.35))
    # A decode step of 16 rows reads the weights, but the launches of 28 layers take longer.
    assert done["generate"].seconds == pytest.approx(10 * 100 * (56 * 28 + 54) * 8e-6)
    fast = Plan.of(config, replace(plan.assumed, launch=0.1)).work()["generate"].seconds
    moved = 2 * plan.shape.parameters + 16 * 500 * 2 * 28 * 1024 * 2
    assert fast == pytest.approx(1000 * moved / 3350e9)


def test_more_gpus_leave_the_engine_and_what_is_whole_as_it_is() -> None:
    config = load_config(*SEVEN)
    one, eight = (Plan.of(config, Assumed(gpus=ranks)).memory() for ranks in (1, 8))
    for item in ("weights", "gradients", "optimizer", "reference"):
        assert one["update"][item] == 8 * eight["update"][item]
    assert one["update"]["activations"] == eight["update"]["activations"]
    assert one["score"]["gathered"] == eight["score"]["gathered"]
    assert one["rollout"]["engine"] == eight["rollout"]["engine"] == 2 * 7_615_616_512
    assert one["rollout"]["KV cache"] == 8 * eight["rollout"]["KV cache"]


def test_ranks_that_share_an_engine_have_a_part_of_it_each() -> None:
    engine = {"rollout.engine": "vllm"}
    whole, shared = (
        Plan.of(load_config(*SEVEN, engine | {"rollout.engine.tensor_parallel": size}), Assumed(gpus=4))
        for size in (1, 4)
    )
    parts = [plan.memory()["rollout"]["engine"] for plan in (whole, shared)]
    assert parts == [2 * 7_615_616_512, 2 * 7_615_616_512 / 4]
    assert whole.memory()["sync"]["gathered"] == shared.memory()["sync"]["gathered"], "tensors come in whole"
    # A decode step reads a quarter of the weights, all ranks' caches in quarters, and adds up twice a layer.
    steps, rows = 50 * 256, 32
    parameters, cache = 2 * 7_615_616_512, rows * whole.load.typical.prompt * 2 * 28 * 512 * 2
    added = 2 * 28 * (2 * 3 * rows * 3584 * 2 / 400e9 + 8e-6)
    assert whole.work()["generate"].seconds == pytest.approx(steps * (parameters + cache) / 3350e9)
    seconds = steps * ((parameters / 4 + cache) / 3350e9 + added)
    assert shared.work()["generate"].seconds == pytest.approx(seconds)


def test_an_engine_that_cannot_be_shared_so_is_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["--rollout.engine", "vllm", "--rollout.engine.tensor_parallel", "8"]
    assert main(["plan", *SEVEN, "--gpus", "8", *words]) == 2
    whole = "28 heads, 4 key heads, 18944 units of an MLP: use 4"
    said = f"error: rollout.engine.tensor_parallel is 8, which does not cut 8 ranks, {whole}\n"
    assert capsys.readouterr().err == said
    monkeypatch.setattr(VLLM, "require", lambda self: None)
    monkeypatch.setenv("WORLD_SIZE", "8")
    assert main(["train", "qwen2.5-7b", *words, "--dry-run"]) == 2
    assert capsys.readouterr().err == said


@pytest.mark.parametrize("gpus", [1, 4])
def test_what_is_advised_fits(gpus: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", *SEVEN, "--gpus", str(gpus), "--gpu-memory", "48"]) == 1
    advice = [line for line in capsys.readouterr().out.splitlines() if line.startswith("It fits with ")]
    assert len(advice) == 2
    for line in advice:
        words = ["--gpus", str(gpus), *line.removeprefix("It fits with ").split()]
        assert main(["plan", *SEVEN, "--gpu-memory", "48", *words]) == 0


def test_a_whole_vocabulary_of_the_teacher_is_counted() -> None:
    taught = {"objective.divergence": "forward-kl", "objective.top_k": 0}
    config = load_config("alfworld/published", "qwen3-1.7b", taught)
    made = Plan.of(config, Assumed(gpus=8, answer=400)).memory()["score"]["likeliest tokens"]
    assert made == 16 * 8 * 50 * 512 * (1 + 1 / 8) * 4 * 151_936


def test_an_environment_without_measured_prompts_asks_for_their_length() -> None:
    config = load_config({"env": "toy"})
    with pytest.raises(ConfigError, match="no prompt of environment 'toy' was measured: say --prompt"):
        Plan.of(config, Assumed())
    assert Plan.of(config, Assumed(prompt=40)).fits


def test_constants_are_those_of_the_parts_that_do_it() -> None:
    import torch

    from sdar.model.logprobs import chunk_tokens
    from sdar.rollout.engines import cache
    from sdar.trainer.weight_sync import BUCKET_BYTES

    assert BUCKET == BUCKET_BYTES
    assert FIRST_ROOM == cache.FIRST_ROOM
    for device, logits in LOGITS.items():
        assert chunk_tokens(1000, torch.device(device)) == logits // 1000


def test_a_start_on_gpus_that_are_too_small_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!{sys.executable}\nprint('81559')\nprint('24576')\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    words = ["train", "qwen3-1.7b", "--dry-run", "--rollout.tasks_per_step", "8"]
    assert main(words) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert error.startswith("error: Qwen/Qwen3-1.7B does not fit: update takes 28.8 GiB on each of 1 ranks")
    assert "and a GPU has 24.0" in error
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(words) == 0
    monkeypatch.setenv("WORLD_SIZE", "1")
    check(load_config("qwen3-1.7b", {"model.path": "some/other-model"}))
    assert 24 * GIB == 24576 << 20
