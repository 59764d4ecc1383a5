"""A policy that is destroyed stops the run with the cause, and its good checkpoints stay."""

import math
from pathlib import Path

import pytest
import torch
from tests.runs import tiny_trainer

from sdar.errors import DivergedError
from sdar.runs.checkpoints import complete
from sdar.runs.rundir import read_metrics
from sdar.trainer import loop
from sdar.trainer.distributed import World
from sdar.trainer.loop import Trainer
from sdar.trainer.settings import CheckpointConfig, OptimConfig


def make(path: Path, world: World, lr: float = 1e-3, **settings) -> Trainer:
    optim = OptimConfig(lr=lr, micro_tokens=200)
    return tiny_trainer(path, world, optim=optim, checkpoint=CheckpointConfig(every=1, keep=1), **settings)


def names(trainer: Trainer) -> list[str]:
    return [path.name for path in complete(trainer.run.checkpoints)]


@pytest.mark.parametrize(
    ("part", "why"),
    [
        ("reward", r"the advantages, which come from the rewards, are not finite in task 'train/"),
        ("loss", r"the loss is nan"),
        ("gradient", r"the gradient's norm is nan, with a loss of"),
    ],
)
def test_the_cause_is_named_and_the_last_good_checkpoint_stays(
    part: str, why: str, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make(tmp_path / "run", world)
    learner = trainer.learner
    if part == "reward":
        real = loop.advantages
        calls = iter([False, False, *[True] * 9])

        def broken(groups, config):  # type: ignore[no-untyped-def]
            found = real(groups, config)
            return [[math.nan] * len(found[0]), *found[1:]] if next(calls) else found

        monkeypatch.setattr(loop, "advantages", broken)
    else:
        accumulate, calls = type(learner)._accumulate, iter([False, False, *[True] * 9])

        def poisoned(self, *args):  # type: ignore[no-untyped-def]
            tally, loss = accumulate(self, *args)
            if next(calls):
                if part == "loss":
                    return tally, math.nan
                next(self.policy.parameters()).grad.mul_(math.nan)
            return tally, loss

        monkeypatch.setattr(type(learner), "_accumulate", poisoned)
    with pytest.raises(DivergedError, match=rf"no update of steps 3 to 5 was usable, since {why}") as found:
        trainer.train()
    good = trainer.run.checkpoints / "step-000002"
    assert f"start from the last good checkpoint: --model.path {good / 'model'}" in str(found.value)
    assert "lower --optim.lr" in str(found.value)
    assert "\n" not in str(found.value)
    assert "step-000002" in names(trainer)
    assert [message.partition(":")[0] for message in trainer.progress.messages] == [
        "step 3 changed nothing",
        "step 4 changed nothing",
    ]
    assert [line["optim/skipped"] for line in read_metrics(trainer.run)[1:]] == [0, 0, 1, 1]


def test_weights_that_score_nothing_are_not_called_good(world: World, tmp_path: Path) -> None:
    trainer = make(tmp_path / "run", world, max_skipped=2, steps=9)
    train = trainer.step

    def step(number: int) -> dict[str, float]:
        metrics = train(number)
        if number == 3:
            with torch.no_grad():
                for parameter in trainer.learner.policy.parameters():
                    parameter.mul_(math.inf)
        return metrics

    trainer.step = step  # type: ignore[method-assign]
    with pytest.raises(DivergedError) as found:
        trainer.train()
    assert "the policy's log-probs are not finite in task" in str(found.value)
    assert "step-000002" in str(found.value)
    assert names(trainer) == ["step-000002", "step-000003"]


def test_a_single_bad_step_is_said_and_forgiven(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make(tmp_path / "run", world)
    accumulate, calls = type(trainer.learner)._accumulate, iter([False, True, *[False] * 9])
    monkeypatch.setattr(
        type(trainer.learner),
        "_accumulate",
        lambda self, *args: (accumulate(self, *args)[0], math.nan if next(calls) else 0.1),
    )
    assert trainer.train() == 6
    assert trainer.progress.messages == ["step 2 changed nothing: the loss is nan"]
    assert names(trainer) == ["step-000006"]
