"""Ratios and clips against numbers worked out by hand."""

import math

import pytest
import torch

from sdar.ops.ratios import importance_ratio, is_clipped, ppo_clip

CLIP = (0.2, 0.3, 3.0)

CASES = [
    # ratio, advantage, loss, slope in the ratio
    (1.0, 2.0, -2.0, -2.0),
    (0.5, 2.0, -1.0, -2.0),  # a good token that became rare is not clipped
    (1.5, 2.0, -2.6, 0.0),  # a good token that is frequent enough is: 1.3 * 2
    (1.0, -2.0, 2.0, 2.0),
    (1.5, -2.0, 3.0, 2.0),  # a bad token that became frequent is not clipped
    (0.5, -2.0, 1.6, 0.0),  # a bad token that is rare enough is: 0.8 * 2
    (4.0, -2.0, 6.0, 0.0),  # dual clip: at most 3 * 2
    (4.0, 0.0, 0.0, 0.0),
]


@pytest.mark.parametrize(("ratio", "adv", "loss", "slope"), CASES)
def test_ppo_clip_by_hand(ratio: float, adv: float, loss: float, slope: float) -> None:
    ratio_T = torch.tensor([ratio], requires_grad=True)
    loss_T = ppo_clip(ratio_T, torch.tensor([adv]), *CLIP)
    (slope_T,) = torch.autograd.grad(loss_T.sum(), ratio_T)
    assert loss_T.item() == pytest.approx(loss)
    assert slope_T.item() == pytest.approx(slope)


@pytest.mark.parametrize(("ratio", "adv", "loss", "slope"), CASES)
def test_is_clipped_is_where_the_slope_is_lost(ratio: float, adv: float, loss: float, slope: float) -> None:
    clipped = is_clipped(torch.tensor([ratio]), torch.tensor([adv]), *CLIP).item()
    assert clipped == (adv != 0 and slope == 0)


def test_importance_ratio_is_cut_and_flat_above_the_cap() -> None:
    logp_T = torch.tensor([math.log(2.0), 50.0], requires_grad=True)
    ratio_T = importance_ratio(logp_T, torch.zeros(2), cap=10.0)
    (slope_T,) = torch.autograd.grad(ratio_T.sum(), logp_T)
    assert ratio_T.tolist() == pytest.approx([2.0, math.exp(10)])
    assert slope_T.tolist() == pytest.approx([2.0, 0.0])
