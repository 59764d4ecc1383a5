"""What objectives with a teacher share: how far the student is from it, by a divergence chosen by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sdar.errors import ConfigError
from sdar.objectives.base import LossInputs, Objective, Stream, check_name
from sdar.ops.divergences import divergences
from sdar.ops.reduce import masked

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Distillation(Objective):
    """An objective with a divergence to its teacher."""

    divergence: str = "sampled-reverse-kl"
    """What is minimised between student and teacher; `sdar list divergences` says what there is."""
    top_k: int = 64
    """Tokens of the teacher's distribution that reverse-kl, forward-kl and jensen-shannon compare, all others
    being one bucket; 0 compares the whole vocabulary."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_name(divergences, self.divergence)
        if self.top_k < 0:
            raise ConfigError(f"objective.top_k must be at least 0, not {self.top_k}")

    @property
    def teacher_streams(self) -> frozenset[Stream]:
        """What `distance` and the gap to the teacher read."""
        top = {Stream.TEACHER_TOP} if divergences[self.divergence].distribution else set()
        return frozenset({Stream.TEACHER, *top})

    @property
    def teacher_tokens(self) -> int:
        """See `Objective.teacher_tokens`."""
        return self.top_k

    def distance(self, x: LossInputs) -> Tensor:
        """The divergence per token (B, T), 0 where there is no teacher."""
        divergence = divergences[self.divergence]
        if not divergence.distribution:
            return masked(divergence.distance(x.logp_BT, x.stream(Stream.TEACHER)), x.taught_BT)
        return masked(divergence.distance(*x.tops), x.taught_BT)
