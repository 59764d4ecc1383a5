"""WebShop against the official code, by digests of what that code gives on the 1,000 real products.

The digests were taken from princeton-nlp/WebShop at 64fa2a5 (thefuzz 0.19, bs4, jinja2; the SDAR fork's
seeding of goals), run on the same files, with `guess_nouns` in place of the tagger and, in the walks, this
package's search, which is tested by itself. `lucene_top50.tsv.xz` is from Lucene on the official index.
"""

import hashlib
import lzma
from collections.abc import Iterable, Iterator
from random import Random

import pytest

from sdar.envs.webshop.catalogue import Catalogue, open_catalogue
from sdar.envs.webshop.goals import Goals
from sdar.envs.webshop.pages import detail_page, item_page, results_page, search_page
from sdar.envs.webshop.reward import Semantics, judge
from sdar.envs.webshop.session import Place, Session

GOALS = {
    (False, 0): (6910, "57f937bb44176a191832342e16d60880821da26c7352a8c05ab4ae2726a43a3a"),
    (False, 7): (6910, "80f6685324a2abbf2ed1de3860818c47eb6774285ea152640ab43f1d8b8ae33b"),
    (False, 1000): (6910, "98c055499878cc2ed3ae186d94e8c134f565dd268d7386a262f0509a0812eb5f"),
    (True, 0): (13, "6f6f801068abf07c24e724d2993301b080a17c1fe889933bafd7609ad8270cd0"),
    (True, 1000): (13, "122e052f9d9156c7e6c369319a52e0704a196320d89966c90a68256d056fbe86"),
}
PAGES = "0530993bb6e8dc778554f268a98a460515a4c810605d3b88705baf8639001c7e"
PURCHASES = "8e1dc0dc3fc9c16409e4e0fe1969a5c0fd63b366f43c9a8d32352aaaabb1368e"
WALKS = "cab003bab04562a30c70da37bf824eec40af913a1082f0a4771d9c86b7b2e1b6"
SENTENCE = (
    'Find me slim fit, straight leg men\'s pants & "x" <b> '
    "with color: black, and price lower than 40.00 dollars"
)
JUNK = (
    "", "search", "search[]", "click[", "CLICK[buy now]", "click[Buy Now]", "click[search]", "search[ ]",
    "click[nothing]", "search[zzzqqq]", "search[a]b] x", "search[x[y]]", "click[back to search] ", "foo[bar]",
    " click[next >]", "search[Men's Shirt]", "click[Next >]", "click[< Prev]", "search[the]",
)  # fmt: skip


def digest(lines: Iterable[object]) -> str:
    found = hashlib.sha256()
    for line in lines:
        found.update(f"{line}\n".encode())
    return found.hexdigest()


@pytest.fixture(scope="module")
def catalogue(shared_data) -> Catalogue:
    return open_catalogue(shared_data / "webshop", 1000)


@pytest.mark.parametrize(("human", "seed"), GOALS)
def test_goals_and_their_order(catalogue, human, seed):
    goals = Goals(catalogue, seed, human)
    ordered = [goals[place] for place in goals.shuffled()]
    lines = (f"{goal.asin}\t{goal.text}\t{goal.limit:.2f}" for goal in ordered)
    assert (len(goals), digest(lines)) == GOALS[human, seed]


def test_the_50_best_of_every_query(catalogue, shared_data):
    with lzma.open(shared_data / "webshop" / "lucene_top50.tsv.xz", "rt", encoding="utf-8") as file:
        rows = [line.rstrip("\n").split("\t") for line in file]
    assert len(rows) == 1806
    for query, found in rows:
        best = [pair.rpartition(":") for pair in found.split()]
        assert [product.asin for product in catalogue.search(query)] == [asin for asin, _, _ in best], query
        scores = catalogue.index.scores(query)
        for asin, _, score in best[:5]:
            assert scores[catalogue.place[asin]] == pytest.approx(float(score), abs=1e-4)


def pages(catalogue: Catalogue) -> Iterator[object]:
    """4,301 pages: every product, three details of each, 300 pages of results, and the search page."""
    yield search_page(SENTENCE)
    for number, product in enumerate(catalogue.products):
        yield item_page(SENTENCE, product)
        yield from (detail_page(SENTENCE, product, name) for name in ("description", "features", "reviews"))
        if number % 10 == 0:
            for page in (1, 2, 9):
                shown = catalogue.products[number : number + 10] if page < 9 else ()
                yield results_page(SENTENCE, shown, page, 50)


def test_pages(catalogue):
    lines = [f"{page.text}\t{list(page.buttons)}" for page in pages(catalogue)]
    assert len(lines) == 4301
    assert digest(lines) == PAGES


def purchases(catalogue: Catalogue, goals: Goals) -> Iterator[tuple]:
    """12,000 goals with a product and options: half the goal's own product, else one that a search finds."""
    random = Random(5)
    for _ in range(12_000):
        place = random.randrange(len(goals))
        goal = goals[place]
        wanted = bought = catalogue[goal.asin]
        if random.random() < 0.5:
            found = catalogue.search(goal.text) if random.random() < 0.6 else catalogue.products
            bought = random.choice(found[:20])
        chosen = {
            name: random.choice(values) for name, values in bought.options.items() if random.random() < 0.8
        }
        if bought is wanted and random.random() < 0.5:
            chosen = dict(goal.options)
        yield place, goal, wanted, bought, chosen


def test_scores(catalogue):
    goals = Goals(catalogue, 0)
    lines = []
    for place, goal, wanted, bought, chosen in purchases(catalogue, goals):
        score = judge(
            goal, wanted, bought, goals.prices[catalogue.place[bought.asin]], chosen, Semantics.OFFICIAL
        )
        lines.append(f"{place} {score.total!r} {score.kind} {score.price}")
    assert digest(lines) == PURCHASES


class Visit:
    """A session, as the walks below see it."""

    def __init__(self, catalogue: Catalogue, goals: Goals, place: int) -> None:
        self.session = Session(catalogue, goals[place], goals.prices, Semantics.OFFICIAL)

    def look(self) -> tuple[str, bool, list[str]]:
        page = self.session.page
        return page.text, self.session.place is Place.SEARCH, list(page.buttons)

    def act(self, action: str) -> tuple[float, bool]:
        self.session.act(action)
        score = self.session.score
        return (score.total, True) if score else (0.0, False)


def walk(number: int, catalogue: Catalogue, goals: Goals, visit) -> Iterator[object]:
    """What 25 random actions, some of them senseless, give; up to a purchase."""
    random = Random(number)
    place = random.randrange(len(goals))
    goal = goals[place]
    here = visit(catalogue, goals, place)
    yield here.look()
    for _ in range(25):
        _, _, buttons = here.look()
        chance = random.random()
        titles = (catalogue[goal.asin].title, catalogue[random.choice(list(catalogue.place))].title.lower())
        if chance < 0.15:
            action = random.choice(JUNK)
        elif chance < 0.4 or buttons == ["search"]:
            action = f"search[{random.choice([goal.text, *titles])}]"
        else:
            others = [name for name in buttons if name != "buy now" or random.random() < 0.3]
            action = f"click[{random.choice(others[1:] or buttons)}]"
        outcome = here.act(action)
        if outcome[1]:
            yield action, outcome
            return
        yield action, outcome, here.look()


def test_walks(catalogue):
    goals = Goals(catalogue, 0)
    assert digest(line for number in range(60) for line in walk(number, catalogue, goals, Visit)) == WALKS
