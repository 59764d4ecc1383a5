"""Estimators against exact expectations over a small vocabulary."""

import pytest
import torch
from torch import Tensor

from sdar.ops.divergences import k3, likelihood, reverse_kl
from sdar.ops.ratios import importance_ratio

LOGITS = torch.tensor([0.3, -0.4, 1.1, 0.0], dtype=torch.float64)
OTHER = torch.log_softmax(torch.tensor([-0.2, 0.9, 0.1, 0.5], dtype=torch.float64), 0)
OLD = torch.log_softmax(torch.tensor([0.8, 0.1, -0.6, 0.2], dtype=torch.float64), 0)


def exact_kl(logp: Tensor) -> Tensor:
    return (logp.exp() * (logp - OTHER)).sum()


def expectation(token_V: Tensor, sampled_from: Tensor) -> Tensor:
    """Mean over what would be sampled; the sampling probabilities are data."""
    return (sampled_from.detach().exp() * token_V).sum()


def gradient(value: Tensor, logits: Tensor) -> Tensor:
    return torch.autograd.grad(value, logits, retain_graph=True)[0]


def live() -> tuple[Tensor, Tensor]:
    logits = LOGITS.clone().requires_grad_()
    return logits, torch.log_softmax(logits, 0)


def test_k3_is_an_unbiased_estimate_of_the_kl() -> None:
    _, logp = live()
    assert expectation(k3(logp, OTHER), logp).item() == pytest.approx(exact_kl(logp).item())
    assert (k3(logp, OTHER) >= 0).all()


def test_reverse_kl_has_the_gradient_of_the_kl() -> None:
    logits, logp = live()
    estimate = gradient(expectation(reverse_kl(logp, OTHER), logp), logits)
    torch.testing.assert_close(estimate, gradient(exact_kl(logp), logits))


def test_k3_with_a_live_ratio_has_value_and_gradient_of_the_kl_off_policy() -> None:
    logits, logp = live()
    estimate = expectation(importance_ratio(logp, OLD) * k3(logp, OTHER), OLD)
    assert estimate.item() == pytest.approx(exact_kl(logp).item())
    torch.testing.assert_close(gradient(estimate, logits), gradient(exact_kl(logp), logits))


def test_an_ungated_likelihood_teaches_nothing_on_policy() -> None:
    logits, logp = live()
    estimate = gradient(expectation(likelihood(logp, OTHER), logp), logits)
    torch.testing.assert_close(estimate, torch.zeros_like(estimate))


def test_k3_stays_finite_far_away() -> None:
    logp = torch.tensor([-200.0, 0.0], requires_grad=True)
    value = k3(logp, torch.tensor([0.0, -200.0]))
    (slope,) = torch.autograd.grad(value.sum(), logp)
    assert value.isfinite().all()
    assert slope.tolist() == [1.0, 1.0]
