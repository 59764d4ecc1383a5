"""Divergences against exact expectations over a small vocabulary, and what the bucket does to them."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from sdar.ops.divergences import divergences, k2, k3, likelihood, sampled_reverse_kl
from sdar.ops.ratios import importance_ratio

LOGITS = torch.tensor([0.3, -0.4, 1.1, 0.0], dtype=torch.float64)
OTHER = torch.log_softmax(torch.tensor([-0.2, 0.9, 0.1, 0.5], dtype=torch.float64), 0)
OLD = torch.log_softmax(torch.tensor([0.8, 0.1, -0.6, 0.2], dtype=torch.float64), 0)

P, Q = LOGITS.softmax(0).numpy(), OTHER.exp().numpy()
M = (P + Q) / 2
EXACT = {
    "reverse-kl": float((P * np.log(P / Q)).sum()),
    "forward-kl": float((Q * np.log(Q / P)).sum()),
    "jensen-shannon": float((P * np.log(P / M) + Q * np.log(Q / M)).sum()) / 2,
}
SLOPES = {
    # d/dz of sum_v f_v is p * (f' - mean of f' under p), f' the derivative in log p
    "reverse-kl": P * (np.log(P / Q) - EXACT["reverse-kl"]),
    "forward-kl": P - Q,
    "jensen-shannon": P * (np.log(P / M) - (P * np.log(P / M)).sum()) / 2,
}


def expectation(token_V: Tensor, sampled_from: Tensor) -> Tensor:
    """Mean over what would be sampled; the sampling probabilities are data."""
    return (sampled_from.detach().exp() * token_V).sum()


def gradient(value: Tensor, logits: Tensor) -> Tensor:
    return torch.autograd.grad(value, logits, retain_graph=True)[0]


def live() -> tuple[Tensor, Tensor]:
    logits = LOGITS.clone().requires_grad_()
    return logits, torch.log_softmax(logits, 0)


def bucketed(logps: Tensor, kept: int) -> Tensor:
    return torch.cat([logps[:kept], logps[kept:].logsumexp(0, keepdim=True)])


@pytest.mark.parametrize("name", list(EXACT))
def test_distributions_have_value_and_gradient_of_the_divergence(name: str) -> None:
    logits, logp = live()
    value = divergences[name].distance(logp, OTHER)
    assert value.item() == pytest.approx(EXACT[name])
    np.testing.assert_allclose(gradient(value, logits).numpy(), SLOPES[name])


@pytest.mark.parametrize("name", list(EXACT))
def test_a_bucket_only_takes_away(name: str) -> None:
    _, logp = live()
    values = [divergences[name].distance(bucketed(logp, k), bucketed(OTHER, k)).item() for k in (0, 1, 2, 3)]
    assert values[0] == pytest.approx(0, abs=1e-12)
    assert values == sorted(values)
    assert values[3] == pytest.approx(EXACT[name]), "a bucket of one token loses nothing"


def test_jensen_shannon_is_bounded_and_finite_between_strangers() -> None:
    student = torch.tensor([0.0, -200.0], requires_grad=True)
    value = divergences["jensen-shannon"].distance(student, torch.tensor([-200.0, 0.0]))
    assert value.item() == pytest.approx(math.log(2))
    assert gradient(value, student).isfinite().all()


def test_k3_is_an_unbiased_estimate_of_the_kl() -> None:
    _, logp = live()
    assert expectation(k3(logp, OTHER), logp).item() == pytest.approx(EXACT["reverse-kl"])
    assert (k3(logp, OTHER) >= 0).all()


@pytest.mark.parametrize(
    ("estimate", "name"),
    [(sampled_reverse_kl, "reverse-kl"), (k2, "reverse-kl"), (k3, "forward-kl")],
)
def test_whose_gradient_a_sampled_loss_has(estimate, name: str) -> None:
    logits, logp = live()
    slope = gradient(expectation(estimate(logp, OTHER), logp), logits)
    np.testing.assert_allclose(slope.numpy(), SLOPES[name], atol=1e-12)


def test_k2_by_hand() -> None:
    assert k2(torch.tensor(-1.0), torch.tensor(-0.8)).item() == pytest.approx(0.02)


def test_k3_with_a_live_ratio_has_value_and_gradient_of_the_kl_off_policy() -> None:
    logits, logp = live()
    estimate = expectation(importance_ratio(logp, OLD) * k3(logp, OTHER), OLD)
    assert estimate.item() == pytest.approx(EXACT["reverse-kl"])
    np.testing.assert_allclose(gradient(estimate, logits).numpy(), SLOPES["reverse-kl"])


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
