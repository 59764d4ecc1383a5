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


def turn_windows(value_BT: Tensor, turn_BT: Tensor, mask_BT: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Each token and the `size` - 1 before it, newest first, and which are masked in and of its turn.

    Both are [B, T, size]; a value that is not masked in is 0.

    >>> import torch
    >>> turn_windows(torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[0, 0, 1]]), torch.ones(1, 3) > 0, 2)[0]
    tensor([[[1., 0.],
             [2., 1.],
             [3., 0.]]])
    """
    import torch
    from torch.nn.functional import pad

    length, values, owns = value_BT.shape[1], [], []
    for age in range(size):
        behind = (min(age, length), 0)
        same_BT = pad(turn_BT, behind, value=-1)[:, :length] == turn_BT
        own_BT = same_BT & pad(mask_BT, behind)[:, :length]
        owns.append(own_BT)
        values.append(masked(pad(value_BT, behind)[:, :length], own_BT))
    return torch.stack(values, -1), torch.stack(owns, -1)


def segment_medians(value_N: Tensor, segment_N: Tensor) -> Tensor:
    """At each value the median of its segment; of an even number of values, the mean of the middle two.

    >>> import torch
    >>> segment_medians(torch.tensor([3.0, 1.0, 9.0, 2.0]), torch.tensor([0, 0, 5, 0]))
    tensor([2., 2., 9., 2.])
    """
    _, number_N, count_S = segment_N.unique(return_inverse=True, return_counts=True)
    order_N = value_N.argsort(stable=True)
    order_N = order_N[number_N[order_N].argsort(stable=True)]
    sorted_N, first_S = value_N[order_N], count_S.cumsum(0) - count_S
    low_S, high_S = first_S + (count_S - 1) // 2, first_S + count_S // 2
    return ((sorted_N[low_S] + sorted_N[high_S]) / 2)[number_N]


def segment_sums(value_N: Tensor, segment_N: Tensor) -> Tensor:
    """At each value the sum over its segment.

    >>> import torch
    >>> segment_sums(torch.tensor([3.0, 1.0, 9.0]), torch.tensor([0, 0, 5]))
    tensor([4., 4., 9.])
    """
    _, number_N, count_S = segment_N.unique(return_inverse=True, return_counts=True)
    return value_N.new_zeros(len(count_S)).index_add(0, number_N, value_N)[number_N]
