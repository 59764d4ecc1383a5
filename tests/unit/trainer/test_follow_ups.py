"""Published follow-ups: each trains with its own views, and is its base method where it must be."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.runs import tiny_trainer

from sdar.objectives import StepInputs, Stream, objectives
from sdar.objectives.agent_opsd import AgentOPSD, beliefs
from sdar.objectives.base import PolicyGradient
from sdar.objectives.batches import random_inputs, random_step
from sdar.objectives.check import measure
from sdar.objectives.grpo import GRPO
from sdar.objectives.ocsd import OCSD
from sdar.objectives.pcsd import PCSD
from sdar.objectives.sdar import SDAR
from sdar.objectives.step_opsd import StepOPSD
from sdar.ops.turns import turn_average
from sdar.rollout.settings import RolloutConfig
from sdar.runs.rundir import read_metrics, read_trajectories
from sdar.trainer.distributed import World
from sdar.types import ContextMode


@pytest.mark.parametrize("name", ["pcsd", "step-opsd", "ocsd", "agent-opsd"])
def test_it_trains(name: str, world: World, tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path / name, world, steps=2, objective=objectives[name]())
    assert trainer.train() == 2
    metrics = read_metrics(trainer.run)[-1]
    assert metrics["optim/skipped"] == 0
    assert f"{name.replace('-', '_')}/{'gate' if name == 'pcsd' else 'weight'}_mean" in metrics


@pytest.mark.parametrize(
    ("follow_up", "base"),
    [
        (PCSD(coef=0.5, persistence=0.0, trend=0.0), SDAR(coef=0.5)),
        (StepOPSD(lam=0.0), GRPO()),
        (OCSD(top_share=0.0), GRPO()),
    ],
)
def test_without_its_idea_it_is_its_base(follow_up: PolicyGradient, base: PolicyGradient) -> None:
    x = random_inputs(0, dropped=True)
    for mine, its in zip(measure(follow_up, x), measure(base, x), strict=True):
        torch.testing.assert_close(mine, its)


def test_a_step_keeps_its_budget() -> None:
    x = random_inputs(1)
    weight_BT = StepOPSD(lam=1.0, alpha=0.9).loss(x).streams["weight"]
    mean_BT = turn_average(weight_BT, x.turn_BT, x.mask_BT)[x.mask_BT]
    torch.testing.assert_close(mean_BT, torch.ones_like(mean_BT))
    assert (weight_BT[x.mask_BT] - 1).abs().max() > 0.1


def test_persistence_opens_the_gate_of_a_token_that_the_teacher_alone_would_shut() -> None:
    x = random_inputs(2)
    gap_BT = torch.ones_like(x.logp_BT)
    gap_BT[:, 2] = -0.1
    x = replace(x, teacher_BT=x.logp_BT + gap_BT, mask_BT=torch.ones_like(x.mask_BT))
    assert (SDAR().loss(x).streams["gate"][:, 2] < 0.5).all()
    assert (PCSD().loss(x).streams["gate"][:, 2] > 0.5).all()


def test_only_the_unlikely_tokens_are_scaled() -> None:
    x = random_inputs(3)
    assert x.more_teacher_masks_BTV is not None
    x = replace(x, more_teacher_masks_BTV=torch.ones_like(x.more_teacher_masks_BTV))
    scaled_BT = (OCSD(top_share=0.5).loss(x).streams["weight"] != 1) & x.mask_BT
    assert x.old_BT is not None
    for old_T, scaled_T, mask_T in zip(x.old_BT, scaled_BT, x.mask_BT, strict=True):
        kept_T = mask_T & ~scaled_T
        if scaled_T.any() and kept_T.any():
            assert old_T[scaled_T].max() <= old_T[kept_T].min()
    assert scaled_BT.any()


def two_turns(gaps: list[float], adv: float, success: list[bool]) -> StepInputs:
    """An episode of two turns of one token each, in a group with others that took no turn."""
    one = torch.zeros(2, dtype=torch.int64)
    return StepInputs(
        adv_M=torch.full((2,), adv),
        episode_M=one,
        turn_M=torch.tensor([0, 1]),
        group_E=torch.zeros(len(success), dtype=torch.int64),
        success_E=torch.tensor(success),
        taught_M=torch.ones(2, dtype=torch.bool),
        streams={Stream.OLD: torch.zeros(2), Stream.TEACHER: torch.tensor(gaps)},
    )


@pytest.mark.parametrize(
    ("gaps", "adv", "expected"),
    [
        ([2.0, 0.0], 1.0, [1.1, 0.9]),
        ([2.0, 0.0], -1.0, [-0.9, -1.1]),
        ([0.0, -2.0], 1.0, [1.1, 0.9]),
        ([0.0, 0.0], 1.0, [1.0, 1.0]),
    ],
)
def test_the_turn_that_moves_the_belief_takes_the_credit(
    gaps: list[float], adv: float, expected: list[float]
) -> None:
    x = two_turns(gaps, adv, [True, False])
    torch.testing.assert_close(AgentOPSD().credit(x).adv_M, torch.tensor(expected), rtol=0, atol=1e-4)


def test_beliefs_by_hand() -> None:
    """From one half, evidence log 3 makes 3/4; half of it is left when log 3 comes again."""
    evidence_EK = torch.tensor([[3.0, 3.0]], dtype=torch.float64).log()
    belief_EK = beliefs(evidence_EK, torch.tensor([0.5], dtype=torch.float64), 0.5)
    third = 3**1.5 / (1 + 3**1.5)
    torch.testing.assert_close(belief_EK, torch.tensor([[0.5, 0.75, third]], dtype=torch.float64))


def test_the_belief_starts_from_the_groups_success() -> None:
    assert AgentOPSD().prior(two_turns([0.0, 0.0], 1.0, [True, False, False, False])).tolist() == [0.25] * 4
    assert AgentOPSD(margin=0.1).prior(two_turns([0.0, 0.0], 1.0, [False])).tolist() == pytest.approx([0.1])


def test_without_its_share_credit_changes_nothing() -> None:
    x = random_step(0)
    assert torch.equal(AgentOPSD(lam=0.0).credit(x).adv_M, x.adv_M)
    assert not torch.allclose(AgentOPSD().credit(x).adv_M, x.adv_M)


@pytest.mark.parametrize("context", ContextMode)
def test_credit_reaches_across_turns_in_both_modes(
    context: ContextMode, world: World, tmp_path: Path
) -> None:
    """Turns of one episode get different advantages, though in window mode each is a sample of its own."""
    rollout = RolloutConfig(tasks_per_step=4, group_size=4, max_tokens=6, context=context)
    trainer = tiny_trainer(
        tmp_path / "run", world, steps=2, objective=AgentOPSD(lam=1.0), rollout=rollout, record=16
    )
    assert trainer.train() == 2
    episodes = [episode for step in (1, 2) for episode in read_trajectories(trainer.run, step)]
    advantages = [[set(turn["adv"]) for turn in episode["turns"]] for episode in episodes]
    assert all(len(turn) == 1 for turns in advantages for turn in turns)
    assert max(len(set.union(*turns)) for turns in advantages) > 1
