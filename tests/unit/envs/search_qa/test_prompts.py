"""What the model is shown, and how its text is read."""

import pytest

from sdar.envs.search_qa.prompts import (
    CompactPrompts,
    FullPrompts,
    parse_any_case,
    parse_bare,
    parse_published,
    show_compact,
    show_json,
    show_plain,
    squeeze,
)
from sdar.envs.search_qa.retrieval import Passage
from sdar.types import Observation

FIRST = Observation("Who wrote Emma?", "Who wrote Emma?")
FOUND = Observation("<information>Doc 1</information>", FIRST.goal)
PASSAGES = (Passage("7", '"Emma"\nEmma is a novel by "Jane" Austen.\n'), Passage("9", '"Bath"\nIn Zürich.'))


@pytest.mark.parametrize(
    ("text", "action", "valid"),
    [
        ("<think>hm</think><search> who wrote Emma </search>", "search who wrote Emma", True),
        ("<search>a</search>", "search a", True),
        ("<ANSWER>Jane\nAusten</Answer> rest", "answer Jane\nAusten", True),
        ("<search>a</search><answer>b</answer>", "search a", False),
        ("<answer>b</answer><search>a</search>", "search a", False),
        ("<answer>b</answer><answer>c</answer>", "answer b", False),
        ("<search>a</search><search>b</search>", "search a", False),
        ("<search><search>a</search>", "search <search>a", False),
        ("<answer>b</answer><search>a", "answer b", False),
        ("<search></search>", "search", True),
        ("</search><answer>b</answer>", "", False),
        ("<search>never closed", "", False),
        ("It was Jane Austen.", "", False),
        ("", "", False),
    ],
)
def test_published_rule(text, action, valid):
    assert parse_published(text) == (action, valid)


@pytest.mark.parametrize(
    ("text", "published", "any_case"),
    [
        ("</SEARCH><search>a</search>", "search a", ""),
        ("</ANSWER><answer>b</answer>", "answer b", ""),
        ("<search>a</search>", "search a", "search a"),
        ("<SEARCH>a</SEARCH>", "search a", "search a"),
        (
            "<search>a<answer>b</answer><answer> c </answer></search>",
            "answer c",
            "search a<answer>b</answer><answer> c </answer>",
        ),
        ("<search>a <answer>b</search>", "search a <answer>b", "search a <answer>b"),
        ("<search></answer><answer></search>", "answer", "search </answer><answer>"),
    ],
)
def test_tags_in_other_letters_and_nesting(text, published, any_case):
    assert parse_published(text)[0] == published
    assert parse_any_case(text)[0] == any_case


def test_bare_actions():
    assert parse_bare(" search jane  austen \n") == ("search jane  austen", True)
    for text in ("search", "answer ", "Search x", "find x", "", "searching x"):
        assert parse_bare(text) == ("", False)


def test_passages_as_published():
    assert show_plain(PASSAGES) == (
        '<information>Doc 1(Title: "Emma") Emma is a novel by "Jane" Austen.\n'
        'Doc 2(Title: "Bath") In Zürich.</information>'
    )
    assert show_json(PASSAGES) == (
        r'<information>{"result": "Doc 1: \"Emma\"\nEmma is a novel by \"Jane\" Austen.\n'
        r'Doc 2: \"Bath\"\nIn Z\u00fcrich.\n"}</information>'
    )
    assert show_compact(PASSAGES) == "found emma novel by jane austen ; in zürich"


def test_nothing_found_is_said():
    assert "No passage" in show_plain(())
    assert "No passage" in show_json(())
    assert show_compact(()) == "found nothing"


def test_full_prompts_show_question_history_and_what_was_found():
    prompts = FullPrompts()
    (opening,) = prompts.opening(FIRST)
    for part in (FIRST.goal, "<think>", "<search>", "<answer>"):
        assert part in opening.content
    assert prompts.window(FIRST, [], FIRST, 0) == (opening,)
    later = Observation("<information>Doc 2</information>", FIRST.goal)
    (message,) = prompts.window(FIRST, [(FIRST, "search emma"), (FOUND, "search author")], later, 3)
    for part in (
        FIRST.goal, "taken 3 step", "Step 2: <search>emma</search> <information>Doc 1</information>",
        "Step 3: <search>author</search> <information>Doc 2</information>", "<answer>",
    ):  # fmt: skip
        assert part in message.content
    (following,) = prompts.following(FOUND)
    assert following.content == FOUND.text
    (reminder,) = prompts.following(Observation("", FIRST.goal))
    assert "neither" in reminder.content


def test_compact_prompts_are_short():
    prompts = CompactPrompts()
    (opening,) = prompts.opening(Observation("", "What is the ruler of the country of Velm?"))
    assert opening.content == "question ruler of country of velm"
    found = Observation("found oria country of velm", FIRST.goal)
    (window,) = prompts.window(FIRST, [(FIRST, "search velm country")], found, 1)
    assert window.content == "question wrote emma\nsearch velm country\nfound oria country of velm"
    (reminder,) = prompts.following(Observation(""))
    assert reminder.content == "search or answer"


@pytest.mark.parametrize(
    ("prompts", "parse"), [(FullPrompts(), parse_published), (CompactPrompts(), parse_bare)]
)
def test_answers_are_read_back(prompts, parse):
    for action in ("search capital of Peru", "answer Lima"):
        assert parse(prompts.answer(action)) == (action, True)


def test_squeeze_keeps_what_tells_facts_apart():
    assert squeeze("The mayor of Velm is Anna.") == "mayor of velm anna"
    assert squeeze("Anna is the mayor of Velm.") == "anna mayor of velm"
    assert squeeze("Do Anna and Boris have the same home?") == "anna and boris same home"
