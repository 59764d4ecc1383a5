"""Importance ratios and PPO clipping, token by token. All arguments broadcast; results have their shape."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from sdar.ops.reduce import masked
from sdar.settings.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor

MAX_LOG_RATIO = 20.0
"""Log-ratios are cut here before `exp`, so that a stray token gives a large number and not infinity."""


def importance_ratio(logp: Tensor, old: Tensor, cap: float = MAX_LOG_RATIO) -> Tensor:
    """exp(min(logp - old, cap)): pi / pi_old, constant and without gradient above the cap."""
    return (logp - old).clamp(max=cap).exp()


Ratio: TypeAlias = "Callable[[Tensor, Tensor, Tensor], Tensor]"
"""(logp_BT, old_BT, mask_BT) -> the ratio that the policy term clips, with gradient."""

ratios: Registry[Ratio] = Registry("ratio")


@ratios.register("token")
def token_ratio(logp_BT: Tensor, old_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """Each token its own. Source: PPO, arXiv 1707.06347, as in GRPO."""
    return importance_ratio(logp_BT, old_BT)


@ratios.register("sequence")
def sequence_ratio(logp_BT: Tensor, old_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """The geometric mean over the sequence's tokens, so that a sequence is clipped as a whole.

    The gradient goes to each token as if the ratio were its own, which lets advantages differ within a
    sequence. Source: GSPO-token, arXiv 2507.18071, equations 13 and 14; with one advantage it is GSPO.
    """
    drift_BT = masked(logp_BT - old_BT, mask_BT).detach()
    mean_B1 = drift_BT.sum(1, keepdim=True) / mask_BT.sum(1, keepdim=True).clamp(min=1)
    return importance_ratio(logp_BT - logp_BT.detach(), -mean_B1)


def truncated_weight(old: Tensor, rollout: Tensor, cap: float) -> Tensor:
    """min(pi_old / pi_rollout, cap), without gradient: corrects for an engine that samples another policy.

    Source: Yao et al. 2025, https://fengyao.notion.site/off-policy-rl (truncated importance sampling).
    """
    return importance_ratio(old, rollout).clamp(max=cap).detach()


def ppo_clip(ratio: Tensor, adv: Tensor, low: float, high: float, dual: float) -> Tensor:
    """PPO's pessimistic loss, with the dual clip for negative advantages.

    max(-A r, -A clip(r, 1 - low, 1 + high)), and for A < 0 at most -A * dual.
    Sources: Schulman et al. 2017, arXiv 1707.06347; Ye et al. 2020, arXiv 1912.09729 (dual clip).
    """
    loss = (-adv * ratio).maximum(-adv * ratio.clamp(1 - low, 1 + high))
    return loss.minimum(-adv * dual).where(adv < 0, loss)


def is_clipped(ratio: Tensor, adv: Tensor, low: float, high: float, dual: float) -> Tensor:
    """Where `ppo_clip` is flat in the ratio, as a boolean tensor."""
    return ((adv > 0) & (ratio > 1 + high)) | ((adv < 0) & ((ratio < 1 - low) | (ratio > dual)))
