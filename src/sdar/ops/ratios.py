"""Importance ratios and PPO clipping, token by token. All arguments broadcast; results have their shape."""

import torch
from torch import Tensor

MAX_LOG_RATIO = 20.0
"""Log-ratios are cut here before `exp`, so that a stray token gives a large number and not infinity."""


def importance_ratio(logp: Tensor, old: Tensor, cap: float = MAX_LOG_RATIO) -> Tensor:
    """exp(min(logp - old, cap)): pi / pi_old, constant and without gradient above the cap."""
    return torch.exp((logp - old).clamp(max=cap))


def ppo_clip(ratio: Tensor, adv: Tensor, low: float, high: float, dual: float) -> Tensor:
    """PPO's pessimistic loss, with the dual clip for negative advantages.

    max(-A r, -A clip(r, 1 - low, 1 + high)), and for A < 0 at most -A * dual.
    Sources: Schulman et al. 2017, arXiv 1707.06347; Ye et al. 2020, arXiv 1912.09729 (dual clip).
    """
    loss = torch.maximum(-adv * ratio, -adv * ratio.clamp(1 - low, 1 + high))
    return torch.where(adv < 0, torch.minimum(loss, -adv * dual), loss)


def is_clipped(ratio: Tensor, adv: Tensor, low: float, high: float, dual: float) -> Tensor:
    """Where `ppo_clip` is flat in the ratio, as a boolean tensor."""
    return ((adv > 0) & (ratio > 1 + high)) | ((adv < 0) & ((ratio < 1 - low) | (ratio > dual)))
