"""GRPO: policy gradient with group-relative advantages, the baseline of all other objectives."""

from dataclasses import dataclass

from sdar.objectives.base import PolicyGradient, objectives


@objectives.register("grpo")
@dataclass(frozen=True, kw_only=True)
class GRPO(PolicyGradient):
    """Group Relative Policy Optimization.

    With rho = pi / pi_old and the group-relative advantage A of the episode on every policy token,

        L = sum_t [ max(-A rho, -A clip(rho, 0.8, 1.2)) + kl_coef k3(pi || pi_ref) - entropy_coef H ] / tokens

    and for A < 0 the first term is at most 3 |A| (dual clip).

    Source: Shao et al. 2024, DeepSeekMath, arXiv 2402.03300; settings of arXiv 2605.15155 and its code.

    Differences from the paper: a token mean over the batch instead of a mean of sequence means (`reduction`
    has both), dual clip and entropy bonus, which the published code of arXiv 2605.15155 has and its text does
    not mention. Differences from that code: batch-global denominators instead of a mean of micro-batch means;
    log-ratios are cut at 20 before `exp`.
    """
