"""Scores and order, against the written rules."""

import math

import pytest

from sdar.envs.webshop.search import Index, stored_length


def test_scores_follow_the_formula():
    texts = ["red shirt", "red red shirt with long sleeves", "blue lamp"]
    index = Index(["a", "b", "c"], texts)
    lengths = [2, 5, 2]
    mean = sum(lengths) / 3

    def score(count, length, documents):
        weight = math.log(1 + (3 - documents + 0.5) / (documents + 0.5))
        return weight * count / (count + 0.9 * (0.6 + 0.4 * length / mean))

    expected = [
        score(1, 2, 2) + 2 * score(1, 2, 2),
        score(2, 5, 2) + 2 * score(1, 5, 2),
        0,
    ]
    assert index.scores("red shirts shirt") == pytest.approx(expected, rel=1e-6)
    assert index.search("red shirts shirt", 5) == ([0, 1] if expected[0] > expected[1] else [1, 0])


def test_equal_scores_go_by_id_and_only_matches_are_found():
    index = Index(["c", "a", "b", "d"], ["shirt", "shirt", "shirt", "lamp"])
    assert index.search("shirt", 10) == [1, 2, 0]
    assert index.search("shirt", 2) == [1, 2]
    assert index.search("sofa", 10) == index.search("", 10) == []


def test_many_matches_are_cut_without_losing_any():
    size = 500
    index = Index([f"{i:03d}" for i in range(size)], ["tea " * (1 + i % 7) for i in range(size)])
    everything = index.search("tea", size)
    assert index.search("tea", 10) == everything[:10]
    assert all(i % 7 == 6 for i in everything[:10])


def test_an_empty_shop_finds_nothing():
    assert Index([], []).search("tea", 10) == []


def test_stored_lengths():
    assert [stored_length(n) for n in range(41)] == list(range(41))
    assert stored_length(41) == 40
    steps = [stored_length(n) for n in range(10_000)]
    assert steps == sorted(steps)
    assert all(stored <= n and stored > 0.88 * n for n, stored in enumerate(steps[1:], 1))
