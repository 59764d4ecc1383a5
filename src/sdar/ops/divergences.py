"""How far the student is from another policy, estimated on the sampled token alone.

With y drawn from the student, logp = log pi(y) (live) and other = log q(y) (no gradient). Each function
returns per-token losses of the same shape. `k3` is an unbiased estimate of KL(pi || q); the values of
`likelihood` and `reverse_kl` are not divergences: only their gradients are meant.
"""

import torch
from torch import Tensor

from sdar.ops.ratios import MAX_LOG_RATIO


def k3(logp: Tensor, other: Tensor) -> Tensor:
    """exp(d) - 1 - d with d = other - logp: never negative, low variance.

    `exp` is cut at d = 20. Source: Schulman 2020, http://joschu.net/blog/kl-approx.html.
    """
    log_ratio = other - logp
    return torch.expm1(log_ratio.clamp(max=MAX_LOG_RATIO)) - log_ratio


def reverse_kl(logp: Tensor, other: Tensor) -> Tensor:
    """-sg(other - logp) * logp: the policy-gradient form of KL(pi || q).

    For y ~ pi the expected gradient, E[(logp - other) grad logp], is that of KL(pi || q) at this token.
    """
    return -(other - logp.detach()) * logp


def likelihood(logp: Tensor, other: Tensor) -> Tensor:
    """Other - logp: the published distillation term. Its gradient, -grad logp, does not depend on `other`."""
    return other - logp
