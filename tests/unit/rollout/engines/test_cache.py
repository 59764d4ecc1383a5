import random

import pytest
import torch

from sdar.rollout.engines.cache import FIRST_ROOM, RaggedCache, Row

HEADS, DIM = 2, 3


def vectors(layer: int, tokens: list[int]) -> torch.Tensor:
    """Different for every layer, token and head."""
    base = torch.tensor(tokens, dtype=torch.float32)[:, None, None] + 1000 * layer
    return base + torch.arange(HEADS)[:, None] / 10 + torch.arange(DIM) / 100


def extend(cache: RaggedCache, row: Row, tokens: list[int]) -> None:
    """As a forward pass does it: room first, then keys and values of every layer."""
    start = len(row.tokens)
    slab = cache.reserve(row, start + len(tokens))
    for layer in (0, 1):
        new = vectors(layer, tokens)
        for kept, sign in zip(slab.layer(layer, new), (1, -1), strict=True):
            kept[row.place, :, start : start + len(tokens)] = sign * new.transpose(0, 1)
    row.tokens.extend(tokens)


def stored(row: Row, layer: int) -> tuple[torch.Tensor, torch.Tensor]:
    if row.slab is None:
        return torch.zeros(0, HEADS, DIM), torch.zeros(0, HEADS, DIM)
    keys, values = row.slab.layer(layer, torch.zeros(0, HEADS, DIM))
    span = slice(None, len(row.tokens))
    return keys[row.place, :, span].transpose(0, 1), values[row.place, :, span].transpose(0, 1)


def opened(cache: RaggedCache, *sessions: str | None) -> list[Row]:
    rows = [cache.open(session) for session in sessions]
    assert None not in rows
    return rows


@pytest.mark.parametrize("seed", range(6))
def test_rows_keep_their_contents_through_any_course_of_events(seed):
    rng = random.Random(seed)
    cache = RaggedCache(max_rows=7)
    expected: dict[str, list[int]] = {}
    for _ in range(120):
        names = rng.sample("abcdefghij", rng.randint(1, 6))
        sessions = [None if rng.random() < 0.2 else name for name in names]
        rows = opened(cache, *sessions)
        for session, row in zip(sessions, rows, strict=True):
            if row.tokens:
                assert row.tokens == expected[session]
            extend(cache, row, [rng.randrange(900) for _ in range(rng.choice((0, 1, 40, 150)))])
        placed = [row for row in rows if row.slab]
        kept = [row for row in placed if row.slab is placed[0].slab]
        if kept:
            kept = rng.sample(kept, rng.randint(1, len(kept)))
            kept[0].slab.front(kept)
            assert sorted(row.place for row in kept) == list(range(len(kept)))
        for row in rows:
            for layer in (0, 1):
                keys, values = stored(row, layer)
                torch.testing.assert_close(keys, vectors(layer, row.tokens))
                torch.testing.assert_close(values, -vectors(layer, row.tokens))
        expected |= {row.session: list(row.tokens) for row in rows if row.session}
        for row in rows:
            cache.close(row)
        if rng.random() < 0.3:
            cache.release([rng.choice("abcdefghij"), "unknown"])


def test_a_long_row_costs_short_ones_nothing():
    cache = RaggedCache(max_rows=8)
    rows = opened(cache, *"abcdefgh")
    for row in rows:
        extend(cache, row, [row.place + 5] * 100)
    small = cache.nbytes
    assert small == 8 * FIRST_ROOM * HEADS * DIM * 4 * 4, "two layers of keys and values in float32"
    extend(cache, rows[3], [7] * 15 * FIRST_ROOM)
    assert cache.nbytes == small + 16 * FIRST_ROOM * HEADS * DIM * 4 * 4
    torch.testing.assert_close(stored(rows[3], 1)[0], vectors(1, rows[3].tokens))
    torch.testing.assert_close(stored(rows[4], 1)[0], vectors(1, rows[4].tokens))
    cache.release(["d"])
    assert cache.nbytes == small


def test_a_session_keeps_its_row_until_released():
    cache = RaggedCache(max_rows=4)
    first, second = opened(cache, "a", "b")
    extend(cache, first, [1, 2, 3])
    extend(cache, second, [7])
    cache.close(first)
    cache.close(second)
    assert opened(cache, "b", "a") == [second, first]
    cache.release(["a"])
    assert opened(cache, "a")[0].tokens == []
    assert opened(cache, "b")[0].tokens == [7]


def test_a_session_that_is_not_busy_makes_room():
    cache = RaggedCache(max_rows=2)
    for row, token in zip(opened(cache, "a", "b"), (1, 2), strict=True):
        extend(cache, row, [token])
        cache.close(row)
    assert [row.tokens for row in opened(cache, "b", "c")] == [[2], []]
    assert cache.open("a") is None, "both rows are busy"
    assert cache.open(None) is None


def test_copy_gives_the_target_the_same_keys_and_values():
    cache = RaggedCache(max_rows=2)
    source, target = opened(cache, "a", "b")
    extend(cache, source, [5, 6])
    cache.copy(source, target)
    extend(cache, source, [8])
    assert target.tokens == [5, 6]
    torch.testing.assert_close(stored(target, 1)[0], vectors(1, [5, 6]))


def test_rows_without_a_session_are_forgotten_on_close():
    cache = RaggedCache(max_rows=2)
    rows = opened(cache, None, "a")
    for row in rows:
        extend(cache, row, [1, 2])
    for row in rows:
        cache.close(row)
    assert [row.tokens for row in opened(cache, None, "a")] == [[], [1, 2]]


def test_rows_that_generate_outlive_the_last_session():
    cache = RaggedCache(max_rows=3)
    kept, other = opened(cache, "a", None)
    extend(cache, other, [4, 5])
    cache.close(kept)
    cache.release(["a"])
    torch.testing.assert_close(stored(other, 0)[0], vectors(0, [4, 5]))
