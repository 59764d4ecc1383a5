"""Gates: values by hand, bounds, and that no gradient passes."""

import math

import pytest
import torch

from sdar.errors import ConfigError
from sdar.ops.gates import gate, gates

GAP_BT = torch.tensor([[-1.0, 0.0, 0.2]])
ENTROPY_BT = torch.tensor([[0.0, 0.1, 2.0]])


def sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z))


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("gap", [sigmoid(-5), 0.5, sigmoid(1)]),
        ("constant", [1.0, 1.0, 1.0]),
        ("hard", [0.0, 0.0, 1.0]),
        ("student-entropy", [0.5, sigmoid(0.5), sigmoid(10)]),
    ],
)
def test_gates_by_hand(name: str, weights: list[float]) -> None:
    streams = [ENTROPY_BT] if gates[name].streams else []
    assert gate(name, 5.0, GAP_BT, streams)[0].tolist() == pytest.approx(weights)


@pytest.mark.parametrize("name", list(gates))
def test_gates_are_weights_without_gradient(name: str) -> None:
    gap_BT = torch.linspace(-50, 50, 101)[None].requires_grad_()
    entropy_BT = torch.linspace(0, 10, 101)[None].requires_grad_()
    weight_BT = gate(name, 5.0, gap_BT, [entropy_BT for _ in gates[name].streams])
    assert not weight_BT.requires_grad
    assert weight_BT.dtype == gap_BT.dtype
    assert ((weight_BT >= 0) & (weight_BT <= 1)).all()


def test_slope_of_the_gap_gate_is_at_most_a_quarter_of_beta() -> None:
    gap_BT = torch.linspace(-2, 2, 4001, dtype=torch.float64)[None]
    slope_BT = gate("gap", 5.0, gap_BT).diff() / gap_BT.diff()
    assert slope_BT.max().item() == pytest.approx(5 / 4, rel=1e-5)


def test_beta_zero_makes_the_gap_gate_constant() -> None:
    assert gate("gap", 0.0, GAP_BT).tolist() == [[0.5, 0.5, 0.5]]


def test_unknown_gate_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'hard'"):
        gates["hrad"]
