"""Muon: updates for matrices whose singular values are all about 1. Pure torch."""

from collections.abc import Iterable

import torch

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5
"""Of the quintic that brings every singular value near 1, and how often (Jordan 2024)."""


class Muon(torch.optim.Optimizer):
    """Momentum with Nesterov's step, made orthogonal, of the size that AdamW's updates have.

    As `torch.optim.Muon` with `adjust_lr_fn="match_rms_adamw"` and no weight decay, but computed in the
    parameters' own type: torch rounds to bfloat16, and processors without instructions for it took a third or
    more of the whole warm start for that.

    Source: Jordan 2024, "Muon: an optimizer for hidden layers in neural networks"; the size of the update:
    arXiv 2502.16982, equation 4.
    """

    def __init__(self, matrices: Iterable[torch.nn.Parameter], lr: float, momentum: float = 0.95) -> None:
        super().__init__(matrices, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # no optimizer here is given one
        """Update every matrix that has a gradient."""
        for group in self.param_groups:
            momentum = group["momentum"]
            for matrix in group["params"]:
                if matrix.grad is None:
                    continue
                state = self.state[matrix]
                if not state:
                    state["mean"] = torch.zeros_like(matrix)
                mean = state["mean"]
                mean.lerp_(matrix.grad, 1 - momentum)
                update = orthogonal(matrix.grad.lerp(mean, momentum))
                matrix.add_(update, alpha=-0.2 * max(matrix.shape) ** 0.5 * group["lr"])


def orthogonal(matrix: torch.Tensor) -> torch.Tensor:
    """The nearest matrix, about, whose singular values are 1: those that are not tiny come to 0.68 to 1.2."""
    a, b, c = COEFFICIENTS
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    wide = wide / wide.norm().clamp(min=1e-7)
    for _ in range(ITERATIONS):
        gram = wide @ wide.T
        wide = torch.addmm(wide, torch.addmm(gram, gram, gram, beta=b, alpha=c), wide, beta=a)
    return wide if wide.shape == matrix.shape else wide.T
