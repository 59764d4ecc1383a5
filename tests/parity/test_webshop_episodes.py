"""The 50 recorded human episodes, played again page by page to the recorded reward.

All 50 rewards come out. But no product in them is among the 1,000, so what their texts decide is taken from
the record and put into products made for the test: the search results, the share of attributes met
(`r_att`), and the parts of the product type (`query_match`, `category_match`, `title_score`). What is
computed is everything else: the pages, the options chosen and met, the price, the factor for the type, and
the score.

In 12 of the 577 steps people did what only a browser can: going back in its history to another page, having
two products open, or clicking again before the page was reloaded, which lost the first click. The test
follows them."""

import itertools
import json
from ast import literal_eval
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from sdar.envs.webshop.catalogue import NO_ATTRIBUTES, Product
from sdar.envs.webshop.goals import Goal
from sdar.envs.webshop.pages import PAGE_SIZE
from sdar.envs.webshop.reward import Semantics
from sdar.envs.webshop.session import Place, Session

PLACES = {
    "index": Place.SEARCH,
    "search_results": Place.RESULTS,
    "item_page": Place.ITEM,
    "item_sub_page": Place.DETAIL,
    "done": Place.DONE,
}
BLANK = Product("", "", "", (), (1.0,), {}, NO_ATTRIBUTES, "", "", frozenset())


class RecordedShop:
    """A catalogue of the products that an episode shows, whose search gives the results that it records."""

    def __init__(self, pages: list[dict[str, Any]]) -> None:
        end = pages[-1]
        self.goal, self.info = end["goal"], end["reward_info"]
        self.results: dict[tuple[str, int], list[str]] = {}
        options: dict[str, dict[str, set[str]]] = {}
        for page in pages:
            content = page.get("content") or {}
            if page["page"] == "search_results":
                words = " ".join(content["keywords"]).lower()
                self.results[words, content["page"]] = content["search_result_asins"]
                options.update({asin: options.get(asin, {}) for asin in content["search_result_asins"]})
            for name, value in content.get("options", {}).items():
                options.setdefault(content["asin"], {}).setdefault(name, set()).add(value)
        made = {asin: self._make(asin, options.get(asin, {})) for asin in {*options, end["content"]["asin"]}}
        made[self.goal["asin"]] = self._wanted(made.get(self.goal["asin"]))
        bought = end["content"]["asin"]
        if bought != self.goal["asin"]:
            made[bought] = self._bought(made[bought])
        self.products = tuple(made.values())
        self.place = {asin: place for place, asin in enumerate(made)}
        self.prices = tuple(end["content"]["price"] for _ in made)

    def __getitem__(self, asin: str) -> Product:
        return self.products[self.place[asin]]

    def search(self, words: str) -> tuple[Product, ...]:
        pages = [number for query, number in self.results if query == words]
        filler = [next(iter(self.place))] * PAGE_SIZE
        asins = (self.results.get((words, number), filler) for number in range(1, max(pages) + 1))
        return tuple(self[asin] for page in asins for asin in page)

    def _make(self, asin: str, options: dict[str, set[str]]) -> Product:
        offered = {name: tuple(sorted(values)) for name, values in options.items()}
        return replace(BLANK, asin=asin, options=offered)

    def _wanted(self, product: Product | None) -> Product:
        size = Fraction(self.info["title_score"]).limit_denominator(60).denominator
        nouns = tuple(f"noun{number}" for number in range(size))
        attributes = tuple(self.goal["attributes"][: self.num_attributes])
        path = frozenset(("a", "b"))
        found = product or self._make(self.goal["asin"], {})
        return replace(found, tagged=nouns, query="wanted", path=path, attributes=attributes)

    def _bought(self, product: Product) -> Product:
        wanted = self._wanted(None)
        shared = round(self.info["title_score"] * len(wanted.nouns))
        return replace(
            product,
            tagged=wanted.nouns[:shared],
            query="wanted" if self.info["query_match"] else "other",
            path=wanted.path if self.info["category_match"] else frozenset("a"),
            attributes=wanted.attributes,
        )

    @property
    def num_attributes(self) -> int:
        return round(self.info["r_att"] * len(self.goal["attributes"]))


def action_between(before: dict[str, Any], after: dict[str, Any]) -> str:
    """What somebody who was on the first page did to get to the second."""
    here, there = before.get("content") or {}, after.get("content") or {}
    match PLACES[before["page"]], PLACES[after["page"]]:
        case _, Place.SEARCH:
            return "click[back to search]"
        case _, Place.DONE:
            return "click[buy now]"
        case _, Place.DETAIL:
            return f"click[{after['url'].split('/')[-2].lower()}]"
        case Place.DETAIL, Place.ITEM:
            return "click[< prev]"
        case Place.ITEM, Place.ITEM if here["asin"] == there["asin"]:
            changed = there["options"].items() - here["options"].items()
            return f"click[{changed.pop()[1]}]" if changed else "reload"
        case _, Place.ITEM:
            return f"click[{there['asin'].lower()}]"
        case Place.RESULTS, Place.RESULTS if here["keywords"] == there["keywords"]:
            return "click[next >]" if there["page"] > here["page"] else "click[< prev]"
        case Place.ITEM, Place.RESULTS:
            return "click[< prev]"
    return f"search[{' '.join(there['keywords'])}]"


def play(path: Path) -> tuple[Session, int, dict[str, Any]]:
    """The finished session, how often the person did what a page does not offer, and the last record."""
    pages = [json.loads(line) for line in path.read_text().splitlines()]
    shop, jumps = RecordedShop(pages), 0
    goal = Goal(
        asin=shop.goal["asin"],
        text=shop.goal["instruction_text"],
        attributes=tuple(shop.goal["attributes"]),
        options=tuple(("", value) for value in shop.goal["goal_options"]),
        limit=shop.goal["price_upper"],
    )
    session = Session(shop, goal, shop.prices, Semantics.OFFICIAL)  # type: ignore[arg-type]
    for before, after in itertools.pairwise(pages):
        options = (after.get("content") or {}).get("options", {})
        if after["page"] == "done" and session.chosen != options:
            jumps += 1
            bring_to(session, before, options)
        session.act(action_between(before, after))
        if not is_at(session, after):
            jumps += 1
            bring_to(session, after, options)
            assert is_at(session, after)
    return session, jumps, pages[-1]


def is_at(session: Session, page: dict[str, Any]) -> bool:
    """Whether a session shows a recorded page."""
    content = page.get("content") or {}
    results = content.get("search_result_asins", ())
    found = [name.upper() for name in session.page.buttons if name.upper() in results]
    return (
        session.place is PLACES[page["page"]]
        and session.chosen == content.get("options", {})
        and (session.item.asin if session.item else None) == content.get("asin")
        and found == list(dict.fromkeys(results))
    )


def bring_to(session: Session, page: dict[str, Any], options: dict[str, str]) -> None:
    """Follow a jump by the shortest way that the shop offers."""
    content = page["content"]
    words = content["keywords"]
    session.act(f"search[{' '.join(literal_eval(words) if isinstance(words, str) else words)}]")
    for _ in range(int(content["page"]) - 1):
        session.act("click[next >]")
    if page["page"] != "search_results":
        session.act(f"click[{content['asin'].lower()}]")
    for value in options.values():
        session.act(f"click[{value}]")


def test_episodes(shared_data):
    paths = sorted((shared_data / "webshop" / "human_trajs_50").glob("*.jsonl"))
    assert len(paths) == 50
    jumps = 0
    for path in paths:
        session, jumped, end = play(path)
        jumps += jumped
        assert session.score, path.name
        assert session.chosen == end["content"]["options"], path.name
        assert session.score.total == pytest.approx(end["reward"]), path.name
        assert session.score.kind == end["reward_info"]["r_type"], path.name
        assert session.score.price == end["reward_info"]["r_price"], path.name
        if session.goal.options:
            share = session.score.options / len(session.goal.options)
            assert share == pytest.approx(end["reward_info"]["r_option"]), path.name
    assert jumps == 12
