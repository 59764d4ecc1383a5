"""Published follow-ups: right values, and each is its base method where it must be."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.runs import tiny_trainer

from sdar.objectives import StepInputs, Stream
from sdar.objectives.adrs import ADRS
from sdar.objectives.agent_opsd import AgentOPSD, beliefs
from sdar.objectives.base import PolicyGradient
from sdar.objectives.batches import random_inputs, random_step
from sdar.objectives.bcsd import BCSD
from sdar.objectives.check import measure
from sdar.objectives.grpo import GRPO
from sdar.objectives.grsd import GRSD
from sdar.objectives.icsd import ICSD
from sdar.objectives.ocsd import OCSD
from sdar.objectives.pcsd import PCSD
from sdar.objectives.sdar import SDAR
from sdar.objectives.step_opsd import StepOPSD
from sdar.ops.turns import turn_average
from sdar.rollout.settings import RolloutConfig
from sdar.runs.rundir import read_trajectories
from sdar.trainer.distributed import World
from sdar.types import ContextMode


@pytest.mark.parametrize(
    ("follow_up", "base"),
    [
        (PCSD(coef=0.5, window=1), SDAR(coef=0.5)),
        (ICSD(coef=0.0), GRPO()),
        (StepOPSD(lam=0.0), GRPO()),
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


def gate_of(objective: PCSD, gaps: list[float]) -> list[float]:
    """The gate of a turn whose gaps are these."""
    x = random_inputs(2, rows=1, length=len(gaps))
    gap_BT, one_BT = torch.tensor([gaps], dtype=torch.float64), torch.ones(1, len(gaps), dtype=torch.int64)
    x = replace(x, teacher_BT=x.logp_BT + gap_BT, mask_BT=one_BT.bool(), turn_BT=one_BT)
    return objective.loss(x).streams["gate"][0].tolist()


def test_a_falling_gap_damps_the_gate_and_a_rising_one_does_not() -> None:
    """One nat a token, steadily: with a variance that never counts the score is the gap itself."""
    pcsd = PCSD(beta=1.0, variance=1e12, damping=0.25, scale=1.0, memory=1.0)
    rising, falling = gate_of(pcsd, [0.0, 1.0, 2.0]), gate_of(pcsd, [2.0, 1.0, 0.0])
    plain = [1 / (1 + math.exp(-gap)) for gap in (0.0, 1.0, 2.0)]
    assert rising == pytest.approx(plain, rel=1e-6)
    assert falling == pytest.approx([plain[2], 0.75 * plain[1], 0.75 * plain[0]], rel=1e-6)


def test_an_unsteady_gap_is_read_over_the_long_window() -> None:
    """Variance far above the setting: the gate follows the mean of the window, not the last gap."""
    gates = gate_of(PCSD(beta=1.0, variance=1e-6, damping=0.0, memory=1.0, window=2), [3.0, -1.0])
    assert gates == pytest.approx([1 / (1 + math.exp(-3)), 1 / (1 + math.exp(-1))], rel=1e-3)


def test_only_the_uncertain_step_of_an_episode_is_scaled() -> None:
    """Three steps of NLL 0.05, 0.05 and 3.05: a fifth of three, rounded up, is the third."""
    turn_M = torch.tensor([0, 0, 1, 1, 2, 2])
    old_M = torch.tensor([-0.05, -0.05, -0.05, -0.05, -0.1, -6.0], dtype=torch.float64)
    zero_M = torch.zeros(6, dtype=torch.float64)
    x = StepInputs(
        adv_M=zero_M - 2,
        episode_M=torch.zeros(6, dtype=torch.int64),
        turn_M=turn_M,
        group_E=torch.zeros(1, dtype=torch.int64),
        success_E=torch.tensor([False]),
        skilled_E=torch.tensor([False]),
        reward_EK=torch.zeros(1, 3),
        anchor_EK=torch.tensor([[0, 1, 2]]),
        taught_M=turn_M >= 0,
        streams={Stream.OLD: old_M, Stream.TEACHER: zero_M + 2},
        more_teachers_MV=zero_M[:, None],
        more_taught_MV=(turn_M >= 0)[:, None],
    )
    share = 0.5 * math.tanh(1.0)
    assert OCSD().credit(x).adv_M.tolist() == pytest.approx([-2.0] * 4 + [-2 * (1 - share)] * 2)


def test_conflicts_keep_their_gate_and_the_others_their_mass() -> None:
    x = random_inputs(5)
    assert x.teacher_BT is not None
    gap_BT = x.teacher_BT - x.logp_BT
    weight_BT, conflict_BT = ICSD().weights(gap_BT, x)
    gate_BT = (5.0 * gap_BT).sigmoid()
    torch.testing.assert_close(weight_BT[conflict_BT], gate_BT[conflict_BT])
    assert conflict_BT.any()
    free_BT = x.mask_BT & ~conflict_BT
    torch.testing.assert_close(
        turn_average(weight_BT, x.turn_BT, free_BT)[free_BT],
        turn_average(gate_BT, x.turn_BT, free_BT)[free_BT],
    )
    assert not torch.allclose(weight_BT[free_BT], gate_BT[free_BT])


def test_both_views_of_the_skills_scale_an_advantage_that_keeps_its_sign() -> None:
    """By hand, for an advantage of -2: gaps of 1 and -3, and a token that lacks the pruned teacher."""
    x = two_turns([1.0, 1.0], -2.0, [False, True])
    x = replace(
        x,
        more_teachers_MV=x.streams[Stream.OLD][:, None] - 3,
        more_taught_MV=torch.tensor([[True], [False]]),
        step=50,
        steps=100,
    )
    both, alone = BCSD().credit(x).adv_M.tolist()
    assert both == pytest.approx(-2 * (1 - 0.05 * math.tanh((0.9 - 0.3) / 2)))
    assert alone == pytest.approx(-2 * (1 - 0.05 * math.tanh(0.9 / 2)))
    other = BCSD(pruned="loss", form="clip", lam=1.0).credit(x).adv_M.tolist()  # type: ignore[arg-type]
    assert other == pytest.approx([0.0, -2 * (1 - 0.9)])
    assert torch.equal(BCSD().credit(replace(x, step=100)).adv_M, x.adv_M)


def test_guidance_counts_only_in_groups_with_both_outcomes() -> None:
    x = random_step(0)
    changed_M = GRSD().credit(x).adv_M != x.adv_M
    group_M = x.group_E[x.episode_M]
    assert changed_M[group_M == 0].any()
    assert not changed_M[group_M == 1].any(), "no episode of the second group succeeded"
    share_M = GRSD().credit(x).adv_M / x.adv_M
    assert share_M.min() >= 0.9 - 1e-9
    assert share_M.max() <= 1.1 + 1e-9


def test_the_bonus_is_off_outside_its_steps() -> None:
    x = random_step(0)
    assert torch.equal(ADRS().credit(replace(x, step=19)).adv_M, x.adv_M)
    assert torch.equal(ADRS().credit(replace(x, step=70)).adv_M, x.adv_M)
    bonus_M = ADRS().credit(replace(x, step=20)).adv_M - x.adv_M
    assert 0 < bonus_M.abs().max() <= 0.2
    assert not bonus_M[~x.taught_M].any()


def test_returns_count_what_is_still_to_come() -> None:
    x = two_turns([0.0, 0.0], 1.0, [False, True])
    x = replace(x, reward_EK=torch.tensor([[1.0, 10.0], [0.0, 0.0]]))
    assert x.returns(0.5).tolist() == [[6.0, 10.0], [0.0, 0.0]]


def two_turns(gaps: list[float], adv: float, success: list[bool]) -> StepInputs:
    """An episode of two turns of one token each, in a group with others that took no turn."""
    anchor_EK = torch.full((len(success), 2), -1)
    anchor_EK[0] = torch.tensor([0, 1])
    one = torch.zeros(2, dtype=torch.int64)
    return StepInputs(
        adv_M=torch.full((2,), adv),
        episode_M=one,
        turn_M=torch.tensor([0, 1]),
        group_E=torch.zeros(len(success), dtype=torch.int64),
        success_E=torch.tensor(success),
        skilled_E=torch.zeros(len(success), dtype=torch.bool),
        reward_EK=torch.zeros(len(success), 2),
        anchor_EK=anchor_EK,
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
    for off in (AgentOPSD(lam=0.0), OCSD(top_share=0.0), OCSD(strength=0.0), GRSD(lam=0.0), ADRS(eta=0.0)):
        assert torch.equal(off.credit(x).adv_M, x.adv_M)
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
