"""A run that was killed and resumed is the run that was not: metrics and weights are equal bit for bit."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from tests.e2e.worker import SETUPS
from tests.runs import timeless, tiny_trainer

from sdar.rollout.engine import Sampling
from sdar.rollout.stages import Ask
from sdar.rollout.writing import Author, Written
from sdar.runs.checkpoints import latest
from sdar.runs.rundir import RunDir, read_episodes, read_metrics
from sdar.runs.texts import read_texts
from sdar.skills.retrieval import UCB
from sdar.trainer import checkpoint
from sdar.trainer.distributed import World, join
from sdar.trainer.loop import Trainer

ROOT = Path(__file__).parents[2]
Weights = dict[str, torch.Tensor]
Result = tuple[list[dict[str, float]], Weights]
Call = Callable[..., object]


class Crash(Exception):
    """Stands for a power cut."""


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with join() as world:
        yield world


@pytest.fixture(scope="module")
def unbroken(world: World, tmp_path_factory: pytest.TempPathFactory) -> Result:
    trainer = tiny_trainer(tmp_path_factory.mktemp("runs") / "unbroken", world)
    assert trainer.train() == 6
    return timeless(read_metrics(trainer.run)), weights(trainer)


def weights(trainer: Trainer) -> Weights:
    return {name: tensor.clone() for name, tensor in trainer.engine.model.state_dict().items()}


def crash_on_call(
    function: Callable[..., object], number: int, *, after: bool = False
) -> Callable[..., object]:
    """`function`, which raises on its call `number`, counted from 1: before it does anything, or after."""
    calls = 0

    def wrapped(*args: object, **kwargs: object) -> object:
        nonlocal calls
        calls += 1
        if calls == number and not after:
            raise Crash
        result = function(*args, **kwargs)
        if calls == number:
            raise Crash
        return result

    return wrapped


def in_rollout(trainer: Trainer, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(trainer.engine, "step", crash_on_call(trainer.engine.step, 60))


def between_updates(trainer: Trainer, patch: pytest.MonkeyPatch) -> None:
    optimizer = trainer.learner.optimizer
    patch.setattr(optimizer, "step", crash_on_call(optimizer.step, 7, after=True))


def before_the_log(trainer: Trainer, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(trainer.progress, "step", crash_on_call(trainer.progress.step, 5))


def in_the_first_checkpoint(trainer: Trainer, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(checkpoint, "digests", crash_on_call(checkpoint.digests, 1))


def in_a_later_checkpoint(trainer: Trainer, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(checkpoint, "publish", crash_on_call(checkpoint.publish, 2))


def after_a_checkpoint(trainer: Trainer, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(checkpoint, "publish", crash_on_call(checkpoint.publish, 2, after=True))


CRASHES = [
    in_rollout,
    between_updates,
    before_the_log,
    in_the_first_checkpoint,
    in_a_later_checkpoint,
    after_a_checkpoint,
]


@pytest.mark.parametrize("crash", CRASHES)
def test_a_crash_changes_nothing(
    crash: Callable[[Trainer, pytest.MonkeyPatch], None],
    unbroken: Result,
    world: World,
    tmp_path: Path,
) -> None:
    trainer = tiny_trainer(tmp_path / "run", world)
    with pytest.MonkeyPatch.context() as patch:
        crash(trainer, patch)
        with pytest.raises(Crash):
            trainer.train()
    assert len(read_metrics(trainer.run)) < 7

    resumed = tiny_trainer(tmp_path / "run", world)
    assert resumed.train() == 6
    metrics, expected = unbroken
    assert timeless(read_metrics(resumed.run)) == metrics
    assert all(torch.equal(tensor, expected[name]) for name, tensor in weights(resumed).items())
    assert len({step["optim/grad_norm"] for step in metrics[1:]}) == 6, (
        "the run must have moved to show anything"
    )


def test_resuming_twice_and_resuming_a_finished_run(unbroken: Result, world: World, tmp_path: Path) -> None:
    for target in (2, 4, 6, 6):
        trainer = tiny_trainer(tmp_path / "run", world, steps=target)

        assert trainer.train() == target
    assert timeless(read_metrics(trainer.run)) == unbroken[0]


def test_a_rule_that_learns_goes_on_where_it_was(world: World, tmp_path: Path) -> None:
    whole = tiny_trainer(tmp_path / "whole", world, retrieval=UCB())
    whole.train()
    for target in (2, 6):
        halved = tiny_trainer(tmp_path / "halved", world, steps=target, retrieval=UCB())
        halved.train()
    assert whole.skills is not None
    assert halved.skills is not None
    assert whole.skills.returns == halved.skills.returns
    assert whole.skills.returns.kinds.keys() == {"left", "right"}
    assert list(read_episodes(whole.run)) == list(read_episodes(halved.run))


def test_texts_that_the_policy_wrote_are_found_again(world: World, tmp_path: Path) -> None:
    """The power fails after the texts of the fourth step were written and before anything was learned."""
    setup = SETUPS["writes"] | {"steps": 4}
    whole = tiny_trainer(tmp_path / "whole", world, **setup)
    assert whole.train() == 4
    broken = tiny_trainer(tmp_path / "broken", world, **setup)
    broken._score = crash_on_call(broken._score, 4)
    with pytest.raises(Crash):
        broken.train()
    texts = read_texts(whole.run.texts_file)
    assert read_texts(broken.run.texts_file) == texts, "those of the fourth step are kept"
    assert {text["step"] for text in texts} == {1, 2, 3, 4}
    resumed = tiny_trainer(tmp_path / "broken", world, **setup)
    asked = []
    resumed.writing.author = Watched(resumed.writing.author, asked)
    assert resumed.train() == 4
    assert not any(asked), "nothing is written twice"
    assert read_texts(resumed.run.texts_file) == texts
    assert timeless(read_metrics(resumed.run)) == timeless(read_metrics(whole.run))
    assert all(torch.equal(tensor, weights(whole)[name]) for name, tensor in weights(resumed).items())


@dataclass
class Watched:
    """An author who notes down how many texts were asked for."""

    author: Author
    asked: list[int]

    @property
    def name(self) -> str:
        return self.author.name

    def write(self, asks: Sequence[tuple[Ask, int]], sampling: Sampling) -> list[Written]:
        self.asked.append(len(asks))
        return self.author.write(asks, sampling)


def start(directory: Path) -> subprocess.Popen[bytes]:
    paths = [str(ROOT / "src"), str(ROOT), os.environ.get("PYTHONPATH", "")]
    command = [sys.executable, str(ROOT / "tests/e2e/worker.py"), str(directory), "endless"]
    return subprocess.Popen(command, env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)})


def wait_for_step(directory: Path, step: int) -> RunDir:
    run = RunDir(directory / "endless")
    deadline = time.monotonic() + 120
    while len(read_metrics(run)) <= step:
        assert time.monotonic() < deadline, "the run did not get going"
        time.sleep(0.02)
    return run


def test_a_killed_process_is_resumed_exactly(unbroken: Result, world: World, tmp_path: Path) -> None:
    process = start(tmp_path)
    run = wait_for_step(tmp_path, 3)
    process.kill()
    process.wait()
    tiny_trainer(run.path, world).train()
    assert timeless(read_metrics(run))[:7] == unbroken[0]


def test_sigterm_saves_at_the_end_of_the_step(tmp_path: Path) -> None:
    process = start(tmp_path)
    run = wait_for_step(tmp_path, 0)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 0
    path = latest(run.checkpoints)
    steps = [int(step["step"]) for step in read_metrics(run)]
    assert path is not None
    assert checkpoint.step_of(path) == steps[-1]
