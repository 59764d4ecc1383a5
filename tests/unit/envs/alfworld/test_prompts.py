"""What the model is shown, and how its text is read."""

import pytest

from sdar.envs.alfworld.prompts import (
    CompactPrompts,
    FullPrompts,
    parse_bare,
    parse_published,
    parse_strict,
    squeeze,
)
from sdar.types import Observation

FIRST = Observation(
    "-= Welcome to TextWorld, ALFRED! =-\n\nYou are in the middle of a room. Looking quickly around you, "
    "you see a desk 1, and a shelf 1.\n\nYour task is to: put a mug in desk.",
    "put a mug in desk",
    ("go to desk 1", "go to shelf 1", "help", "look"),
)
LATER = Observation(
    "You arrive at shelf 1. On the shelf 1, you see a mug 1.", FIRST.goal, ("help", "take mug 1 from shelf 1")
)


@pytest.mark.parametrize(
    ("text", "action", "valid"),
    [
        ("<think>a</think><action>Go To Desk 1</action>", "go to desk 1", True),
        ("<think>a</think> <ACTION>\n look </ACTION> rest", "look", True),
        ("<think>a</think><action>look</action><action>help</action>", "look", True),
        ("<think>a</think><action></action>", "", True),
        ("<action>look</action>", "look", False),
        ("<think>a<action>look</action>", "look", False),
        ("a\n</think>\n<action>look</action>", "look", True),
        ("a<action>look</action></think>", "look", False),
        ("<think>去</think><action>look</action>", "look", False),
        ("I would go to the desk 1 and take the mug\n", "o the desk 1 and take the mug\n", False),
        ("<think>why</think><action>look", "<think>why</think><action>look", False),
        ("", "", False),
    ],
)
def test_published_rule(text, action, valid):
    assert parse_published(text) == (action, valid)


def test_strict_rule_wants_an_admissible_command():
    text = "<think>a</think><action>go to desk 1</action>"
    assert parse_strict(text, FIRST.admissible) == ("go to desk 1", True)
    assert parse_strict(text, LATER.admissible) == ("go to desk 1", False)
    assert parse_strict("<action>look</action>", FIRST.admissible) == ("look", False)


def test_bare_commands():
    assert parse_bare(" look\n", FIRST.admissible) == ("look", True)
    assert parse_bare("Look", FIRST.admissible) == ("Look", False)


def test_full_prompts_show_task_history_and_possible_commands():
    prompts = FullPrompts()
    (opening,) = prompts.opening(FIRST)
    assert FIRST.text in opening.content
    assert "'go to shelf 1'" in opening.content
    assert "help" not in opening.content
    assert "<think>" in opening.content
    assert prompts.window(FIRST, [], FIRST, 0) == (opening,)
    (message,) = prompts.window(FIRST, [(FIRST, "look"), (LATER, "go to shelf 1")], LATER, 7)
    for part in (
        "put a mug in desk", "taken 7 step", "[Observation 6: '-=", "Action 7: 'go to shelf 1']", "step 8",
        f"You observe: {LATER.text}", "'take mug 1 from shelf 1'", "<action>",
    ):  # fmt: skip
        assert part in message.content
    assert "go to desk 1'" not in message.content
    (following,) = prompts.following(LATER)
    assert following.content.startswith(LATER.text)


def test_compact_prompts_are_short():
    prompts = CompactPrompts()
    (opening,) = prompts.opening(FIRST)
    assert opening.content == "desk 1 shelf 1\nYour task to: put mug in desk"
    (following,) = prompts.following(LATER)
    assert following.content == "On shelf 1 mug 1"
    (window,) = prompts.window(FIRST, [(FIRST, "go to shelf 1")], LATER, 1)
    assert window.content == f"{opening.content}\ngo to shelf 1\n{following.content}"


@pytest.mark.parametrize("prompts", [FullPrompts(), CompactPrompts()])
def test_answers_are_read_back(prompts):
    parse = parse_bare if isinstance(prompts, CompactPrompts) else parse_strict
    for command in FIRST.admissible:
        assert parse(prompts.answer(command), FIRST.admissible) == (command, True)


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("You open the drawer 1. The drawer 1 is open. In it, you see nothing.", "drawer 1 open nothing"),
        ("You arrive at loc 12. The safe 1 is closed.", "safe 1 closed"),
        ("You put the egg 1 in/on the bowl 1.", "put egg 1 in/on bowl 1"),
        ("You heat the mug 1 using the microwave 1.", "heat mug 1 using microwave 1"),
        ("Nothing happens.", "Nothing happens"),
    ],
)
def test_squeeze_keeps_every_name_and_verb(text, short):
    words = iter(squeeze(text).split())
    assert all(word in words for word in short.split())
    assert len(squeeze(text).split()) <= len(short.split()) + 1
