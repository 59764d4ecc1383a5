"""Generated worlds are what they seem: questions have one answer, and the passages state it."""

import hashlib
from collections import Counter

import pytest

from sdar.envs.search_qa.generated import generated_tasks
from sdar.envs.search_qa.names import CLOSED, TYPES, name, word
from sdar.envs.search_qa.worlds import COMPARE, KINDS, LARGE, RELATIONS, SMALL, World


def test_names_are_different():
    numbers = [*range(3_000), *range(500_000, 502_000), *range(998_000, 1_000_000)]
    assert len({word(number) for number in numbers}) == len(numbers)
    for kind in TYPES:
        assert len({name(kind, number) for number in numbers}) == len(numbers)
    closed = [entity for names in CLOSED.values() for entity in names]
    assert len(set(closed)) == len(closed)
    assert not {word.lower() for word in closed} & {
        relation for table in RELATIONS.values() for relation in table
    }
    assert all(SMALL[kind] <= len(CLOSED[kind]) for kind in TYPES)


@pytest.mark.parametrize(("counts", "closed", "passages"), [(SMALL, True, 144), (LARGE, False, 870)])
def test_every_fact_is_stated_once(counts, closed, passages):
    world = World("x", counts, closed=closed)
    texts = [passage.text for passage in world.passages()]
    assert len(texts) == passages
    everything = " ".join(texts)
    for (subject, relation), fact in world.facts.items():
        assert (fact.subject, fact.relation) == (subject, relation)
        assert fact.value != subject
        assert everything.count(fact.stated) == 1
        assert {subject, relation, fact.value} <= set(fact.stated.removesuffix(".").split()) or not closed
    assert world.facts == World("x", counts, closed=closed).facts
    assert world.facts != World("y", counts, closed=closed).facts


@pytest.mark.parametrize("size", ["compact", "full"])
def test_following_the_facts_leads_to_the_answer(size):
    answers = Counter()
    for task in generated_tasks(size, "train", 200):
        puzzle, (world, _) = task.payload.puzzle(), task.payload.world()
        question, facts = puzzle.question, puzzle.facts
        assert (question.id, question.kind) == (task.id, task.kind)
        if task.kind == COMPARE:
            one, two = facts
            assert one.relation == two.relation
            assert one.subject != two.subject
            assert question.text == f"Do {one.subject} and {two.subject} have the same {one.relation}?"
            assert question.answers == ("yes" if one.value == two.value else "no",)
            answers[question.answers[0]] += 1
            continue
        assert len(facts) == 1 + KINDS.index(task.kind)
        asked = question.text.removeprefix("What is the ").removesuffix("?").split(" of the ")
        asked[-1:] = asked[-1].split(" of ")
        at = asked.pop()
        assert at == facts[0].subject
        for relation in reversed(asked):
            at = world.facts[at, relation].value
        assert question.answers == (at,)
    assert min(answers.values()) > 10


def test_an_answer_is_not_in_the_question():
    for task in generated_tasks("compact", "train", 400):
        question = task.payload.puzzle().question
        assert question.answers[0] not in question.text


def test_questions_do_not_change():
    lines = [repr(task.payload.puzzle().question) for task in generated_tasks("compact", "held_out", 128)]
    lines += [repr(task.payload.puzzle().question) for task in generated_tasks("full", "held_out", 128)]
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16] == "d7871d3ba562e300"


def test_the_needed_fact_is_found_by_thing_and_relation():
    found = alone = total = 0
    for task in generated_tasks("compact", "train", 120):
        _, engine = task.payload.world()
        for fact in task.payload.puzzle().facts:
            precise, vague = engine.search([f"{fact.subject} {fact.relation}", fact.subject], 3)
            total += 1
            found += any(fact.stated == passage.text for passage in precise)
            alone += any(fact.stated == passage.text for passage in vague)
    assert found == total
    assert 0.5 < alone / total < 0.9
