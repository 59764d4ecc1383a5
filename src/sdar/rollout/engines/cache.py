"""Keys and values of many sequences of different lengths, kept between calls.

A sequence lives in a `Row`. Rows of about the same length share a `Slab`, so that none pays for the longest
of all: its room is less than twice what it needs, or `FIRST_ROOM`. A row that outgrows its slab moves to the
next. The rows that generate are kept near the front of their slab, so that attention reads a plain view
`keys[:rows, :, :width]` and the cache is never gathered.
"""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field

from torch import Tensor

FIRST_ROOM = 256
"""Tokens that rows of the first slab have room for; those of each further one have twice as much."""


@dataclass(eq=False, slots=True)
class Row:
    """One sequence: the keys and values of `tokens` lie at index `place` of the first axis of its slab."""

    session: Hashable | None = None
    busy: bool = True
    """Whether something generates in it; then nobody else can have it."""
    tokens: list[int] = field(default_factory=list)
    slab: "Slab | None" = None
    place: int = -1


class Slab:
    """Rows with room for `room` tokens; each layer has keys and values of (rows, heads, room, head dim)."""

    def __init__(self, room: int, max_rows: int) -> None:
        self.room, self.max_rows = room, max_rows
        self._rows: list[Row | None] = []
        self._layers: dict[int, tuple[Tensor, Tensor]] = {}
        self._size = 0

    @property
    def is_empty(self) -> bool:
        """Whether no row is in it."""
        return not self._rows

    def add(self, row: Row) -> None:
        """Give `row` a place. Grows by half, so that copies stay rare."""
        free = next((place for place, owner in enumerate(self._rows) if owner is None), len(self._rows))
        self._rows[free : free + 1] = [row]
        row.slab, row.place = self, free
        if free >= self._size:
            self._size = max(free + 1, min(self.max_rows, self._size + self._size // 2))
            for number, (keys, values) in self._layers.items():
                self._layers[number] = (_grown(keys, self._size), _grown(values, self._size))

    def remove(self, row: Row) -> None:
        """Take the place of `row` back."""
        self._rows[row.place] = None
        row.slab, row.place = None, -1
        while self._rows and self._rows[-1] is None:
            self._rows.pop()

    def front(self, rows: Sequence[Row]) -> None:
        """Bring `rows` to the places 0 ... len(rows) - 1; those that are there already stay."""
        inside = {row.place for row in rows}
        targets = iter([place for place in range(len(rows)) if place not in inside])
        for row in rows:
            if row.place >= len(rows):
                self._swap(row, next(targets))

    def _swap(self, row: Row, target: int) -> None:
        other, place = self._rows[target], row.place
        length = max(len(row.tokens), len(other.tokens) if other else 0)
        for kept in self.tensors():
            first, second = kept[place, :, :length], kept[target, :, :length]
            saved = second.clone() if other else None
            second.copy_(first)
            if saved is not None:
                first.copy_(saved)
        self._rows[place], self._rows[target] = other, row
        row.place = target
        if other:
            other.place = place

    def layer(self, number: int, like_NHD: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of a layer, made where they are missing, for heads and dtype of `like_NHD`."""
        if number not in self._layers:
            shape = (self._size, like_NHD.shape[1], self.room, like_NHD.shape[2])
            # Zeros, because attention multiplies what it masks by 0 and garbage may be NaN.
            self._layers[number] = (like_NHD.new_zeros(shape), like_NHD.new_zeros(shape))
        return self._layers[number]

    def fill(self, row: Row, source: "Slab", place: int, length: int) -> None:
        """Give `row` the first tokens of what is at `place` of `source`."""
        for number, kept in source._layers.items():
            like = kept[0][0].transpose(0, 1)
            for mine, theirs in zip(self.layer(number, like), kept, strict=True):
                mine[row.place, :, :length] = theirs[place, :, :length]

    def tensors(self) -> Iterable[Tensor]:
        """All keys and values."""
        return (kept for pair in self._layers.values() for kept in pair)


class RaggedCache:
    """At most `max_rows` rows, in slabs."""

    def __init__(self, max_rows: int) -> None:
        self.max_rows = max_rows
        self._rows: dict[int, Row] = {}
        self._sessions: dict[Hashable, Row] = {}
        self._slabs: dict[int, Slab] = {}

    @property
    def nbytes(self) -> int:
        """Memory of all keys and values."""
        return sum(kept.nbytes for slab in self._slabs.values() for kept in slab.tensors())

    def clear(self) -> None:
        """Forget every row and free the memory."""
        self._rows, self._sessions, self._slabs = {}, {}, {}

    def open(self, session: Hashable | None) -> Row | None:
        """The row of a session, or an empty one, now busy; None when all rows are.

        When `max_rows` is reached, a session that is not busy makes room.
        """
        row = self._sessions.get(session) if session is not None else None
        if row is not None:
            row.busy = True
            return row
        if len(self._rows) == self.max_rows:
            idle = next((row for row in self._rows.values() if not row.busy), None)
            if idle is None:
                return None
            self._remove(idle)
        row = Row(session)
        self._rows[id(row)] = row
        if session is not None:
            self._sessions[session] = row
        return row

    def release(self, sessions: Iterable[Hashable]) -> None:
        """Forget these sessions; unknown ones are ignored. The last one to go frees the memory."""
        for session in sessions:
            if session in self._sessions:
                self._remove(self._sessions[session])
        self._trim()

    def close(self, row: Row) -> None:
        """Nothing generates in `row` any more; it is kept for its session, if it has one."""
        row.busy = False
        if row.session is None:
            self._remove(row)
            self._trim()

    def _remove(self, row: Row) -> None:
        self._sessions.pop(row.session, None)
        self._rows.pop(id(row), None)
        self._leave(row)

    def _trim(self) -> None:
        if not self._rows:
            self.clear()

    def _leave(self, row: Row) -> None:
        slab = row.slab
        if slab is not None:
            slab.remove(row)
            if slab.is_empty and len(self._slabs) > 1:
                self._slabs.pop(slab.room, None)

    def reserve(self, row: Row, length: int) -> Slab:
        """Make room for `length` tokens in `row`; the slab that it is in then."""
        old, place = row.slab, row.place
        if old is not None and length <= old.room:
            return old
        room = FIRST_ROOM
        while room < length:
            room *= 2
        slab = self._slabs.setdefault(room, Slab(room, self.max_rows))
        self._leave(row)
        slab.add(row)
        if old is not None:
            slab.fill(row, old, place, len(row.tokens))
        return slab

    def copy(self, source: Row, target: Row) -> None:
        """Fill `target` with what `source` holds."""
        length = len(source.tokens)
        assert source.slab is not None
        self.reserve(target, length).fill(target, source.slab, source.place, length)
        target.tokens = list(source.tokens)


def _grown(old: Tensor, rows: int) -> Tensor:
    new = old.new_zeros(rows, *old.shape[1:])
    new[: old.shape[0]] = old
    return new
