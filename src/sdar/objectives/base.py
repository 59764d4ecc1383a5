"""The contract of an objective: a frozen dataclass of hyper-parameters with one pure `loss`.

Shapes: B sequences, T policy tokens (only tokens that the policy chose have a column; shorter rows are padded
and masked). A loss is a sum over the micro-batch divided by counts of the whole optimizer batch, so that
micro-batches and ranks add up to the same gradient however the batch is cut.

`PolicyGradient` is the GRPO term that most objectives start from.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from sdar.errors import ConfigError
from sdar.objectives.inputs import LIVE as LIVE
from sdar.objectives.inputs import NO_TOKENS as NO_TOKENS
from sdar.objectives.inputs import LossInputs, StepInputs, Stream
from sdar.ops.divergences import k3
from sdar.ops.ratios import is_clipped, ppo_clip, ratios, truncated_weight
from sdar.ops.reduce import WeightedSum, reductions, weighted
from sdar.settings.registry import Registry
from sdar.settings.schedules import Coef, parse

if TYPE_CHECKING:
    from torch import Tensor


class Credit(NamedTuple):
    """An advantage for each of the M tokens of a step, and numbers worth logging, as (sum, weight)."""

    adv_M: Tensor
    metrics: Mapping[str, WeightedSum] = MappingProxyType({})


class LossOutput(NamedTuple):
    """A scalar to differentiate and the numbers worth logging, as (sum, weight).

    `streams` are [B, T] numbers without gradient that are worth seeing token by token, such as the gate's
    weights; they are kept with the recorded episodes and change nothing else.
    """

    loss: Tensor
    metrics: Mapping[str, WeightedSum]
    streams: Mapping[str, Tensor] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class Objective(ABC):
    """A named algorithm."""

    student_skills: ClassVar[bool] = False
    """Whether the student itself sees the skills, in training and at test time."""
    views: ClassVar[tuple[str, ...]] = ("skills",)
    """What its teachers see, by the names of `sdar list views`, the main one first; empty: its own samples
    have no teacher."""
    stages: ClassVar[tuple[str, ...]] = ()
    """What is done between rollout and learning, by the names of `sdar list stages`, in order."""
    stages_show_skills: ClassVar[bool] = False
    """Whether its stages show skills to somebody, though no player and no teacher sees them."""
    extras: ClassVar[bool] = False
    """Whether it learns from extra samples, which stages may add."""

    reduction: str = "token"
    """How per-token losses become one number: token, sequence, constant-length, or micro-batch-mean
    (reproduction only)."""
    max_length: int = 0
    """What `constant-length` divides a sequence's sum by, best the most tokens that the policy can choose."""

    def __post_init__(self) -> None:
        check_name(reductions, self.reduction)
        if self.reduction == "constant-length" and self.max_length < 1:
            raise ConfigError("objective.reduction 'constant-length' needs objective.max_length, at least 1")

    @property
    @abstractmethod
    def needs(self) -> frozenset[Stream]:
        """The streams that `loss` or `credit` reads. A property, so that kl_coef=0 drops a pass."""

    @property
    def skilled_share(self) -> float:
        """The share of each group's episodes whose player sees the skills, in training."""
        return float(self.student_skills)

    @property
    def teacher_tokens(self) -> int:
        """How many of the teacher's likeliest tokens `TEACHER_TOP` holds; 0 is the whole vocabulary."""
        return 0

    @abstractmethod
    def loss(self, x: LossInputs) -> LossOutput:
        """The loss of one micro-batch."""

    def credit(self, x: StepInputs) -> Credit:
        """The advantages that `loss` will see; as they are, unless an objective says otherwise.

        A micro-batch may hold single turns of an episode, so what spans turns or episodes is decided here.
        """
        return Credit(x.adv_M)

    def at(self, coef: Coef, x: LossInputs | StepInputs) -> float:
        """A coefficient, which may be a schedule, at the batch's training step."""
        return parse(coef).at(x.step, x.steps)

    def reduce(self, token_BT: Tensor, x: LossInputs) -> Tensor:
        """The scalar loss of per-token losses, by the named reduction."""
        denominators = x.denominators._replace(length=float(self.max_length))
        return reductions[self.reduction](token_BT, x.mask_BT, denominators)


@dataclass(frozen=True, kw_only=True)
class PolicyGradient(Objective):
    """The GRPO term: clipped policy gradient, KL to the reference policy, entropy bonus.

        pg_coef * w * ppo_clip(rho, A) + kl_coef * clamp(k3(logp, ref), -10, 10) - entropy_coef * H

    per policy token. rho is the ratio to the behaviour policy of the token, or of its sequence; w is 1, or
    with `tis_cap` the truncated importance weight of an engine that samples from a slightly other policy.
    """

    pg_coef: Coef = 1.0
    """Weight of the clipped policy gradient; 0 leaves it out, with its `old` stream."""
    ratio: str = "token"
    """Whose ratio to the behaviour policy is clipped: token, or sequence (GSPO; clip at about 3e-4 then)."""
    clip_low: float = 0.2
    """The ratio is clipped below 1 - clip_low when the advantage is negative."""
    clip_high: float = 0.2
    """The ratio is clipped above 1 + clip_high when the advantage is positive."""
    dual_clip: float = 3.0
    """Largest ratio that still counts when the advantage is negative."""
    tis_cap: float = 0.0
    """Largest weight that corrects for the engine's log-probs (2 is usual); 0 corrects nothing. It needs
    train.old_logps = "recompute"."""
    kl_coef: Coef = 0.01
    """Weight of the KL divergence to the reference policy; 0 leaves it out, with its `ref` stream."""
    entropy_coef: Coef = 0.001
    """Weight of the entropy bonus; 0 leaves it out, with its `entropy` stream."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_name(ratios, self.ratio)
        check_range(self, 0.0, math.inf, "pg_coef", "kl_coef", "entropy_coef", "clip_high", "tis_cap")
        check_range(self, 0.0, 1.0, "clip_low")
        check_range(self, 1.0, math.inf, "dual_clip")

    @property
    def needs(self) -> frozenset[Stream]:
        """`old`, `rollout`, `ref` and `entropy`, each as long as its coefficient is not 0."""
        coefs = {
            Stream.OLD: self.pg_coef,
            Stream.ROLLOUT: self.pg_coef and self.tis_cap,
            Stream.REF: self.kl_coef,
            Stream.ENTROPY: self.entropy_coef,
        }
        return frozenset(stream for stream, coef in coefs.items() if coef)

    def loss(self, x: LossInputs) -> LossOutput:
        """The GRPO term alone, with the advantages as they are or as `credit` set them."""
        token_BT, metrics = self.policy_term(x, x.adv_BT)
        return LossOutput(self.reduce(token_BT, x), metrics)

    def policy_term(self, x: LossInputs, adv_BT: Tensor) -> tuple[Tensor, dict[str, WeightedSum]]:
        """Per-token losses of the GRPO term with these advantages, and the `policy/` metrics."""
        token_BT = x.logp_BT.new_zeros(x.logp_BT.shape)
        metrics: dict[str, WeightedSum] = {}
        if self.pg_coef:
            old_BT = x.stream(Stream.OLD)
            ratio_BT = ratios[self.ratio](x.logp_BT, old_BT, x.mask_BT)
            clip = (self.clip_low, self.clip_high, self.dual_clip)
            pg_BT = ppo_clip(ratio_BT, adv_BT, *clip)
            if self.tis_cap:
                weight_BT = truncated_weight(old_BT, x.stream(Stream.ROLLOUT), self.tis_cap)
                pg_BT = weight_BT * pg_BT
                metrics["policy/tis_weight"] = weighted(weight_BT, x.mask_BT)
            token_BT = token_BT + self.at(self.pg_coef, x) * pg_BT
            metrics["policy/loss"] = weighted(pg_BT, x.mask_BT)
            metrics["policy/ratio_mean"] = weighted(ratio_BT, x.mask_BT)
            metrics["policy/clip_fraction"] = weighted(is_clipped(ratio_BT, adv_BT, *clip).float(), x.mask_BT)
        if self.kl_coef:
            kl_BT = k3(x.logp_BT, x.stream(Stream.REF)).clamp(-10.0, 10.0)
            token_BT = token_BT + self.at(self.kl_coef, x) * kl_BT
            metrics["policy/kl_ref"] = weighted(kl_BT, x.mask_BT)
        if self.entropy_coef:
            entropy_BT = x.stream(Stream.ENTROPY)
            token_BT = token_BT - self.at(self.entropy_coef, x) * entropy_BT
            metrics["policy/entropy"] = weighted(entropy_BT, x.mask_BT)
        return token_BT, metrics


def check_range(settings: object, low: float, high: float, *names: str) -> None:
    """Raise `ConfigError` for the first of these fields that is not in [low, high], at either end of it."""
    for name in names:
        schedule = parse(getattr(settings, name))
        for value in (schedule.start, schedule.end):
            if not low <= value <= high:
                bounds = f"at least {low:g}" if high == math.inf else f"between {low:g} and {high:g}"
                raise ConfigError(f"objective.{name} must be {bounds}, not {value}")


def check_name(registry: Registry, name: str) -> None:
    """Raise `ConfigError`, naming the nearest choice, when `registry` does not know `name`."""
    registry[name]


objectives: Registry[type[Objective]] = Registry(
    "objective",
    homes={
        "adrs": "sdar.objectives.adrs",
        "agent-opsd": "sdar.objectives.agent_opsd",
        "bcsd": "sdar.objectives.bcsd",
        "grpo": "sdar.objectives.grpo",
        "grpo-opsd": "sdar.objectives.grpo_opsd",
        "grsd": "sdar.objectives.grsd",
        "icsd": "sdar.objectives.icsd",
        "ocsd": "sdar.objectives.ocsd",
        "opsd": "sdar.objectives.opsd",
        "opid": "sdar.objectives.opid",
        "ovcsd": "sdar.objectives.ovcsd",
        "pcsd": "sdar.objectives.pcsd",
        "rlsd": "sdar.objectives.rlsd",
        "sdar": "sdar.objectives.sdar",
        "seed": "sdar.objectives.seed",
        "skill-grpo": "sdar.objectives.skill_grpo",
        "skill-sd": "sdar.objectives.skill_sd",
        "step-opsd": "sdar.objectives.step_opsd",
        "ucob": "sdar.objectives.ucob",
    },
)
