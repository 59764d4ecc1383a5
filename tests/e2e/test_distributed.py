"""Two processes give what one gives: the same episodes, losses, gradients and updates, up to float noise."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.e2e.worker import SETUPS, play_panel
from tests.runs import timeless, tiny_trainer
from tests.tiny import tiny_model

from sdar.runs.checkpoints import latest
from sdar.runs.rundir import RunDir, read_metrics, read_trajectories
from sdar.runs.texts import read_texts
from sdar.trainer.distributed import World, join

ROOT = Path(__file__).parents[2]
SHARED = (
    "default",
    "idle-rank",
    "ema",
    "live",
    "ucb",
    "distribution",
    "lora",
    "overlong",
    "writes",
    "branches",
)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with join() as world:
        yield world


@contextmanager
def torchrun(*words: str, **streams: Any) -> Iterator[subprocess.Popen[str]]:
    """Two processes of the worker with these words."""
    paths = [str(ROOT / "src"), str(ROOT), os.environ.get("PYTHONPATH", "")]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += [str(ROOT / "tests/e2e/worker.py"), *words]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, env=environment, start_new_session=True, text=True, **streams) as process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("two")
    with torchrun(str(directory), *SHARED, "lora-bfloat16", "full-disk") as process:
        assert process.wait(timeout=600) == 0
    return directory


def test_a_killed_rank_is_named_with_how_to_go_on(tmp_path: Path) -> None:
    """The first rank, which speaks otherwise: the other one has to."""
    with torchrun(str(tmp_path), "endless", stderr=subprocess.PIPE) as process:
        run, deadline = RunDir(tmp_path / "endless"), time.monotonic() + 300
        while len(read_metrics(run)) < 2:
            assert time.monotonic() < deadline, "the run did not get going"
            time.sleep(0.05)
        victim = int((tmp_path / "rank-0").read_text())
        os.kill(victim, signal.SIGKILL)
        _, said = process.communicate(timeout=60)
    lines = [line for line in said.splitlines() if "was lost" in line]
    assert len(lines) == 1, said
    assert f"rank 0 (process {victim} on " in lines[0]
    assert lines[0].endswith("; go on with: sdar train --resume R")


@pytest.mark.parametrize("name", SHARED)
def test_two_ranks_agree_with_one(name: str, two_ranks: Path, world: World, tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path / name, world, **SETUPS[name])
    trainer.train()
    one, two = trainer.run, RunDir.open(two_ranks / name)

    for alone, shared in zip(timeless(read_metrics(one)), timeless(read_metrics(two)), strict=True):
        assert alone.keys() == shared.keys()
        for metric in alone.keys() - {"batch/micro_batches"}:
            tolerance = {"abs": 1e-5} if metric.startswith("mismatch/") else {"rel": 1e-3, "abs": 1e-5}
            assert shared[metric] == pytest.approx(alone[metric], **tolerance), metric
    assert [episode["turns"][0]["tokens"] for episode in read_trajectories(one, 1)] == [
        episode["turns"][0]["tokens"] for episode in read_trajectories(two, 1)
    ]
    assert written(two) == written(one)
    before, alone, shared = tiny_model().state_dict(), final(one), final(two)
    moved = sum(float((alone[key] - before[key]).square().sum()) for key in alone)
    apart = sum(float((alone[key] - shared[key]).square().sum()) for key in alone)
    assert moved > 0
    assert apart < 1e-4 * moved


def test_what_is_shared_out_was_there(two_ranks: Path) -> None:
    """Each rank wrote some of the texts and played some of the branches."""
    texts = written(RunDir.open(two_ranks / "writes"))
    assert {text["about"] for text in texts} == {"reflection", "guidance"}
    assert len(texts) > 4
    assert sum(line.get("extra/samples", 0) for line in read_metrics(RunDir.open(two_ranks / "branches"))) > 4


def test_two_ranks_train_adapters_in_bfloat16(two_ranks: Path) -> None:
    """The reference pass with the adapters off comes before the first backward pass."""
    run = RunDir.open(two_ranks / "lora-bfloat16")
    lines = read_metrics(run)
    assert [line["optim/skipped"] for line in lines[1:]] == [0, 0]
    assert 0 < lines[1]["policy/kl_ref"] < lines[2]["policy/kl_ref"]
    before, after = tiny_model().state_dict(), final(run)
    assert {key for key in after if not torch.equal(after[key], before[key])} > {
        "model.layers.0.self_attn.q_proj.weight",
        "model.layers.1.mlp.down_proj.weight",
    }


def test_a_disk_that_refuses_one_rank_ends_the_checkpoint_of_both(two_ranks: Path) -> None:
    for rank in (0, 1):
        said = (two_ranks / "full-disk" / f"said-{rank}").read_text()
        assert "a file: No space left on device: make room" in said or "step-000001: No space left" in said
    assert list((two_ranks / "full-disk" / "checkpoints").iterdir()) == []


def test_two_ranks_evaluate_like_one(two_ranks: Path, world: World, tmp_path: Path) -> None:
    alone = play_panel(tiny_trainer(tmp_path / "default", world), world).to_json()
    for rank in (0, 1):
        assert json.loads((two_ranks / "default" / f"panel-{rank}.json").read_text()) == json.loads(
            json.dumps(alone)
        )
    assert len({tuple(outcome["tokens"]) for outcome in alone["outcomes"]}) > 1, "else all episodes are alike"


@pytest.mark.parametrize("name", ["default", "ema"])
def test_a_checkpoint_of_two_ranks_is_continued_by_one(
    name: str, two_ranks: Path, world: World, tmp_path: Path
) -> None:
    setup = SETUPS[name] | {"steps": 4}
    alone = tiny_trainer(tmp_path / "alone", world, **setup)
    alone.train()
    shutil.copytree(two_ranks / name, tmp_path / "moved")
    moved = tiny_trainer(tmp_path / "moved", world, **setup)
    assert moved.train() == 4
    last, expected = read_metrics(moved.run)[-1], read_metrics(alone.run)[-1]
    for metric in ("objective/loss", "optim/grad_norm", "eval/entropy"):
        assert last[metric] == pytest.approx(expected[metric], rel=1e-3)


def written(run: RunDir) -> list[dict[str, Any]]:
    """The texts of a run; they are kept in the order in which they were asked for."""
    return list(read_texts(run.texts_file))


def final(run: RunDir) -> dict[str, torch.Tensor]:
    path = latest(run.checkpoints)
    assert path is not None
    return load_file(path / "model" / "model.safetensors")
