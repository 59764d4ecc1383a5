"""Gates: per-token weights in [0, 1] that say how much of a distillation term to keep (`signed`: in [-1, 1]).

A rule's parameters say what it reads: `gap_BT`, the teacher's less the student's log-prob; other tensors of
the batch, named as in `LossInputs`; and settings of the objective. A gate is a weight, never a path for
gradient: `gate` detaches all that a rule sees, so no rule can get this wrong. A rule looks at one sequence at
a time, so that its weights do not depend on how a batch is cut.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from sdar.ops.reduce import masked
from sdar.settings.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor

Rule: TypeAlias = "Callable[..., Tensor]"

gates: Registry[Rule] = Registry("gate")


def reads(name: str) -> tuple[str, ...]:
    """The tensors that gate `name` reads beside the gap.

    >>> reads("persistence")
    ('turn_BT', 'taught_BT')
    """
    given = inspect.signature(gates[name]).parameters
    return tuple(one for one in given if one.endswith("_BT") and one != "gap_BT")


def gate(name: str, gap_BT: Tensor, read: Callable[[str], Tensor], **settings: float) -> Tensor:
    """The weights of gate `name`, without gradient.

    `read` gives the tensors that the rule names; of the settings it gets those that it names.
    """
    wanted = inspect.signature(gates[name]).parameters
    tensors = {one: read(one).detach() for one in reads(name)}
    chosen = {one: value for one, value in settings.items() if one in wanted}
    return gates[name](gap_BT=gap_BT.detach(), **tensors, **chosen)


@gates.register("gap")
def gap_sigmoid(gap_BT: Tensor, beta: float) -> Tensor:
    """sigmoid(beta * gap). Its slope in the gap is at most beta / 4. Source: default of arXiv 2605.15155."""
    return (beta * gap_BT).sigmoid()


@gates.register("constant")
def constant(gap_BT: Tensor) -> Tensor:
    """1 everywhere, no gate at all; `gap` with beta 0 is 0.5 everywhere."""
    return gap_BT.new_ones(gap_BT.shape)


@gates.register("hard")
def hard(gap_BT: Tensor) -> Tensor:
    """1 where the teacher likes the token better than the student does, else 0: the limit of large beta."""
    return (gap_BT > 0).to(gap_BT.dtype)


@gates.register("signed")
def signed(gap_BT: Tensor, beta: float) -> Tensor:
    """2 sigmoid(beta * gap) - 1, in [-1, 1]: pushes down what the teacher likes less. Source: this package.

    On the likelihood of the student's own tokens `gap` pushes up wherever the student samples, also where
    the teacher has no opinion; this weight is 0 there.
    """
    return 2 * (beta * gap_BT).sigmoid() - 1


@gates.register("student-entropy")
def student_entropy(gap_BT: Tensor, beta: float, entropy_BT: Tensor) -> Tensor:
    """sigmoid(beta * h), h the student's entropy in nats: 0.5 where it is sure, towards 1 where it is not.

    Source: the ablation of arXiv 2605.15155, which does not say how it scales h.
    """
    return (beta * entropy_BT).sigmoid()


@gates.register("teacher-entropy")
def teacher_entropy(gap_BT: Tensor, beta: float, teacher_entropy_BT: Tensor) -> Tensor:
    """sigmoid(-beta * h), h the teacher's entropy in nats: 0.5 where it is sure, less where not."""
    return (-beta * teacher_entropy_BT).sigmoid()


@gates.register("soft-or")
def soft_or(gap_BT: Tensor, beta: float, entropy_BT: Tensor) -> Tensor:
    """sigmoid(beta * (1 - (1 - u) (1 - gap))), u the student's uncertainty: open where u or the gap is large.

    u = 1 - exp(-h) is in [0, 1), so a larger gap never closes the gate. Where the student is sure, u = 0,
    this is `gap`. Source: the ablation of arXiv 2605.15155, which does not say how it scales the entropy h.
    """
    return (beta * (1 - (-entropy_BT).exp() * (1 - gap_BT))).sigmoid()


@gates.register("top-q")
def top_q(gap_BT: Tensor, top_share: float, taught_BT: Tensor) -> Tensor:
    """1 on the share `top_share` of each sequence's taught tokens with the largest gaps, else 0.

    The number of tokens is rounded up; of equal gaps the earlier token wins.
    """
    order_BT = gap_BT.masked_fill(~taught_BT, -math.inf).argsort(dim=1, descending=True, stable=True)
    count_B1 = (top_share * taught_BT.sum(1, keepdim=True).double() - 1e-9).ceil()
    return (order_BT.argsort(dim=1) < count_B1).to(gap_BT.dtype)


@gates.register("persistence")
def persistence(gap_BT: Tensor, beta: float, memory: float, turn_BT: Tensor, taught_BT: Tensor) -> Tensor:
    """sigmoid(beta * m), m the mean gap of the turn so far: one odd token does not open or shut the gate.

    In the mean a token k places back has weight memory^k; with memory 0 this is `gap`.
    Source: after PCSD, arXiv 2608.01837, which adds a trend.
    """
    return (beta * turn_mean(gap_BT, memory, turn_BT, taught_BT)).sigmoid()


def turn_mean(value_BT: Tensor, memory: float, turn_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """Mean over this and the earlier tokens of its turn, those k places back with weight memory^k."""
    same_BT = _behind(turn_BT[:, 1:] == turn_BT[:, :-1], 1)
    keep_BT = memory * same_BT.to(value_BT.dtype)
    weight_BT = _scan(keep_BT, mask_BT.to(value_BT.dtype))
    return _scan(keep_BT, masked(value_BT, mask_BT)) / weight_BT.clamp(min=1)


def _scan(keep_BT: Tensor, value_BT: Tensor) -> Tensor:
    """y_t = keep_t y_(t-1) + value_t along the rows, in log2(T) steps; the first column keeps nothing."""
    shift = 1
    while shift < value_BT.shape[1]:
        value_BT = value_BT + keep_BT * _behind(value_BT[:, :-shift], shift)
        keep_BT = keep_BT * _behind(keep_BT[:, :-shift], shift)
        shift *= 2
    return value_BT


def _behind(value_BT: Tensor, zeros: int) -> Tensor:
    """The columns behind so many columns of zeros."""
    from torch.nn.functional import pad

    return pad(value_BT, (zeros, 0))
