"""The cache and the watch over failures, which every search engine gets."""

import logging

import pytest

from sdar.envs.search_qa.retrieval import Cached, Passage, RetrievalError, Watched
from sdar.errors import DataError


class Engine:
    """Finds the query itself; a query `x` fails."""

    def __init__(self):
        self.asked = []

    def search(self, queries, k):
        self.asked.append(list(queries))
        if "x" in queries:
            raise RetrievalError("the line is dead")
        return [(Passage(query, f"{query} {k}"),) for query in queries]


def test_a_known_query_is_not_searched_again():
    engine = Engine()
    cached = Cached(engine)
    assert [found[0].id for found in cached.search(["a", "b", "a"], 3)] == ["a", "b", "a"]
    assert [found[0].contents for found in cached.search(["b", "c"], 3)] == ["b 3", "c 3"]
    assert cached.search(["a"], 2)[0][0].contents == "a 2"
    assert engine.asked == [["a", "b"], ["c"], ["a"]]


def test_the_oldest_result_is_forgotten_first():
    engine = Engine()
    cached = Cached(engine, size=2)
    for query in ("a", "b", "a", "c", "a", "b"):
        cached.search([query], 1)
    assert engine.asked == [["a"], ["b"], ["c"], ["b"]]


def test_a_batch_larger_than_the_cache_is_still_answered():
    assert len(Cached(Engine(), size=2).search(["a", "b", "c", "d"], 1)) == 4


def test_a_failure_is_not_remembered():
    engine = Engine()
    cached = Cached(engine)
    for _ in range(2):
        with pytest.raises(RetrievalError):
            cached.search(["x"], 1)
    assert len(engine.asked) == 2


def test_failures_are_counted_and_said(caplog):
    watched = Watched(Engine(), patience=100)
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            with pytest.raises(RetrievalError):
                watched.search(["x"], 1)
        watched.search(["a"], 1)
    assert (watched.searches, watched.failures) == (6, 5)
    assert [record.getMessage()[:22] for record in caplog.records] == [
        "1 of 1 searches failed", "2 of 2 searches failed", "4 of 4 searches failed",
    ]  # fmt: skip
    assert "the line is dead" in caplog.text


def test_an_engine_that_is_gone_ends_the_run():
    watched = Watched(Engine(), patience=3)
    outcomes = []
    for query in ("x", "x", "a", "x", "x", "x"):
        try:
            watched.search([query], 1)
            outcomes.append("found")
        except RetrievalError:
            outcomes.append("failed")
        except DataError as error:
            outcomes.append(str(error))
    assert outcomes[:5] == ["failed", "failed", "found", "failed", "failed"]
    assert outcomes[5] == "3 searches failed in a row, the last one because the line is dead"


def test_contents_of_one_line_are_a_text_without_a_title():
    passage = Passage("1", "Lima is a town.")
    assert (passage.title, passage.text) == ("", "Lima is a town.")
