"""One customer's visit: where they are, what they chose, what they bought.

Actions are `search[words]` and `click[name]`; anything else does nothing. A search works on every page.
Clicking the value of an option chooses it, one value for each option; leaving the product forgets the
choices.

With `OFFICIAL` semantics a search that starts with `<r>` gives random products, `<c>` a department and
`<q>` the products of a search term, as the official code has it for its authors; `<a>`, on which that code
fails, finds nothing; and a name with a bracket may not be found, though its page shows it. With `CLEAN`
semantics these are words like any others, and whatever a page shows can be clicked.
"""

from enum import StrEnum
from random import Random

from sdar.envs.webshop.catalogue import RESULTS, Catalogue, Product
from sdar.envs.webshop.goals import Goal
from sdar.envs.webshop.pages import (
    BACK,
    BUY,
    DETAILS,
    NEXT,
    PAGE_SIZE,
    PREVIOUS,
    SEARCH,
    Page,
    detail_page,
    done_page,
    item_page,
    results_page,
    search_page,
)
from sdar.envs.webshop.reward import Score, Semantics, judge


class Place(StrEnum):
    """Which page the customer is on."""

    SEARCH = "search"
    RESULTS = "results"
    ITEM = "item"
    DETAIL = "detail"
    DONE = "done"


class Session:
    """A visit with a goal. `prices` are those of the catalogue's products; `score` is set by buying."""

    def __init__(
        self,
        catalogue: Catalogue,
        goal: Goal,
        prices: tuple[float, ...],
        semantics: Semantics = Semantics.CLEAN,
    ) -> None:
        self.goal = goal
        self.score: Score | None = None
        self._catalogue, self._prices, self._semantics = catalogue, prices, semantics
        self._random = Random(goal.text)
        self._leave()

    def act(self, action: str) -> bool:
        """Do what an action says; whether it did anything."""
        name = read_click(action).lower()
        if self._semantics is Semantics.CLEAN and name in self.page.buttons:
            return self._click(name)
        verb, argument = read_action(action)
        if verb == "search" and argument:
            self._look_for(argument.lower())
            return True
        return verb == "click" and self._click(argument.lower())

    def _leave(self) -> None:
        """Go to the search page and forget everything."""
        self._results: tuple[Product, ...] = ()
        self._number = 1
        self.item: Product | None = None
        self.chosen: dict[str, str] = {}
        self._show(Place.SEARCH, search_page(self.goal.text))

    def _look_for(self, words: str) -> None:
        self._words = words
        self._turn_to(1)

    def _turn_to(self, number: int) -> None:
        """Show a page of results; the search is made anew, which only matters for random products."""
        self._results, self._number = self._find(self._words), number
        self.item, self.chosen = None, {}
        products = self._results[(number - 1) * PAGE_SIZE : number * PAGE_SIZE]
        self._show(Place.RESULTS, results_page(self.goal.text, products, number, len(self._results)))
        self._links = {product.asin.lower(): product for product in products}

    def _click(self, name: str) -> bool:
        """Click what a page offers; buttons come before the options that are called like them."""
        if name not in self.page.buttons or name == SEARCH or self.place is Place.DONE:
            return False
        if name == BACK:
            self._leave()
        elif name in (NEXT, PREVIOUS) and self.place is Place.RESULTS:
            self._turn_to(self._number + (1 if name == NEXT else -1))
        elif name == PREVIOUS and self.place is Place.ITEM:
            self._turn_to(self._number)
        elif self.place is Place.RESULTS:
            self._open(self._links[name])
        elif self.item:
            self._use(self.item, name)
        return True

    def _use(self, item: Product, name: str) -> None:
        """Buy a product, read about it, go back to it, or choose an option."""
        if name == BUY:
            wanted = self._catalogue[self.goal.asin]
            price = self._prices[self._catalogue.place[item.asin]]
            self.score = judge(self.goal, wanted, item, price, self.chosen, self._semantics)
            self._show(Place.DONE, done_page(self.score.total))
        elif name in DETAILS:
            self._show(Place.DETAIL, detail_page(self.goal.text, item, name))
        else:
            having = [option for option, values in item.options.items() if name in values]
            if self.place is Place.ITEM and having:
                self.chosen[having[-1]] = name
            self._open(item)

    def _open(self, item: Product) -> None:
        self.item = item
        self._show(Place.ITEM, item_page(self.goal.text, item))

    def _show(self, place: Place, page: Page) -> None:
        self.place, self.page = place, page

    def _find(self, words: str) -> tuple[Product, ...]:
        first, *rest = words.split(" ")
        if self._semantics is Semantics.CLEAN or first not in ("<r>", "<a>", "<c>", "<q>"):
            return self._catalogue.search(words)
        products = self._catalogue.products
        if first == "<r>":
            return tuple(self._random.sample(products, min(RESULTS, len(products))))
        if first == "<c>":
            return tuple(product for product in products if rest and product.kind == rest[0].strip())
        term = " ".join(rest).strip()
        return tuple(product for product in products if first == "<q>" and product.query == term)


def read_action(text: str) -> tuple[str, str]:
    """The verb and the argument of `verb[argument]`; the text itself and nothing where it has no such form.

    The last opening bracket counts that a closing one follows, and what comes after that one is ignored.

    >>> read_action("search[red shoes] please"), read_action("click[]"), read_action("buy")
    (('search', 'red shoes'), ('click[]', ''), ('buy', ''))
    """
    line = text.partition("\n")[0]
    end = line.rfind("]")
    start = line.rfind("[", 1, end - 1) if end > 2 else -1
    return (line[:start], line[start + 1 : end]) if start > 0 else (text, "")


def read_click(text: str) -> str:
    """What stands in `click[...]`, brackets and all, as a page offers it; nothing where it is no click.

    >>> read_click("click[large [xl]]"), read_click("click[a] now"), read_click("search[a]")
    ('large [xl]', '', '')
    """
    return text[len("click[") : -1] if text.startswith("click[") and text.endswith("]") else ""
