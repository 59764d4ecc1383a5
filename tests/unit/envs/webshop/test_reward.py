"""Scores, against the written rules."""

from dataclasses import replace

import pytest
from tests.unit.envs.webshop.shops import small_shop

from sdar.envs.webshop.fuzzy import alike
from sdar.envs.webshop.goals import Goal
from sdar.envs.webshop.reward import Semantics, count_options, judge, type_factor

SHOP = small_shop()
SHIRT = SHOP["B0SHIRT001"]
CLEAN, OFFICIAL = Semantics.CLEAN, Semantics.OFFICIAL
GOAL = Goal(SHIRT.asin, "", ("slim fit", "soft"), (("color", "red"), ("size", "x-small")), 30.0)


@pytest.mark.parametrize("semantics", [CLEAN, OFFICIAL])
def test_the_score_is_the_share_of_what_was_asked_for(semantics):
    def score(price=25.99, goal=GOAL, **chosen):
        return judge(goal, SHIRT, SHIRT, price, chosen, semantics).total

    assert score(color="red", size="x-small") == 1.0
    assert score(color="red") == 4 / 5
    assert score() == 3 / 5
    assert score(price=30.0) == 3 / 5
    assert score(price=30.01) == 2 / 5
    assert score(goal=replace(GOAL, attributes=("slim fit", "quiet"))) == 2 / 5
    assert score(goal=Goal(SHIRT.asin, "", ("slim fit",), ())) == 1.0


def test_attributes_are_alike_or_in_the_texts():
    def met(*attributes):
        return judge(Goal(SHIRT.asin, "", attributes, ()), SHIRT, SHIRT, 1.0, {}, CLEAN).attributes

    assert met("slim-fit") == met("fit") == met("machine washables") == 1
    assert met("arvo") == met("cotton") == met("a shirt.") == met("wash  soft") == 1
    assert met("loose fitting", "machine dryable", "Arvo!shirt") == 0


def test_options_by_value():
    def met(*values):
        return count_options(GOAL, dict(enumerate(values)), CLEAN)

    assert met("red", "x-small") == met("X-Small", "red ") == 2
    assert met("red", "small") == met("dark red", "x-small") == 1
    assert met("blue") == met() == 0


def test_official_options_keep_their_quirks():
    def met(goal_option, *values):
        return count_options(replace(GOAL, options=(goal_option,)), dict(enumerate(values)), OFFICIAL)

    assert met(("size", "x-small"), "small") == 1
    assert met(("size", "small"), "x-small") == 0
    assert met(("size", "small"), "large") == 0
    assert met(("color", "coal grey"), "coal grey") == 1
    assert met(("color", "coal grey"), "light grey") == 1
    assert met(("color", "red"), "dark red") == 0
    assert met(("color", "2005black"), "2005black") == 0
    assert met(("", "2005black"), "2005black") == 1
    assert met(("", "z2-pink"), "pink") == 1


def test_the_product_type():
    def factor(**changes):
        return type_factor(SHIRT, replace(SHIRT, **changes))

    unlike = {"query": "hats", "path": frozenset({"Clothing"})}
    assert factor() == factor(query="hats") == factor(path=frozenset()) == 1.0
    assert factor(title="Shirt", **unlike) == 1.0
    assert factor(title="Hat") == 0.0
    long = replace(SHIRT, title="Shirt for Men, Summer Beach Vacation Party")
    assert type_factor(long, replace(SHIRT, title="Party Hat", **unlike)) == 0.5
    assert type_factor(long, replace(SHIRT, title="Party Hat", path=SHIRT.path, query="hats")) == 1.0
    longer = replace(long, title=f"{long.title} Holiday Casual Fashion Style Travel")
    assert type_factor(longer, replace(SHIRT, title="Party Hat")) == 0.1
    assert type_factor(replace(SHIRT, title="24"), replace(SHIRT, title="Hat", **unlike)) == 0.5


def test_the_type_scales_the_score():
    lamp = SHOP["B0LAMP0001"]
    assert judge(GOAL, SHIRT, lamp, 1.0, {}, CLEAN).total == 0.0


@pytest.mark.parametrize(
    ("one", "two", "same"),
    [
        ("easy care", "easy care", True),
        ("machine wash", "machine washable", True),
        ("noise cancelling", "noise canceling", True),
        ("light blue", "blue", True),
        ("steel toe", "steel tip", False),
        ("red", "", False),
        ("!!!", "!!!", False),
        ("café", "caf", True),
        ("xx", "x-large", False),
    ],
)
def test_likeness(one, two, same):
    assert alike(one, two) is alike(two, one) is same
