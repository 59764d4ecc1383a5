import random

import pytest
import torch

from sdar.rollout.engines.cache import RaggedCache, Row

HEADS, DIM = 2, 3


def vectors(layer: int, tokens: list[int]) -> torch.Tensor:
    """Different for every layer, token and head."""
    base = torch.tensor(tokens, dtype=torch.float32)[:, None, None] + 1000 * layer
    return base + torch.arange(HEADS)[:, None] / 10 + torch.arange(DIM) / 100


def extend(cache: RaggedCache, row: Row, tokens: list[int]) -> None:
    cache.reserve(len(row.tokens) + len(tokens))
    position = torch.arange(len(row.tokens), len(row.tokens) + len(tokens))
    place = torch.full_like(position, row.place)
    for layer in (0, 1):
        cache.write(layer, vectors(layer, tokens), -vectors(layer, tokens), place, position)
    row.tokens.extend(tokens)


def stored(cache: RaggedCache, row: Row, layer: int) -> tuple[torch.Tensor, torch.Tensor]:
    nothing, nowhere = torch.zeros(0, HEADS, DIM), torch.zeros(0, dtype=torch.long)
    keys, values = cache.write(layer, nothing, nothing, nowhere, nowhere)
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
            extend(cache, row, [rng.randrange(900) for _ in range(rng.randint(0, 40))])
        kept = rng.sample(rows, rng.randint(1, len(rows)))
        cache.front(kept)
        assert sorted(row.place for row in kept) == list(range(len(kept)))
        for row in rows:
            for layer in (0, 1):
                keys, values = stored(cache, row, layer)
                torch.testing.assert_close(keys, vectors(layer, row.tokens))
                torch.testing.assert_close(values, -vectors(layer, row.tokens))
        expected |= {row.session: list(row.tokens) for row in rows if row.session}
        for row in rows:
            cache.close(row)
        if rng.random() < 0.3:
            cache.release([rng.choice("abcdefghij"), "unknown"])


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
    torch.testing.assert_close(stored(cache, target, 1)[0], vectors(1, [5, 6]))


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
    torch.testing.assert_close(stored(cache, other, 0)[0], vectors(0, [4, 5]))
