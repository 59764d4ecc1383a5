"""Numbers of a turn: what its tokens share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sdar.ops.reduce import masked

if TYPE_CHECKING:
    from torch import Tensor


def turn_average(value_BT: Tensor, turn_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """At each masked-in token the mean over those of its turn in its sequence.

    >>> import torch
    >>> turn_average(torch.tensor([[1.0, 3.0, 5.0]]), torch.tensor([[4, 4, 7]]), torch.ones(1, 3) > 0)
    tensor([[2., 2., 5.]])
    """
    turn_BT = turn_BT.masked_fill(~mask_BT, 0)
    zeros = value_BT.new_zeros(len(turn_BT), int(turn_BT.max()) + 1)
    sums = zeros.scatter_add(1, turn_BT, masked(value_BT, mask_BT))
    counts = zeros.scatter_add(1, turn_BT, mask_BT.to(value_BT.dtype))
    return (sums / counts.clamp(min=1)).gather(1, turn_BT)
