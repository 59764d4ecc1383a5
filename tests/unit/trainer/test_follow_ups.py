"""Published follow-ups: each trains with its own views, and is its base method where it must be."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.runs import tiny_trainer

from sdar.objectives import objectives
from sdar.objectives.base import PolicyGradient
from sdar.objectives.check import measure, random_inputs
from sdar.objectives.grpo import GRPO
from sdar.objectives.ocsd import OCSD
from sdar.objectives.pcsd import PCSD
from sdar.objectives.sdar import SDAR
from sdar.objectives.step_opsd import StepOPSD
from sdar.ops.turns import turn_average
from sdar.runlog import read_metrics
from sdar.trainer.distributed import World


@pytest.mark.parametrize("name", ["pcsd", "step-opsd", "ocsd"])
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
