"""What a model reads, and how its answers are understood."""

import re

import pytest
from tests.unit.envs.webshop.shops import small_shop

from sdar.envs.webshop.env import WebshopEnv
from sdar.envs.webshop.goals import Goals
from sdar.envs.webshop.prompts import (
    MOST_CHARACTERS,
    CompactPrompts,
    FullPrompts,
    parse_bare,
    parse_published,
    parse_strict,
)
from sdar.envs.webshop.reading import View, Wish
from sdar.envs.webshop.session import Session
from sdar.types import Observation, Task

GOAL = "Find me slim fit shirts with color: red, and size: small, and price lower than 60.00 dollars"


def shop(numbered=False, parse=parse_bare):
    catalogue = small_shop()
    goals = Goals(catalogue, 0)
    env = WebshopEnv(lambda task: Session(catalogue, goals[0], goals.prices), parse, numbered, 15, 10.0)
    return env, env.reset(Task("a", "b"))


def test_full_opening():
    _, first = shop()
    (message,) = FullPrompts().opening(first)
    assert f"Your task is to: {GOAL}" in message.content
    assert "You see: 'Search'" in message.content
    assert "[\n'search[<your query>]',\n'click[search]',\n]" in message.content
    assert message.content.count(GOAL) == 1


def test_full_following_shows_the_page_without_the_goal():
    env, _ = shop()
    (message,) = FullPrompts().following(env.step("search lamp").observation)
    assert (
        "You see: 'Back to Search' [SEP] 'Page 1 (Total results: 2)' [SEP] 'Next >' [SEP] 'B0LAMP0002'"
        in (message.content)
    )
    assert "'click[b0lamp0001]'," in message.content
    assert GOAL not in message.content


def test_full_window_shows_history():
    env, first = shop()
    two = env.step("search lamp").observation
    three = env.step("click b0lamp0001").observation
    history = [(first, "search[lamp]"), (two, "click[b0lamp0001]")]
    text = FullPrompts().window(first, history, three, 2)[0].content
    assert "[Observation 1: ''Search'', Action 1: 'search[lamp]']" in text
    assert "Action 2: 'click[b0lamp0001]']" in text
    assert "This is step 3. You see: 'Back to Search' [SEP] '< Prev' [SEP] 'Corvin Desk Lamp'" in text
    assert FullPrompts().window(first, [], first, 0) == FullPrompts().opening(first)


def test_full_window_drops_history_that_is_too_long():
    _, first = shop()
    long = Observation(f"Instruction: [SEP] {GOAL} [SEP] {'x' * MOST_CHARACTERS}", GOAL, ())
    assert "Observation" not in FullPrompts().window(first, [(long, "search[x]")], first, 1)[0].content
    short = Observation(f"Instruction: [SEP] {GOAL} [SEP] x", GOAL, ())
    assert "Observation 1: ''x''" in FullPrompts().window(first, [(short, "search[x]")], first, 1)[0].content


def test_compact_pages():
    env, first = shop(numbered=True)
    said = [CompactPrompts().opening(first)[0].content]
    for answer in (
        "search slim shirt",
        "click 2",
        "click features",
        "click < prev",
        "click red",
        "click buy now",
    ):
        said.append(CompactPrompts().following(env.step(answer).observation)[0].content)
    item = "Arvo Slim Fit Shirt $25.99\ncolor: red, light blue | white\nsize: small, x-small"
    assert said == [
        "find slim fit shirts, color red, size small, under $60",
        "1 Belmar Slim Fit Shirt $15 to $30.5\n2 Arvo Slim Fit Shirt $25.99",
        item,
        "Machine wash\nSoft/Cotton",
        item,
        item,
        "Thank you for shopping with us!\nYour score (min 0.0, max 1.0)\n0.75",
    ]


def test_compact_empty_pages():
    env, first = shop(numbered=True)
    assert CompactPrompts().following(env.step("search sofa").observation)[0].content == "nothing"
    assert CompactPrompts().following(env.step("click back to search").observation)[0].content == "search"
    assert CompactPrompts().window(first, [], first, 0) == CompactPrompts().opening(first)


def test_compact_window():
    env, first = shop(numbered=True)
    two = env.step("search lamp").observation
    three = env.step("click 1").observation
    history = [(first, "search[lamp]"), (two, "click[1]")]
    assert CompactPrompts().window(first, history, three, 2)[0].content.splitlines() == [
        "find slim fit shirts, color red, size small, under $60",
        "search lamp",
        "1 Desk Lamp $995",
        "2 Corvin Desk Lamp $100",
        "click 1",
        "Desk Lamp $995",
    ]


@pytest.mark.parametrize(
    ("text", "action", "valid"),
    [
        ("<think>a</think><action>Search[Red  Shoes]</action>", "search[red  shoes]", True),
        ("<think>a</think><action>dance</action>", "dance", True),
        ("<action>click[x]</action>", "click[x]", False),
        ("<think>去</think><action>click[x]</action>", "click[x]", False),
        ("I would rather click[buy now]", "ather click[buy now]", False),
        ("</action><action>", "", False),
        ("", "", False),
    ],
)
def test_published_parsing(text, action, valid):
    assert parse_published(text) == (action, valid and bool(action))


def test_strict_parsing_wants_a_possible_action():
    possible = ("search[<your query>]", "click[search]", "click[b01]")

    def valid(action):
        return parse_strict(f"<think>a</think><action>{action}</action>", possible)[1]

    assert valid("search[anything]")
    assert valid("click[b01]")
    assert not valid("click[b02]")
    assert not valid("search[]")
    assert not parse_strict("<action>click[b01]</action>", possible)[1]


@pytest.mark.parametrize(
    ("text", "action", "valid"),
    [
        (" click 1 ", "click[1]", True),
        ("click  < prev", "click[< prev]", True),
        ("search red [x", "search[red [x]", False),
        ("search red", "search[red]", True),
        ("search", "search", False),
        ("click 2", "click[2]", False),
        ("click[1]", "click[1]", False),
        ("buy now", "buy now", False),
    ],
)
def test_bare_parsing(text, action, valid):
    assert parse_bare(text, ("click[1]", "click[< prev]")) == (action, valid)


@pytest.mark.parametrize(
    ("prompts", "parse"), [(FullPrompts(), parse_strict), (CompactPrompts(), parse_bare)]
)
def test_answers_are_read_back(prompts, parse):
    possible = ("click[light blue | white]", "click[< prev]", "click[a] b]")
    for action in ("search[red shoes]", *possible):
        assert parse(prompts.answer(action), possible) == (action, True)


def test_wishes():
    wish = Wish.read("Find me easy clean, non slip rugs with high pile with color: a, and b, and size: 5: 7")
    assert wish == Wish("easy clean, non slip rugs with high pile", (("color", "a, and b"), ("size", "5: 7")))
    assert wish.words == ("easy", "clean", "non", "slip", "rugs", "high", "pile", "b", "5", "7")
    plain = Wish.read("i need a lamp, and price lower than 40.00 dollars")
    assert (plain.what, plain.limit, plain.words) == ("i need a lamp", 40.0, ("lamp",))
    assert Wish.read("") == Wish("")


@pytest.mark.parametrize(
    "text", ["", "[SEP]", "Next >", "Price: ", "a [SEP] Price: $1", "Back to Search [SEP] Next > [SEP] x"]
)
@pytest.mark.parametrize("buttons", [(), ("buy now",), ("next >", "x", "y"), ("buy now", "next >", "a")])
def test_odd_pages_are_read_all_the_same(text, buttons):
    observation = Observation(text, "goal", tuple(f"click[{name}]" for name in buttons))
    assert View.read(observation).buttons == buttons
    assert isinstance(CompactPrompts().following(observation)[0].content, str)


def test_prompts_do_not_quote_the_published_ones():
    _, first = shop()
    text = FullPrompts().opening(first)[0].content
    assert not re.search("expert autonomous agent|Now it's your turn", text)
