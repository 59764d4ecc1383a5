"""A visit, page by page."""

from dataclasses import replace

import pytest
from tests.unit.envs.webshop.shops import EXTRA, HUMAN, ITEMS, item, small_shop

from sdar.envs.webshop.catalogue import Catalogue, read_products
from sdar.envs.webshop.generate import open_generated
from sdar.envs.webshop.goals import Goals
from sdar.envs.webshop.pages import detail_page
from sdar.envs.webshop.prompts import CompactPrompts, parse_bare, parse_strict
from sdar.envs.webshop.reward import Semantics
from sdar.envs.webshop.session import Place, Session, read_action

GOAL = "Find me slim fit shirts with color: red, and size: small, and price lower than 60.00 dollars"


def visit(catalogue: Catalogue | None = None, semantics: Semantics = Semantics.CLEAN) -> Session:
    catalogue = catalogue or small_shop()
    goals = Goals(catalogue, 0)
    return Session(catalogue, goals[0], goals.prices, semantics)


def go(session: Session, *actions: str) -> str:
    for action in actions:
        assert session.act(action), action
    return session.page.text


def test_pages_read_like_the_official_ones():
    session = visit()
    assert session.page.text == f"WebShop [SEP] Instruction: [SEP] {GOAL} [SEP] Search"
    head = f"Instruction: [SEP] {GOAL} [SEP] Back to Search"
    assert go(session, "search[slim shirt]") == (
        f"{head} [SEP] Page 1 (Total results: 2) [SEP] Next > [SEP] B0SHIRT002 [SEP] Belmar Slim Fit Shirt "
        "[SEP] $15.0 to $30.5 [SEP] B0SHIRT001 [SEP] Arvo Slim Fit Shirt [SEP] $25.99"
    )
    assert session.page.buttons == ("back to search", "next >", "b0shirt002", "b0shirt001")
    item = go(session, "click[b0shirt001]")
    assert item == (
        f"{head} [SEP] < Prev [SEP] color [SEP] red [SEP] light blue | white [SEP] size [SEP] small "
        "[SEP] x-small [SEP] Arvo Slim Fit Shirt [SEP] Price: $25.99 [SEP] Rating: N.A. [SEP] Description "
        "[SEP] Features [SEP] Reviews [SEP] Buy Now"
    )
    assert session.page.buttons == (
        "back to search", "< prev", "description", "features", "reviews", "buy now",
        "red", "light blue | white", "small", "x-small",
    )  # fmt: skip
    assert go(session, "click[description]") == f"{head} [SEP] < Prev [SEP] A shirt."
    assert go(session, "click[< prev]", "click[features]") == (
        f"{head} [SEP] < Prev [SEP] Machine wash [SEP] Soft/Cotton"
    )
    assert session.page.buttons == ("back to search", "< prev")
    assert go(session, "click[< prev]", "click[reviews]") == f"{head} [SEP] < Prev"
    assert go(session, "click[< prev]", "click[red]") == item


def test_blank_texts():
    lamp = small_shop()["B0LAMP0002"]
    assert (
        detail_page("x", lamp, "description").text == "Instruction: [SEP] x [SEP] Back to Search [SEP] < Prev"
    )

    def shown(description):
        return detail_page("x", replace(lamp, description=description), "description").text.split(" [SEP] ")[
            4:
        ]

    assert [shown(text) for text in (" \n", " ", " a\r\nb ", "")] == [[], [""], ["a\nb"], []]


def test_buying_scores_the_choices():
    session = visit()
    go(session, "search[shirt]", "click[b0shirt001]", "click[red]", "click[light blue | white]", "click[red]")
    assert session.chosen == {"color": "red"}
    assert session.score is None
    go(session, "click[small]", "click[description]", "click[< prev]", "click[buy now]")
    assert session.score
    assert session.score.total == 1.0
    assert (session.place, session.page.buttons) == (Place.DONE, ())
    assert not session.act("click[back to search]")


@pytest.mark.parametrize("leave", ["click[< prev]", "search[shirt]", "click[back to search]"])
def test_leaving_a_product_forgets_the_choices(leave):
    session = visit()
    go(session, "search[shirt]", "click[b0shirt001]", "click[red]", leave)
    assert session.chosen == {}
    if session.place is Place.SEARCH:
        go(session, "search[shirt]")
    go(session, "click[b0shirt001]", "click[buy now]")
    assert session.score
    assert session.score.options == 0


def test_turning_pages():
    session = visit(open_generated(300))
    first = go(session, "search[machine wash]")
    assert "< prev" not in session.page.buttons
    second = go(session, "click[next >]")
    assert session.page.buttons[1:3] == ("< prev", "next >")
    assert second != first
    link = session.page.buttons[3]
    assert go(session, f"click[{link}]", "click[< prev]") == second
    assert go(session, "click[< prev]") == first
    beyond = go(session, *["click[next >]"] * 6)
    assert beyond.endswith("Page 7 (Total results: 29) [SEP] < Prev [SEP] Next >")


@pytest.mark.parametrize(
    "action",
    ["", "search", "search[]", "buy now", "click[search]", "click[B0SHIRT001]", "click[red]", "Search[shirt]",
     "click[buy now]", "search[a[b]", "\nsearch[a]", "click[none]"],
)  # fmt: skip
def test_senseless_actions_do_nothing(action):
    session = visit()
    before = session.page
    assert not session.act(action)
    assert session.page is before


def test_case_and_rest_do_not_matter():
    session = visit()
    assert go(session, "search[SHIRT] now", "click[B0Shirt001]") == go(
        visit(), "search[shirt]", "click[b0shirt001]"
    )


def test_an_unsuccessful_search():
    assert "(Total results: 0)" in go(visit(), "search[ ]")
    assert "(Total results: 0)" in go(visit(), "search[sofa]")


def test_special_searches_are_official_only():
    official = visit(semantics=Semantics.OFFICIAL)
    assert "(Total results: 5)" in go(official, "search[<r>]")
    assert "(Total results: 3)" in go(official, "search[<c> garden]")
    assert "(Total results: 2)" in go(official, "search[<q> lamps]")
    assert "(Total results: 0)" in go(official, "search[<c>]")
    assert "(Total results: 0)" in go(official, "search[<a> slim fit]")
    assert "(Total results: 0)" in go(visit(), "search[<c> fashion]")
    assert "(Total results: 2)" in go(visit(), "search[<q> lamps]")


@pytest.mark.parametrize(
    ("text", "action"),
    [
        ("search[a b]", ("search", "a b")),
        ("search[a]b]", ("search", "a]b")),
        ("search[a[b]c]", ("search[a", "b]c")),
        ("search[a] click[b]", ("search[a] click", "b")),
        ("click[[x]", ("click[", "x")),
        ("[x]", ("[x]", "")),
        ("a\n[b]", ("a\n[b]", "")),
        ("[" * 100_000, ("[" * 100_000, "")),
    ],
)
def test_reading_actions(text, action):
    assert read_action(text) == action


@pytest.mark.parametrize("name", ["large [xl]", "[s", "x]", "us [m] [l", "a\nb"])
def test_what_a_page_offers_can_be_clicked(name):
    hat = item("B0HAT00001", "Hat", options={"Size": [name]})
    session = visit(Catalogue(list(read_products([*ITEMS, hat], EXTRA, HUMAN))))
    go(session, "search[hat]", "click[b0hat00001]")
    assert name in session.page.buttons
    assert session.act(f"click[{name.upper()}]")
    assert session.chosen == {"size": name}
    assert not session.act(f"click[{name}!]")


def test_an_option_with_brackets_in_an_answer():
    offered = ["click[large [xl]]"]
    assert CompactPrompts().answer(offered[0]) == "click large [xl]"
    assert parse_bare("click large [xl]", offered) == (offered[0], True)
    assert parse_strict("<think>x</think><action>click[Large [XL]]</action>", offered) == (offered[0], True)
