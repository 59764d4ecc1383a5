"""Trees of what sequences begin with alike."""

import random

import pytest

from sdar.model.prefixes import MIN_SHARED, apart, shared

Sequences = list[tuple[int, ...]]


def drawn(seed: int) -> Sequences:
    """Sequences that often go on from a part of an earlier one, are equal to it, or a beginning of it."""
    rng = random.Random(seed)
    made: Sequences = [tuple(rng.choices(range(50), k=rng.randint(1, 90)))]
    for _ in range(rng.randrange(30)):
        other = rng.choice(made)
        tail = tuple(rng.choices(range(50), k=rng.choice((0, 1, 5, 40))))
        made.append((other[: rng.randint(0, len(other))] + tail) or (1,))
    return made


@pytest.mark.parametrize("seed", range(20))
def test_every_sequence_is_a_path_of_segments(seed: int) -> None:
    sequences = drawn(seed)
    tree, places = shared(sequences)
    for sequence, place in zip(sequences, places, strict=True):
        assert tuple(tree.tokens[i] for i in place) == sequence
        assert [tree.positions[i] for i in place] == list(range(len(sequence)))
    owner = [number for number, length in enumerate(tree.lengths) for _ in range(length)]
    assert len(owner) == len(tree.tokens)
    assert min(tree.lengths) > 0
    for place in places:
        path = list(dict.fromkeys(owner[i] for i in place))
        assert [tree.parents[number] for number in path] == [-1, *path[:-1]]


def test_what_is_too_short_to_share_is_repeated() -> None:
    short, long = tuple(range(MIN_SHARED - 1)), tuple(range(MIN_SHARED))
    assert shared([(*short, 97), (*short, 98)])[0].lengths == [MIN_SHARED, MIN_SHARED]
    assert shared([(*long, 97), (*long, 98)])[0].lengths == [MIN_SHARED, 1, 1]
    assert shared([(7,), (7,)])[0].lengths == [1], "equal sequences are one, however short"


def test_apart_keeps_order_and_shares_nothing() -> None:
    tree, places = apart([(3, 4), (3, 4), (1,)])
    assert (tree.tokens, tree.parents) == ([3, 4, 3, 4, 1], [-1, -1, -1])
    assert [place.tolist() for place in places] == [[0, 1], [2, 3], [4]]


def test_thousands_of_sequences_that_each_go_on_from_the_last() -> None:
    """Every prefix of a long one: a path of thousands of segments, built without recursion."""
    sequences = [tuple(range(end)) for end in range(MIN_SHARED, 1500, MIN_SHARED)]
    tree, _ = shared(sequences)
    assert tree.lengths == [MIN_SHARED] * len(sequences)
    assert tree.parents == list(range(-1, len(sequences) - 1))
