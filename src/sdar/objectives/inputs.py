"""What an objective is given: a micro-batch for its loss, and before that the whole step for credit.

Shapes: B sequences, T policy tokens (only tokens that the policy chose have a column; shorter rows are padded
and masked); M policy tokens of a whole step; E episodes, K turns.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from sdar.errors import ConfigError, DataError
from sdar.ops.reduce import Denominators, masked

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
    SPAN = "span"
    """What each token is a part of, as integers: see `sdar.text.spans.Span`."""

    @property
    def tensor(self) -> str:
        """Its name in `LossInputs`."""
        return f"{self}_BTK" if self is Stream.TEACHER_TOP else f"{self}_BT"

    @classmethod
    def among(cls, names: Iterable[str]) -> frozenset[Stream]:
        """The streams among names of tensors, such as `entropy_BT`."""
        return frozenset(stream for stream in cls if stream.tensor in names)


NO_TOKENS = Denominators(0.0, 0.0)
LIVE = ("logp_BT", "entropy_BT", "student_top_BTK")
"""The tensors of `LossInputs` that gradient flows to."""


@dataclass(frozen=True, kw_only=True)
class LossInputs:
    """One micro-batch. The tensors in `LIVE` carry gradient, nothing else may; masks are boolean.

    Values outside the masks must be finite. `teacher_mask_BT` marks the policy tokens that `teacher_BT` has a
    value for; None means all of them. `teacher_top_BTK` has the teacher's log-probs of K - 1 tokens and of
    all others together, or of the whole vocabulary, and `student_top_BTK` the student's of the same. Further
    teacher views are stacked in `more_teachers_BTV`, with their masks. `extra_mask_BT` marks the tokens of
    extra samples, which stages add; None means none, and only an objective with `extras` gets some. A batch
    that breaks these rules raises `DataError`.
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
    span_BT: Tensor | None = None
    extra_mask_BT: Tensor | None = None
    weight_BT: Tensor | None = None
    """The weight of each extra sample, at all its tokens."""
    credited_mask_BT: Tensor | None = None
    """Tokens of extra samples that have an advantage."""
    denominators: Denominators
    """Counts over the optimizer batch without its extra samples."""
    extra_denominators: Denominators = NO_TOKENS
    """Counts over its extra samples."""
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
            elif name in ("turn_BT", "span_BT"):
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
    def tops(self) -> tuple[Tensor, Tensor]:
        """The student's and the teacher's log-probs of the same tokens, 0 where there is no teacher."""
        taught_BT1 = self.taught_BT[..., None]
        student_BTK = masked(self.read("student_top_BTK"), taught_BT1)
        return student_BTK, masked(self.stream(Stream.TEACHER_TOP), taught_BT1)

    @property
    def own(self) -> LossInputs:
        """The samples of the episodes alone: the batch with the others masked."""
        if self.extra_mask_BT is None:
            return self
        return replace(self, mask_BT=self.mask_BT & ~self.extra_mask_BT, extra_mask_BT=None)

    @property
    def extra(self) -> LossInputs:
        """The extra samples alone, with counts of their own."""
        found_BT = self.mask_BT.new_zeros(self.mask_BT.shape)
        if self.extra_mask_BT is not None:
            found_BT = self.mask_BT & self.extra_mask_BT
        return replace(self, mask_BT=found_BT, extra_mask_BT=None, denominators=self.extra_denominators)

    @property
    def taught_BT(self) -> Tensor:
        """Policy tokens that have a teacher, as a mask."""
        return self.mask_BT if self.teacher_mask_BT is None else self.mask_BT & self.teacher_mask_BT


@dataclass(frozen=True, kw_only=True)
class StepInputs:
    """A whole training step before its first update: M policy tokens, in any order, of E episodes.

    Extra samples are no part of it. Nothing carries gradient. Turns and episodes are numbered from 0, and an
    advantage is the same at all tokens of a turn.
    """

    adv_M: Tensor
    episode_M: Tensor
    turn_M: Tensor
    group_E: Tensor
    success_E: Tensor
    reward_EK: Tensor
    """The environment's reward of each of at most K turns; 0 where the episode is over."""
    skilled_E: Tensor
    """Whether the player of the episode saw skills."""
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


def _is_boolean(value: Tensor) -> bool:
    return str(value.dtype) == "torch.bool"
