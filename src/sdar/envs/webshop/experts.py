"""Scripted customers: two read pages as an agent does, one knows which product is meant, one acts at random.

They answer to observations, so they can be asked for advice about episodes that somebody else plays; an
episode has to be followed from its beginning.
"""

import re
from collections.abc import Iterable

from sdar.envs.dice import Dice
from sdar.envs.webshop.catalogue import Catalogue, Product
from sdar.envs.webshop.pages import BACK, BUY, DETAILS, NEXT, PAGE_SIZE, PREVIOUS, SEARCH
from sdar.envs.webshop.prompts import ANY_SEARCH
from sdar.envs.webshop.reading import Row, View, Wish
from sdar.types import Observation

_FORGETS = 1 / 3
_WORD = re.compile(r"[^\W_]+")


class Shopper:
    """Searches for the words of the goal, opens likely products, and buys the first that has the options.

    Likely is a product under the price limit with many of the wanted words in its title; among equals the
    order of the results decides. With probability `noise` it does something plausible but wrong instead.
    """

    def __init__(self, goal: str, seed: str, noise: float = 0.0) -> None:
        self.wish = Wish.read(goal)
        self.noise = noise
        self._dice = Dice(seed)
        self._searches = [self.wish.words, Wish(self.wish.what).words]
        self._rejected: set[tuple[str, str]] = set()
        self._opened: tuple[str, str] = ("", "")
        self._chosen: set[str] = set()

    def act(self, observation: Observation) -> str:
        """The action to take now."""
        view = View.read(observation)
        if self._dice.chance(self.noise):
            return self._err(view, observation)
        if ANY_SEARCH in observation.admissible:
            return self._search()
        if BUY in view.buttons:
            return self._use(view)
        if NEXT in view.buttons:
            return self._pick(view)
        return _click(PREVIOUS)

    def _search(self) -> str:
        words = self._searches[0] if len(self._searches) == 1 else self._searches.pop(0)
        return f"search[{' '.join(words)}]"

    def _pick(self, view: View) -> str:
        """The best row that was not rejected; without any, another search, and in the end anything at all."""
        rows = [
            row for row in view.rows if row.dollars <= self.wish.limit and _key(row) not in self._rejected
        ]
        if not rows:
            if len(self._searches) > 1:
                return _click(BACK)
            rows = list(view.rows)
        if not rows:
            return _click(BACK)
        best = max(rows, key=lambda row: self._likeness(row.title))
        self._opened, self._chosen = _key(best), set()
        return _click(best.name)

    def _likeness(self, title: str) -> int:
        """How many of the wanted words a title has, singular or plural."""
        words = {_root(word) for word in title.lower().split()}
        return sum(_root(word) in words for word in Wish(self.wish.what).words)

    def _use(self, view: View) -> str:
        """Choose the next option, or buy; a product that lacks one is left, unless it was the last resort."""
        offered = {value for _, values in view.options for value in values}
        wanted = [value for _, value in self.wish.options] or self._named(view)
        if not offered.issuperset(wanted) and self._opened not in self._rejected:
            self._rejected.add(self._opened)
            return _click(PREVIOUS)
        missing = [value for value in wanted if value in offered - self._chosen]
        if not missing:
            return _click(BUY)
        self._chosen.add(missing[0])
        return _click(missing[0])

    def _named(self, view: View) -> list[str]:
        """For a person's words: of each option, the longest value whose words are all in the goal."""
        have = set(_WORD.findall(self.wish.what.lower()))
        named = [
            [value for value in values if have.issuperset(_WORD.findall(value))] for _, values in view.options
        ]
        return [max(values, key=len) for values in named if values]

    def _err(self, view: View, observation: Observation) -> str:
        """A mistake: some words, any product, any option, buying too early; sometimes any button."""
        if ANY_SEARCH in observation.admissible:
            words = self.wish.words
            some = self._dice.some(words, self._dice.between(1, max(1, len(words) - 1)))
            return f"search[{' '.join(some)}]"
        usual = [name for name in view.buttons if name not in (BACK, NEXT, PREVIOUS, *DETAILS)]
        name = self._dice.choice(usual if usual and self._dice.chance(0.8) else view.buttons)
        for row in view.rows:
            if row.name == name:
                self._opened, self._chosen = _key(row), set()
        return _click(name)


class Hasty(Shopper):
    """Searches for most of the words, opens the first product of the list, and buys it in any case.

    It looks neither at prices nor for options that are missing, and forgets to choose every third.
    """

    def __init__(self, goal: str, seed: str, noise: float = 0.0) -> None:
        super().__init__(goal, seed, noise)
        words = Wish(self.wish.what).words
        self._searches = [tuple(self._dice.some(words, max(1, len(words) - 1)))]

    def _pick(self, view: View) -> str:
        self._chosen = set()
        return _click(view.rows[0].name if view.rows else BACK)

    def _use(self, view: View) -> str:
        wanted = {value for _, value in self.wish.options}
        for _, values in view.options:
            for value in values:
                if value in wanted - self._chosen:
                    self._chosen.add(value)
                    if not self._dice.chance(_FORGETS):
                        return _click(value)
        return _click(BUY)


class Insider:
    """Knows the product: searches for its title, goes to it, chooses the options and buys it."""

    def __init__(self, catalogue: Catalogue, product: Product, options: Iterable[str]) -> None:
        self._options = list(options)
        self._rank = -1
        for text in (product.title, product.document):
            self._query = " ".join(_WORD.findall(text.lower()))
            found = catalogue.search(self._query)
            if product in found:
                self._rank = found.index(product)
                break
        self._page = 1

    def act(self, observation: Observation) -> str:
        """The action to take now."""
        view = View.read(observation)
        if BUY in view.buttons:
            return _click(self._options.pop(0) if self._options else BUY)
        if NEXT not in view.buttons:
            return f"search[{self._query}]"
        if self._page <= self._rank // PAGE_SIZE:
            self._page += 1
            return _click(NEXT)
        return _click(view.rows[self._rank % PAGE_SIZE].name)


class Wanderer:
    """Clicks anything; searches for words of the goal."""

    def __init__(self, goal: str, seed: str) -> None:
        self._words = Wish.read(goal).words
        self._dice = Dice(seed)

    def act(self, observation: Observation) -> str:
        """The action to take now."""
        action = self._dice.choice(observation.admissible)
        if action in (ANY_SEARCH, _click(SEARCH)):
            return f"search[{' '.join(self._dice.some(self._words, 3))}]"
        return action


def _click(name: str) -> str:
    return f"click[{name}]"


def _key(row: Row) -> tuple[str, str]:
    return row.title, row.price


def _root(word: str) -> str:
    return word.removesuffix("es") if word.endswith(("shes", "xes", "sses")) else word.removesuffix("s")
