"""The contract of an objective: a frozen dataclass of hyper-parameters with one pure `loss`.

Shapes: B sequences, T policy tokens (only tokens that the policy chose have a column; shorter rows are padded
and masked). A loss is a sum over the micro-batch divided by counts of the whole optimizer batch, so that
micro-batches and ranks add up to the same gradient however the batch is cut.

`PolicyGradient` is the GRPO term that most objectives start from.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from sdar.errors import ConfigError, DataError
from sdar.ops.divergences import k3
from sdar.ops.ratios import is_clipped, ppo_clip, ratios, truncated_weight
from sdar.ops.reduce import Denominators, WeightedSum, masked, reductions, weighted
from sdar.settings.registry import Registry
from sdar.settings.schedules import Coef, parse

if TYPE_CHECKING:
    from torch import Tensor


class Stream(StrEnum):
    """Per-token inputs that cost something to compute."""

    OLD = "old"
    """Log-probs at the start of the step (the behaviour policy)."""
    ROLLOUT = "rollout"
    """Log-probs that the engine gave when it sampled."""
    REF = "ref"
    """Log-probs of the frozen reference policy."""
    TEACHER = "teacher"
    """Log-probs of the teacher, who sees more than the student; of every one, where there are several."""
    TEACHER_ENTROPY = "teacher_entropy"
    """Entropy of the main teacher's distribution."""
    TEACHER_TOP = "teacher_top"
    """The main teacher's log-probs of its likeliest tokens; the student's of the same come with them."""
    ENTROPY = "entropy"
    """Entropy of the live policy's distribution, with gradient."""

    @property
    def tensor(self) -> str:
        """Its name in `LossInputs`."""
        return f"{self}_BTK" if self is Stream.TEACHER_TOP else f"{self}_BT"

    @classmethod
    def among(cls, names: Iterable[str]) -> frozenset[Stream]:
        """The streams among names of tensors, such as `entropy_BT`."""
        return frozenset(stream for stream in cls if stream.tensor in names)


LIVE = ("logp_BT", "entropy_BT", "student_top_BTK")
"""The tensors of `LossInputs` that gradient flows to."""


@dataclass(frozen=True, kw_only=True)
class LossInputs:
    """One micro-batch. The tensors in `LIVE` carry gradient, nothing else may; masks are boolean.

    Values outside the masks must be finite. `teacher_mask_BT` marks the policy tokens that `teacher_BT` has a
    value for; None means all of them. `teacher_top_BTK` has the teacher's log-probs of K - 1 tokens and of
    all others together, or of the whole vocabulary, and `student_top_BTK` the student's of the same. Further
    teacher views are stacked in `more_teachers_BTV`, with their masks. A batch that breaks these rules raises
    `DataError`.
    """

    logp_BT: Tensor
    mask_BT: Tensor
    adv_BT: Tensor
    turn_BT: Tensor
    old_BT: Tensor | None = None
    rollout_BT: Tensor | None = None
    ref_BT: Tensor | None = None
    teacher_BT: Tensor | None = None
    teacher_mask_BT: Tensor | None = None
    teacher_entropy_BT: Tensor | None = None
    teacher_top_BTK: Tensor | None = None
    student_top_BTK: Tensor | None = None
    more_teachers_BTV: Tensor | None = None
    more_teacher_masks_BTV: Tensor | None = None
    entropy_BT: Tensor | None = None
    denominators: Denominators
    step: int = 0
    """The training step, counted from 0."""
    steps: int = 1
    """Training steps of the run."""

    def __post_init__(self) -> None:
        shape = tuple(self.logp_BT.shape)
        if len(shape) != 2:
            raise DataError(f"logp_BT must be [sequences, tokens], not of shape {shape}")
        for name, value in self.tensors().items():
            if tuple(value.shape[:2]) != shape or value.dim() != len(name.rpartition("_")[2]):
                raise DataError(f"{name} has shape {tuple(value.shape)}, but logp_BT has {shape}")
            if "mask" in name:
                kind, fits = "boolean", _is_boolean(value)
            elif name == "turn_BT":
                kind, fits = "integer", not value.is_floating_point() and not _is_boolean(value)
            else:
                kind, fits = "floating", value.is_floating_point()
            if not fits:
                raise DataError(f"{name} must be {kind}, not {value.dtype}")
            if value.requires_grad and name not in LIVE:
                raise DataError(f"{name} requires grad, but only {', '.join(LIVE)} may")

    def tensors(self) -> dict[str, Tensor]:
        """The tensors that are present, by field name."""
        present = ((f.name, getattr(self, f.name)) for f in fields(self) if "_BT" in f.name)
        return {name: value for name, value in present if value is not None}

    def stream(self, stream: Stream) -> Tensor:
        """The tensor of a stream; `ConfigError` when the batch does not have it."""
        return self.read(stream.tensor)

    def read(self, name: str) -> Tensor:
        """The tensor of that name; `ConfigError` when the batch does not have it."""
        value: Tensor | None = getattr(self, name, None)
        if value is None:
            raise ConfigError(f"the objective reads {name}, but the batch does not have it")
        return value

    def teacher(self, view: int) -> tuple[Tensor, Tensor]:
        """Log-probs of the teacher of a view, and the mask of the tokens that have it; 0 is the main view."""
        if view == 0:
            return self.stream(Stream.TEACHER), self.taught_BT
        if self.more_teachers_BTV is None or view > self.more_teachers_BTV.shape[2]:
            raise ConfigError(
                f"the objective reads teacher view {view}, but the run has fewer: see views.names"
            )
        assert self.more_teacher_masks_BTV is not None
        return (
            self.more_teachers_BTV[..., view - 1],
            self.mask_BT & self.more_teacher_masks_BTV[..., view - 1],
        )

    @property
    def taught_BT(self) -> Tensor:
        """Policy tokens that have a teacher, as a mask."""
        return self.mask_BT if self.teacher_mask_BT is None else self.mask_BT & self.teacher_mask_BT


@dataclass(frozen=True, kw_only=True)
class StepInputs:
    """A whole training step before its first update: M policy tokens, in any order, of E episodes.

    Nothing carries gradient. Turns and episodes are numbered from 0, and an advantage is the same at all
    tokens of a turn.
    """

    adv_M: Tensor
    episode_M: Tensor
    turn_M: Tensor
    group_E: Tensor
    success_E: Tensor
    reward_EK: Tensor
    """The environment's reward of each of at most K turns; 0 where the episode is over."""
    anchor_EK: Tensor
    """Numbers of what was seen before each turn, equal for equal things in a group; -1 after the end."""
    taught_M: Tensor
    """Tokens that have the main teacher, as a mask."""
    streams: Mapping[Stream, Tensor]
    """What the objective needs of each token and has been scored, [M] or [M, K]."""
    more_teachers_MV: Tensor | None = None
    """Log-probs of the further teacher views."""
    more_taught_MV: Tensor | None = None
    """Tokens that have them, as a mask."""
    step: int = 0
    """The training step, counted from 0."""
    steps: int = 1
    """Training steps of the run."""

    def stream(self, stream: Stream) -> Tensor:
        """The tensor of a stream; `ConfigError` when the step does not have it."""
        if stream not in self.streams:
            raise ConfigError(f"the objective reads '{stream}' of a whole step, which does not have it")
        return self.streams[stream]

    def teacher(self, view: int) -> tuple[Tensor, Tensor]:
        """Log-probs of the teacher of a view, and the mask of the tokens that have it; 0 is the main view."""
        if view == 0:
            return self.stream(Stream.TEACHER), self.taught_M
        if self.more_teachers_MV is None or view > self.more_teachers_MV.shape[1]:
            raise ConfigError(
                f"the objective reads teacher view {view}, but the run has fewer: see views.names"
            )
        assert self.more_taught_MV is not None
        return self.more_teachers_MV[:, view - 1], self.more_taught_MV[:, view - 1]

    @property
    def place(self) -> tuple[Tensor, Tensor]:
        """Episode and turn of each token: the index that spreads numbers of turns [E, K] over tokens."""
        return self.episode_M, self.turn_M

    @property
    def played_EK(self) -> Tensor:
        """The turns that were played, as a mask."""
        return self.anchor_EK >= 0

    def turn_sum(self, value_M: Tensor) -> Tensor:
        """The sum [E, K] over the tokens of each turn."""
        zeros_EK = value_M.new_zeros(self.anchor_EK.shape)
        return zeros_EK.index_put(self.place, value_M, accumulate=True)

    def turn_mean(self, value_M: Tensor, mask_M: Tensor) -> tuple[Tensor, Tensor]:
        """The mean [E, K] over the masked-in tokens of each turn, and the mask of turns that have one."""
        count_EK = self.turn_sum(mask_M.to(value_M.dtype))
        return self.turn_sum(masked(value_M, mask_M)) / count_EK.clamp(min=1), count_EK > 0

    def returns(self, discount: float = 1.0) -> Tensor:
        """The return [E, K] from each turn on; in the first column it is that of the episode."""
        return_EK = self.reward_EK.clone()
        for turn in range(return_EK.shape[1] - 2, -1, -1):
            return_EK[:, turn] += discount * return_EK[:, turn + 1]
        return return_EK


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
    """What its teachers see, by the names of `sdar list views`, the main one first."""

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
        "grpo": "sdar.objectives.grpo",
        "grpo-opsd": "sdar.objectives.grpo_opsd",
        "grsd": "sdar.objectives.grsd",
        "icsd": "sdar.objectives.icsd",
        "ocsd": "sdar.objectives.ocsd",
        "opsd": "sdar.objectives.opsd",
        "pcsd": "sdar.objectives.pcsd",
        "rlsd": "sdar.objectives.rlsd",
        "sdar": "sdar.objectives.sdar",
        "skill-grpo": "sdar.objectives.skill_grpo",
        "skill-sd": "sdar.objectives.skill_sd",
        "step-opsd": "sdar.objectives.step_opsd",
    },
)


def _is_boolean(value: Tensor) -> bool:
    return str(value.dtype) == "torch.bool"
