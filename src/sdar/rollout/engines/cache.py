"""Keys and values of many sequences of different lengths, kept between calls.

A sequence lives in a `Row`. The rows that generate are kept near the front of the cache, so that attention
reads a plain view `keys[:rows, :, :width]` and the cache is never gathered.
"""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field

from torch import Tensor

_LENGTH_STEP = 64


@dataclass(eq=False, slots=True)
class Row:
    """One sequence: the keys and values of `tokens` lie at index `place` of the cache's first axis."""

    place: int
    session: Hashable | None = None
    busy: bool = False
    """Whether something generates in it; then nobody else can have it."""
    tokens: list[int] = field(default_factory=list)


class RaggedCache:
    """At most `max_rows` rows; each layer has keys and values of shape (rows, heads, length, head dim)."""

    def __init__(self, max_rows: int) -> None:
        self.max_rows = max_rows
        self._rows: list[Row] = []
        self._sessions: dict[Hashable, Row] = {}
        self._layers: dict[int, tuple[Tensor, Tensor]] = {}
        self._shape = (0, 0)

    def clear(self) -> None:
        """Forget every row and free the memory."""
        self._rows, self._sessions, self._layers, self._shape = [], {}, {}, (0, 0)

    def open(self, session: Hashable | None) -> Row | None:
        """The row of a session, or an empty one, now busy; None when all rows are.

        When `max_rows` is reached, a session that is not busy makes room.
        """
        row = self._sessions.get(session) if session is not None else None
        if row is None:
            row = self._free()
            if row is None:
                return None
            row.session = session
            if session is not None:
                self._sessions[session] = row
        row.busy = True
        return row

    def _free(self) -> Row | None:
        idle = [row for row in self._rows if not row.busy]
        unused = next((row for row in idle if row.session is None), None)
        if unused is None and len(self._rows) < self.max_rows:
            self._rows.append(Row(len(self._rows)))
            return self._rows[-1]
        row = unused or next(iter(idle), None)
        if row is not None:
            self._empty(row)
        return row

    def _empty(self, row: Row) -> None:
        self._sessions.pop(row.session, None)
        row.session, row.tokens = None, []

    def release(self, sessions: Iterable[Hashable]) -> None:
        """Empty the rows of these sessions; unknown ones are ignored. The last one to go frees the memory."""
        for session in sessions:
            if session in self._sessions:
                self._empty(self._sessions[session])
        self._trim()

    def close(self, row: Row) -> None:
        """Nothing generates in `row` any more; it is kept for its session, if it has one."""
        row.busy = False
        if row.session is None:
            self._empty(row)
            self._trim()

    def _trim(self) -> None:
        if not self._sessions and not any(row.busy for row in self._rows):
            self.clear()

    def front(self, rows: Sequence[Row]) -> None:
        """Bring `rows` to the places 0 ... len(rows) - 1; those that are there already stay."""
        inside = {row.place for row in rows}
        targets = iter([place for place in range(len(rows)) if place not in inside])
        for row in rows:
            if row.place >= len(rows):
                self._swap(row, self._rows[next(targets)])

    def _swap(self, one: Row, two: Row) -> None:
        length = max(len(one.tokens), len(two.tokens))
        for kept in self._tensors():
            first, second = kept[one.place, :, :length], kept[two.place, :, :length]
            saved = second.clone() if two.tokens else None
            second.copy_(first)
            if saved is not None:
                first.copy_(saved)
        one.place, two.place = two.place, one.place
        self._rows[one.place], self._rows[two.place] = one, two

    def copy(self, source: Row, target: Row) -> None:
        """Fill `target` with what `source` holds."""
        target.tokens = list(source.tokens)
        length = len(source.tokens)
        for kept in self._tensors():
            kept[target.place, :, :length] = kept[source.place, :, :length]

    def reserve(self, length: int) -> None:
        """Make room for `length` tokens in every row. Grows by half, so that copies stay rare."""
        rows, room = self._shape
        if length > room:
            room = -(-max(length, room + room // 2) // _LENGTH_STEP) * _LENGTH_STEP
        if len(self._rows) > rows:
            rows = max(len(self._rows), min(self.max_rows, rows + rows // 2))
        if (rows, room) != self._shape:
            self._shape = (rows, room)
            for layer, (keys, values) in self._layers.items():
                self._layers[layer] = (_grown(keys, *self._shape), _grown(values, *self._shape))

    def write(
        self, layer: int, keys_NHD: Tensor, values_NHD: Tensor, place_N: Tensor, position_N: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Store keys and values of N tokens; returns all that the layer holds."""
        if layer not in self._layers:
            shape = (self._shape[0], keys_NHD.shape[1], self._shape[1], keys_NHD.shape[2])
            # Zeros, because attention multiplies what it masks by 0 and garbage may be NaN.
            self._layers[layer] = (keys_NHD.new_zeros(shape), values_NHD.new_zeros(shape))
        keys, values = self._layers[layer]
        keys[place_N, :, position_N] = keys_NHD
        values[place_N, :, position_N] = values_NHD
        return keys, values

    def _tensors(self) -> Iterable[Tensor]:
        return (kept for pair in self._layers.values() for kept in pair)


def _grown(old: Tensor, rows: int, room: int) -> Tensor:
    new = old.new_zeros(rows, old.shape[1], room, old.shape[3])
    new[: old.shape[0], :, : old.shape[2]] = old
    return new
