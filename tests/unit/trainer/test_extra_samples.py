"""Samples beside those of the episodes: where they come from, what they read, and what they move."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.runs import tiny_trainer

from sdar.errors import ConfigError
from sdar.objectives.batches import random_inputs, with_extras
from sdar.objectives.check import measure
from sdar.objectives.grpo import GRPO
from sdar.objectives.ucob import UCOB
from sdar.rollout.settings import RolloutConfig
from sdar.rollout.stages import Tools, stages
from sdar.runs.rundir import read_metrics
from sdar.trainer.distributed import World
from sdar.trainer.loop import Trainer
from sdar.types import ContextMode, Extra, Group, Place, Trajectory


def ucob(tmp_path: Path, world: World, context: ContextMode) -> Trainer:
    rollout = RolloutConfig(tasks_per_step=4, group_size=4, max_tokens=6, context=context)
    return tiny_trainer(tmp_path / "run", world, steps=2, objective=UCOB(), rollout=rollout)


@pytest.mark.parametrize("context", ContextMode)
def test_the_best_answer_is_put_where_another_stood(
    context: ContextMode, world: World, tmp_path: Path
) -> None:
    trainer = ucob(tmp_path, world, context)
    played = trainer._collect(1)[0]
    shown = [[trajectory.skilled for trajectory in group.trajectories] for group in played]
    assert shown == [[False, True, False, True]] * 4, "half of each group sees skills"
    groups = stages["swap-skills"](played, Tools(bank=trainer.skills, settings=vars(UCOB())))
    extras = [extra for group in groups for extra in group.extras]
    assert extras
    samples = trainer._assemble(groups)[0].samples[-len(extras) :]
    for extra, sample in zip(extras, samples, strict=True):
        best, other = extra.teacher, extra.at
        assert best is not None
        turns = best.trajectory.turns[best.turn], other.trajectory.turns[other.turn]
        assert turns[0].observation == turns[1].observation
        assert extra.weight > 0
        assert bool(extra.at.note) != best.trajectory.skilled, "the other branch's prompt"
        assert sample.body == turns[0].completion.tokens
        assert sample.extra
        assert sample.adv is None
        if best.turn == 0 or context is ContextMode.WINDOW:
            assert sample.teacher_prompt == turns[0].prompt, "the teacher reads what the player read"
        if not extra.at.note and not other.trajectory.skilled:
            assert sample.prompt[-len(turns[1].prompt) :] == turns[1].prompt


def test_only_valid_answers_are_compared_and_only_so_many_kept(world: World, tmp_path: Path) -> None:
    trainer = ucob(tmp_path, world, ContextMode.WINDOW)
    played = trainer._collect(1)[0]

    def count(groups: Sequence[Group], **settings: int) -> int:
        tools = Tools(bank=trainer.skills, settings=vars(UCOB(**settings)))
        return sum(len(group.extras) for group in stages["swap-skills"](groups, tools))

    def invalid(episode: Trajectory) -> Trajectory:
        return replace(episode, turns=tuple(replace(turn, valid=False) for turn in episode.turns))

    assert 0 < count(played, kept=1) < count(played) < count(played, kept=4)
    assert count([replace(g, trajectories=[invalid(e) for e in g.trajectories]) for g in played]) == 0


def test_extra_samples_change_no_gradient_of_the_policy_term() -> None:
    x = with_extras(random_inputs(3))
    own = replace(x.own, extra_mask_BT=None)
    found = measure(UCOB(coef=0.0, entropy_coef=0.001), x)
    for mine, its in zip(found, measure(GRPO(), own), strict=True):
        torch.testing.assert_close(mine, its)
    assert not torch.allclose(measure(UCOB(), x).loss, measure(UCOB(coef=0.0), x).loss)


def test_a_margin_below_the_least_teaches_nothing() -> None:
    x = with_extras(random_inputs(3))
    assert x.weight_BT is not None
    small = replace(x, weight_BT=x.weight_BT.clamp(max=0.05))
    assert torch.equal(measure(UCOB(), small).loss, measure(UCOB(coef=0.0), small).loss)
    weight_BT = UCOB(beta=0.0, action_weight=1.0).weights(x.extra)
    assert weight_BT[3][x.mask_BT[3]].tolist() == pytest.approx([0.5 * 2.0] * int(x.mask_BT[3].sum()))


def test_extra_samples_are_counted_and_kept_out_of_the_records(world: World, tmp_path: Path) -> None:
    trainer = ucob(tmp_path, world, ContextMode.WINDOW)
    assert trainer.train() == 2
    line = read_metrics(trainer.run)[-1]
    assert line["extra/samples"] > 0
    assert line["ucob/weight_mean"] > 0
    assert line["mismatch/max"] < 1e-3, "what was never drawn from the engine is not compared with it"
    assert {"rollout/success_skilled", "rollout/success_plain"} <= line.keys()


def test_an_objective_that_knows_no_extra_samples_gets_none(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def again(groups: Sequence[Group], tools: Tools) -> list[Group]:
        """Each first answer once more."""
        first = [group.trajectories[0] for group in groups]
        more = [Extra(Place(episode, 0), episode.turns[0].completion) for episode in first]
        return [replace(group, extras=[extra]) for group, extra in zip(groups, more, strict=True)]

    monkeypatch.setitem(stages._table, "again", again)
    trainer = tiny_trainer(tmp_path / "run", world, steps=1, objective=GRPO(), stages=("again",))
    with pytest.raises(ConfigError, match="the objective learns from episodes alone"):
        trainer.step(1)
