"""Gates: per-token weights in [0, 1] that say how much of a distillation term to keep.

A gate is a weight, never a path for gradient: `gate` detaches all that a rule sees, so no rule can get this
wrong. A rule is `(gap_BT, beta, *streams) -> weight_BT`; the gap is teacher - student log-prob, and the
streams are those it was registered with.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from sdar.registry import Registry

Rule = Callable[..., Tensor]


@dataclass(frozen=True)
class Gate:
    """A rule and the names of the per-token streams it reads beside the gap."""

    rule: Rule
    streams: tuple[str, ...] = ()


gates: Registry[Gate] = Registry("gate")


def register(name: str, *streams: str) -> Callable[[Rule], Rule]:
    """Decorator that files a rule under `name`, with the streams it reads beside the gap, in order."""

    def add(rule: Rule) -> Rule:
        gates.register(name)(Gate(rule, streams))
        return rule

    return add


def gate(name: str, beta: float, gap_BT: Tensor, streams: Iterable[Tensor] = ()) -> Tensor:
    """The weights of gate `name`, without gradient. `beta` is the slope of the smooth gates."""
    return gates[name].rule(gap_BT.detach(), beta, *(stream.detach() for stream in streams))


@register("gap")
def gap_sigmoid(gap_BT: Tensor, beta: float) -> Tensor:
    """sigmoid(beta * gap): the paper's default. Its slope in the gap is at most beta / 4."""
    return torch.sigmoid(beta * gap_BT)


@register("constant")
def constant(gap_BT: Tensor, beta: float) -> Tensor:
    """1 everywhere, no gate at all; `gap` with beta 0 is 0.5 everywhere."""
    return torch.ones_like(gap_BT)


@register("hard")
def hard(gap_BT: Tensor, beta: float) -> Tensor:
    """1 where the teacher likes the token better than the student does, else 0: the limit of large beta."""
    return (gap_BT > 0).to(gap_BT.dtype)


@register("student-entropy", "entropy")
def student_entropy(gap_BT: Tensor, beta: float, entropy_BT: Tensor) -> Tensor:
    """sigmoid(beta * h), h the student's entropy in nats: 0.5 where it is sure, towards 1 where it is not."""
    return torch.sigmoid(beta * entropy_BT)
