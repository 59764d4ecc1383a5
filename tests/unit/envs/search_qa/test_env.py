"""The course of an episode."""

import pytest

from sdar.envs.search_qa.env import FAILED, SearchQAEnv
from sdar.envs.search_qa.prompts import parse_bare, show_compact
from sdar.envs.search_qa.questions import Question
from sdar.envs.search_qa.retrieval import Passage, RetrievalError
from sdar.types import Task

QUESTION = Question("q", "nq", "Who wrote Emma?", ("Jane Austen", "Austen"))
TASK = Task("q", "nq", QUESTION)


class Shelf:
    """Finds two passages; a query with `broken` in it fails."""

    def __init__(self):
        self.queries = []

    def search(self, queries, k):
        self.queries += queries
        if "broken" in queries[0]:
            raise RetrievalError("no answer")
        about = [Passage("1", '"Emma"\nA novel by Austen.'), Passage("2", '"Bath"\nA town.')]
        return [tuple(about[:k])] * len(queries)


@pytest.fixture
def shelf():
    return Shelf()


@pytest.fixture
def env(shelf):
    env = SearchQAEnv(
        lambda task: (task.payload, shelf), parse_bare, show_compact, top_k=2, max_turns=4, reward=2.0
    )
    env.reset(TASK)
    return env


def test_a_right_answer_ends_the_episode(env, shelf):
    assert env.reset(TASK).goal == QUESTION.text
    found = env.step("search emma novel")
    assert (found.action, found.done, found.valid) == ("search emma novel", False, True)
    assert found.observation.text == "found novel by austen ; town"
    assert found.metrics == {"f1": 0.0, "searches": 1.0, "failed_searches": 0.0, "answer_shown": 1.0}
    assert env.step("search emma").metrics["answer_shown"] == 0.0, "once an episode"
    right = env.step("answer the AUSTEN!")
    assert (right.done, right.success, right.reward, right.truncated) == (True, True, 2.0, False)
    assert right.metrics == {"f1": 1.0, "searches": 0.0, "failed_searches": 0.0, "answer_shown": 0.0}
    assert env.step("search again") is right
    assert shelf.queries == ["emma novel", "emma"]


def test_a_wrong_answer_ends_it_too(env):
    wrong = env.step("answer jane eyre")
    assert (wrong.done, wrong.success, wrong.reward) == (True, False, 0.0)
    assert wrong.metrics["f1"] == 0.5


def test_the_last_turn_is_not_looked_up(env, shelf):
    for turn in range(4):
        step = env.step(f"search {turn}")
        assert not step.done
        assert step.truncated == (turn == 3)
    assert shelf.queries == ["0", "1", "2"]
    assert step.observation.text == ""


def test_a_text_without_an_action_costs_a_turn(env, shelf):
    steps = [env.step("who knows") for _ in range(4)]
    assert {(step.action, step.valid, step.observation.text) for step in steps} == {("", False, "")}
    assert [step.truncated for step in steps] == [False, False, False, True]
    assert not shelf.queries


def test_a_failed_search_is_shown_and_counted(env):
    step = env.step("search broken")
    assert step.observation.text == FAILED
    assert step.metrics == {"f1": 0.0, "searches": 1.0, "failed_searches": 1.0, "answer_shown": 0.0}
    assert (step.valid, step.done, step.truncated) == (True, False, False)
    assert env.step("search emma").metrics["failed_searches"] == 0.0


def test_the_answer_counts_as_shown_by_whole_words():
    env = SearchQAEnv(
        lambda task: (task.payload, Shelf()), parse_bare, show_compact, top_k=1, max_turns=4, reward=1
    )
    for answer, shown in (("nov", 0.0), ("A Novel", 1.0), ("town", 0.0)):
        env.reset(Task("x", "nq", Question("x", "nq", "?", (answer,))))
        assert env.step("search x").metrics["answer_shown"] == shown


def test_odd_characters_reach_no_retriever(env, shelf):
    env.step("search \ud800 x")
    assert shelf.queries == ["\ufffd x"]
