"""Muon against its definition by singular values, and against torch's, which rounds to bfloat16."""

import pytest
import torch

from sdar.trainer.muon import COEFFICIENTS, Muon, orthogonal

SHAPES = ((24, 8), (8, 24), (16, 16))


def matrices(seed: int, shapes: tuple[tuple[int, int], ...] = SHAPES) -> list[torch.Tensor]:
    dice = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=dice, dtype=torch.float64) for shape in shapes]


@pytest.mark.parametrize("shape", SHAPES)
def test_the_iteration_is_its_quintic_on_each_singular_value(shape: tuple[int, int]) -> None:
    (matrix,) = matrices(0, (shape,))
    u, values, v = torch.linalg.svd(matrix, full_matrices=False)
    a, b, c = COEFFICIENTS
    values = values / values.norm()
    for _ in range(5):
        values = a * values + b * values**3 + c * values**5
    torch.testing.assert_close(orthogonal(matrix), u @ torch.diag(values) @ v)
    assert 0.6 < values.min() < values.max() < 1.3


def test_a_step_is_that_of_nesterovs_momentum_with_the_size_of_adamws() -> None:
    (start,), (first,), (second,) = (matrices(seed, SHAPES[:1]) for seed in range(3))
    weight = torch.nn.Parameter(start.clone())
    optimizer = Muon([weight], lr=0.1, momentum=0.9)
    for gradient in (first, second):
        weight.grad = gradient.clone()
        optimizer.step()
    updates = (
        first + 0.9 * (0.1 * first - first),
        second + 0.9 * (0.9 * 0.1 * first + 0.1 * second - second),
    )
    size = 0.1 * 0.2 * 24**0.5
    expected = start - size * (orthogonal(updates[0]) + orthogonal(updates[1]))
    torch.testing.assert_close(weight.detach(), expected)


def test_torchs_differs_by_its_rounding_only() -> None:
    def trained(optimizer: type[torch.optim.Optimizer], **how: object) -> list[torch.Tensor]:
        weights = [torch.nn.Parameter(matrix.float()) for matrix in matrices(0)]
        made = optimizer(weights, lr=0.1, momentum=0.95, **how)
        for step in range(3):
            for weight, gradient in zip(weights, matrices(1 + step), strict=True):
                weight.grad = gradient.float()
            made.step()
        return [(weight - start).detach() for weight, start in zip(weights, matrices(0), strict=True)]

    ours = trained(Muon)
    theirs = trained(torch.optim.Muon, weight_decay=0.0, adjust_lr_fn="match_rms_adamw")
    for own, other in zip(ours, theirs, strict=True):
        assert 0 < (own - other).norm() / own.norm() < 0.04


def test_what_has_no_gradient_stays() -> None:
    weight = torch.nn.Parameter(torch.ones(3, 2))
    Muon([weight], lr=0.1).step()
    assert weight.tolist() == torch.ones(3, 2).tolist()
