"""What sequences begin with alike, laid down once.

A pack of sequences is a row of *segments*. Each holds tokens that follow those of its parent, an earlier
segment, so a sequence is a path from a segment without parent on. A token's hidden state depends on what is
before it alone: where two sequences are equal up to a token, so are its hidden states.
"""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import TypeAlias

import numpy as np

Ints = np.ndarray
Tokens: TypeAlias = "array[int]"

MIN_SHARED = 16
"""Tokens from which on a beginning that sequences share becomes a segment; for less the seam costs more."""


@dataclass
class Tree:
    """Segments laid end to end: N tokens in all."""

    tokens: list[int] = field(default_factory=list)
    """(N,) token ids."""
    positions: list[int] = field(default_factory=list)
    """(N,) place of each token in its sequences, from 0."""
    lengths: list[int] = field(default_factory=list)
    """Tokens of each segment."""
    parents: list[int] = field(default_factory=list)
    """The segment that each follows, which is before it; -1 where a sequence begins."""

    def add(self, tokens: Sequence[int], start: int, parent: int) -> Ints:
        """A segment with `tokens[start:]`; the indices of its tokens."""
        first = len(self.tokens)
        self.tokens.extend(tokens[start:])
        self.positions.extend(range(start, len(tokens)))
        self.lengths.append(len(tokens) - start)
        self.parents.append(parent)
        return np.arange(first, len(self.tokens))


def apart(sequences: Sequence[Sequence[int]]) -> tuple[Tree, list[Ints]]:
    """Each sequence as a segment of its own; and for each the indices of its tokens in the tree."""
    tree = Tree()
    return tree, [tree.add(sequence, 0, -1) for sequence in sequences]


def shared(sequences: Sequence[Tokens]) -> tuple[Tree, list[Ints]]:
    """Like `apart`, but what sequences begin with alike is there once, where it is long enough.

    >>> tree, places = shared([(*range(20), 7), (5, 6), (*range(20), 8, 9)])
    >>> tree.lengths, tree.parents, [place.tolist()[-3:] for place in places]
    ([20, 1, 2, 2], [-1, 0, 0, -1], [[18, 19, 20], [23, 24], [19, 21, 22]])
    """
    tree = Tree()
    places: list[list[Ints]] = [[] for _ in sequences]
    left = [(sorted(range(len(sequences)), key=sequences.__getitem__), 0, -1)] if sequences else []
    while left:
        rows, start, parent = left.pop()
        first, last = sequences[rows[0]], sequences[rows[-1]]
        common = common_prefix(first, last)
        if common > start and (first == last or common - start >= MIN_SHARED):
            indices = tree.add(first[:common], start, parent)
            for row in rows:
                places[row].append(indices)
            start, parent = common, len(tree.lengths) - 1
        if first != last:
            nexts = [(sequences[row][common : common + 1], row) for row in rows]
            groups = [[row for _, row in part] for _, part in groupby(nexts, itemgetter(0))]
            left += [(group, start, parent) for group in reversed(groups) if len(sequences[group[0]]) > start]
    return tree, [joined(parts) for parts in places]


def joined(parts: Sequence[Ints]) -> Ints:
    """Integers end to end."""
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def common_prefix(one: Sequence[object], two: Sequence[object]) -> int:
    """How many items two sequences of one type begin with alike.

    >>> common_prefix((1, 2, 3), (1, 2, 4, 5)), common_prefix((1, 2), (1, 2, 4)), common_prefix((), (1,))
    (2, 2, 0)
    """
    limit = min(len(one), len(two))
    if one[:limit] == two[:limit]:
        return limit
    return int(np.argmax(np.asarray(one[:limit]) != np.asarray(two[:limit])))
