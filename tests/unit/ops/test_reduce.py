"""Reductions against numbers worked out by hand."""

import pytest
import torch

from sdar.errors import ConfigError
from sdar.ops.reduce import Denominators, masked, reductions, weighted

TOKEN_BT = torch.tensor([[1.0, 3.0, 100.0], [6.0, 100.0, 100.0]])
MASK_BT = torch.tensor([[True, True, False], [True, False, False]])


@pytest.mark.parametrize(
    ("name", "loss"),
    [
        ("token", 10 / 20),  # 1 + 3 + 6 over the 20 tokens of the whole batch
        ("sequence", (2 + 6) / 5),  # means of the rows over 5 sequences
        ("constant-length", 10 / 5 / 8),  # sums over 5 sequences and 8 tokens, however many they have
        ("micro-batch-mean", 10 / 3 / 4),  # mean of this micro-batch over 4 of them
    ],
)
def test_reductions_by_hand(name: str, loss: float) -> None:
    assert reductions[name](TOKEN_BT, MASK_BT, Denominators(20, 5, 4, 8)).item() == pytest.approx(loss)


@pytest.mark.parametrize("name", list(reductions))
def test_nothing_to_reduce_is_zero(name: str) -> None:
    empty_BT = torch.zeros_like(MASK_BT)
    assert reductions[name](TOKEN_BT, empty_BT, Denominators(0, 0, 1)).item() == 0


def test_micro_batch_mean_needs_the_count() -> None:
    with pytest.raises(ConfigError, match="micro_batches"):
        reductions["micro-batch-mean"](TOKEN_BT, MASK_BT, Denominators(20, 5))


def test_unknown_reduction_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'sequence'"):
        reductions["sequences"]


def test_masked_stops_values_and_gradients_even_of_infinities() -> None:
    value_BT = torch.tensor([[1.0, torch.inf]], requires_grad=True)
    kept_BT = masked(value_BT, torch.tensor([[True, False]]))
    kept_BT.sum().backward()
    assert kept_BT.tolist() == [[1.0, 0.0]]
    assert value_BT.grad is not None
    assert value_BT.grad.tolist() == [[1.0, 0.0]]


def test_weighted_is_a_sum_and_a_count_without_gradient() -> None:
    metric = weighted(TOKEN_BT.clone().requires_grad_(), MASK_BT)
    assert (metric.sum.item(), metric.weight.item()) == (10, 3)
    assert not metric.sum.requires_grad
