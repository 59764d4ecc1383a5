"""Gates: values by hand, bounds, what they look at, and that no gradient passes."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from sdar.errors import ConfigError
from sdar.ops.gates import gate, gates, reads, turn_mean

GAP_BT = torch.tensor([[-1.0, 0.0, 0.2, 0.6]])
BATCH = {
    "entropy_BT": torch.tensor([[0.0, 0.1, 2.0, math.log(2)]]),
    "teacher_entropy_BT": torch.tensor([[2.0, 0.1, 0.0, 0.0]]),
    "turn_BT": torch.tensor([[0, 0, 0, 1]]),
    "taught_BT": torch.ones(1, 4, dtype=torch.bool),
}


def weights(name: str, gap_BT: Tensor = GAP_BT, batch: dict[str, Tensor] = BATCH, **settings: Any) -> Tensor:
    settings = {"beta": 5.0, "top_share": 0.5, "memory": 0.5} | settings
    return gate(name, gap_BT, batch.__getitem__, **settings)


def sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("gap", [sigmoid(-5), 0.5, sigmoid(1), sigmoid(3)]),
        ("constant", [1.0, 1.0, 1.0, 1.0]),
        ("hard", [0.0, 0.0, 1.0, 1.0]),
        ("signed", [2 * sigmoid(-5) - 1, 0.0, 2 * sigmoid(1) - 1, 2 * sigmoid(3) - 1]),
        ("student-entropy", [0.5, sigmoid(0.5), sigmoid(10), sigmoid(5 * math.log(2))]),
        ("teacher-entropy", [sigmoid(-10), sigmoid(-0.5), 0.5, 0.5]),
        # u = 0, 1 - exp(-0.1), 1 - exp(-2) and 1/2
        (
            "soft-or",
            [
                sigmoid(-5),
                sigmoid(5 * (1 - math.exp(-0.1))),
                sigmoid(5 * (1 - 0.8 * math.exp(-2))),
                sigmoid(4),
            ],
        ),
        ("top-q", [0.0, 0.0, 1.0, 1.0]),
        # means (-1), (0 - 0.5) / 1.5, (0.2 + 0 - 0.25) / 1.75, and a new turn
        ("persistence", [sigmoid(-5), sigmoid(-5 / 3), sigmoid(-0.25 / 1.75), sigmoid(3)]),
    ],
)
def test_gates_by_hand(name: str, expected: list[float]) -> None:
    assert weights(name)[0].tolist() == pytest.approx(expected)


@pytest.mark.parametrize("name", list(gates))
def test_gates_are_weights_without_gradient(name: str) -> None:
    gap_BT = torch.linspace(-50, 50, 101)[None].requires_grad_()
    batch = {
        "entropy_BT": torch.linspace(0, 10, 101)[None].requires_grad_(),
        "teacher_entropy_BT": torch.linspace(0, 10, 101)[None],
        "turn_BT": torch.arange(101)[None] // 7,
        "taught_BT": torch.arange(101)[None] < 90,
    }
    weight_BT = weights(name, gap_BT, batch)
    assert not weight_BT.requires_grad
    assert weight_BT.dtype == gap_BT.dtype
    assert weight_BT.shape == gap_BT.shape
    least = -1 if name == "signed" else 0
    assert ((weight_BT >= least) & (weight_BT <= 1)).all()


def test_slope_of_the_gap_gate_is_at_most_a_quarter_of_beta() -> None:
    gap_BT = torch.linspace(-2, 2, 4001, dtype=torch.float64)[None]
    slope_BT = weights("gap", gap_BT).diff() / gap_BT.diff()
    assert slope_BT.max().item() == pytest.approx(5 / 4, rel=1e-5)


@pytest.mark.parametrize("name", sorted(set(gates) - {"constant", "hard", "top-q", "signed"}))
def test_beta_zero_makes_a_smooth_gate_constant(name: str) -> None:
    assert weights(name, beta=0.0).tolist() == [[0.5] * 4]


@pytest.mark.parametrize(
    ("share", "taught", "kept"),
    [
        (0.0, [1, 1, 1, 1], []),
        (0.01, [1, 1, 1, 1], [3]),
        (0.5, [1, 1, 1, 0], [1, 2]),  # two of three, rounded up; the largest has no teacher
        (1.0, [1, 1, 0, 1], [0, 1, 3]),
        (1.0, [0, 0, 0, 0], []),
    ],
)
def test_top_q_counts_taught_tokens(share: float, taught: list[int], kept: list[int]) -> None:
    batch = BATCH | {"taught_BT": torch.tensor([taught], dtype=torch.bool)}
    assert weights("top-q", batch=batch, top_share=share)[0].nonzero().flatten().tolist() == kept


def test_top_q_counts_exactly_where_a_product_of_floats_does_not() -> None:
    gap_BT, batch = torch.zeros(1, 100), {"taught_BT": torch.ones(1, 100, dtype=torch.bool)}
    assert 0.07 * 100 > 7
    assert weights("top-q", gap_BT, batch, top_share=0.07).tolist() == [[1.0] * 7 + [0.0] * 93]


def test_persistence_without_memory_is_the_gap_gate() -> None:
    torch.testing.assert_close(weights("persistence", memory=0.0), weights("gap"))


def test_turn_mean_of_everything_is_the_running_mean() -> None:
    value_BT = torch.randn(2, 700, dtype=torch.float64)
    turn_BT, mask_BT = torch.zeros(2, 700).long(), torch.ones(2, 700).bool()
    expected = value_BT.cumsum(1) / torch.arange(1, 701)
    torch.testing.assert_close(turn_mean(value_BT, 1.0, turn_BT, mask_BT), expected)


def test_soft_or_never_closes_as_the_gap_grows() -> None:
    gap_BT = torch.linspace(-2, 2, 401, dtype=torch.float64)[None]
    for entropy in (0.0, 1.0, 12.0):
        weight_BT = weights("soft-or", gap_BT, {"entropy_BT": torch.full_like(gap_BT, entropy)})
        assert (weight_BT.diff() >= 0).all()


def test_a_rule_says_what_it_reads() -> None:
    assert reads("gap") == ()
    assert reads("teacher-entropy") == ("teacher_entropy_BT",)
    assert reads("persistence") == ("turn_BT", "taught_BT")


def test_unknown_gate_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'hard'"):
        gates["hrad"]
