"""How far the student is from another policy, token by token.

*Sampled* ones look at the sampled token alone: with y drawn from the student, logp = log pi(y) (live) and
other = log q(y) (no gradient). `k2` and `k3` estimate KL(pi || q), `k3` without bias; the values of
`likelihood` and `sampled_reverse_kl` are not divergences: only their gradients are meant.

*Distribution* ones look at the last axis of log-probabilities that sum to one: the whole vocabulary, or the
teacher's likeliest tokens and a bucket for all others. With the bucket they are at most the true divergence
(data processing), and their gradients are exact for the bucketed distributions.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from sdar.ops.ratios import MAX_LOG_RATIO
from sdar.settings.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor

Distance: TypeAlias = "Callable[[Tensor, Tensor], Tensor]"
"""(student, teacher) -> loss per token; log-probs of the sampled tokens, or (..., K) distributions."""


@dataclass(frozen=True)
class Divergence:
    """A distance, and whether it compares distributions or sampled tokens."""

    distance: Distance
    distribution: bool


divergences: Registry[Divergence] = Registry("divergence")


def register(name: str, *, distribution: bool = False) -> Callable[[Distance], Distance]:
    """Decorator that files a distance under `name`."""

    def add(distance: Distance) -> Distance:
        divergences.register(name)(Divergence(distance, distribution))
        return distance

    return add


@register("likelihood")
def likelihood(logp: Tensor, other: Tensor) -> Tensor:
    """Other - logp. Its gradient, -grad logp, does not depend on `other`.

    Source: the published code of arXiv 2605.15155.
    """
    return other - logp


@register("sampled-reverse-kl")
def sampled_reverse_kl(logp: Tensor, other: Tensor) -> Tensor:
    """-sg(other - logp) * logp: the policy-gradient form of KL(pi || q).

    For y ~ pi the expected gradient, E[(logp - other) grad logp], is that of KL(pi || q) at this token.
    Source: Lu 2025, https://thinkingmachines.ai/blog/on-policy-distillation/.
    """
    return -(other - logp.detach()) * logp


@register("k2")
def k2(logp: Tensor, other: Tensor) -> Tensor:
    """Half the squared log-ratio: never negative, biased, and with the gradient of `sampled_reverse_kl`.

    Source: Schulman 2020, http://joschu.net/blog/kl-approx.html.
    """
    return 0.5 * (other - logp).square()


@register("k3")
def k3(logp: Tensor, other: Tensor) -> Tensor:
    """exp(d) - 1 - d with d = other - logp: never negative, low variance.

    As a loss on tokens of the student its expected gradient is that of KL(q || pi), the forward KL, since no
    gradient flows through the sampling. `exp` is cut at d = 20.
    Source: Schulman 2020, http://joschu.net/blog/kl-approx.html.
    """
    log_ratio = other - logp
    return log_ratio.clamp(max=MAX_LOG_RATIO).expm1() - log_ratio


@register("reverse-kl", distribution=True)
def reverse_kl(student: Tensor, teacher: Tensor) -> Tensor:
    """KL(student || teacher): mode-seeking, what `sampled_reverse_kl` estimates. Source: arXiv 2306.08543."""
    return (student.exp() * (student - teacher)).sum(-1)


@register("forward-kl", distribution=True)
def forward_kl(student: Tensor, teacher: Tensor) -> Tensor:
    """KL(teacher || student): mass-covering, the classical distillation. Source: arXiv 1503.02531."""
    return (teacher.exp() * (teacher - student)).sum(-1)


@register("jensen-shannon", distribution=True)
def jensen_shannon(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean KL of student and teacher to their mixture: symmetric, between 0 and log 2.

    Source: Lin 1991, IEEE Transactions on Information Theory 37(1).
    """
    mixture = student.logaddexp(teacher) - math.log(2)
    return 0.5 * (reverse_kl(student, mixture) + reverse_kl(teacher, mixture))
