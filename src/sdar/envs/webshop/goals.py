"""What a customer wants: a sentence, and the product, attributes, options and price limit behind it.

Goals follow from a catalogue and a seed. The seed draws the price of each product that has a range, then a
price limit for each product that has an instruction, both in the order of the catalogue: the official
procedure, with Python's own generator, so the same seed gives the official goals.

Source: `get_goals` of WebShop (Yao et al., 2022), with the seed that its SDAR and verl-agent forks add.
"""

import hashlib
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import prod
from random import Random
from typing import overload

from sdar.envs.webshop.catalogue import Catalogue, Instruction, Product

NO_LIMIT = 1_000_000.0
"""Price limit of a goal that names none."""
_STEPS = tuple(10.0 * number for number in range(1, 100))
_HELD_OUT = 0.2


@dataclass(frozen=True, slots=True)
class Goal:
    """One wish. `options` are (name, value) pairs; people name values alone, so theirs have an empty name."""

    asin: str
    text: str
    attributes: tuple[str, ...]
    options: tuple[tuple[str, str], ...]
    limit: float = NO_LIMIT


class Goals(Sequence[Goal]):
    """All goals of a catalogue for a seed, in its order; made when they are asked for.

    A product with an instruction has a goal for each combination of its options. With `human` the goals are
    those of people, one for each of their instructions. `prices` holds the price of each product.
    """

    def __init__(self, catalogue: Catalogue, seed: int, human: bool = False) -> None:
        random = Random(seed)
        self.catalogue, self.seed = catalogue, seed
        self.prices = tuple(
            random.uniform(*product.prices) if len(product.prices) > 1 else product.prices[0]
            for product in catalogue.products
        )
        self._wishes: list[tuple[Product, int, Instruction, float]] = []
        for product, price in zip(catalogue.products, self.prices, strict=True):
            wishes = product.human if human else (product.instruction,)
            for number, wish in enumerate(wishes):
                if wish and wish.attributes:
                    self._wishes.append((product, number, wish, _limit(random, price)))
        counts = [1 if human else _combinations(product) for product, *_ in self._wishes]
        self._starts = [0, *accumulate(counts)]
        self._human = human

    def __len__(self) -> int:
        return self._starts[-1]

    @overload
    def __getitem__(self, place: int) -> Goal: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Goal]: ...
    def __getitem__(self, place: int | slice) -> Goal | Sequence[Goal]:
        if isinstance(place, slice):
            return [self[one] for one in range(*place.indices(len(self)))]
        if not 0 <= place < len(self):
            raise IndexError(place)
        product, _, wish, limit = self._wishes[self._wish(place)]
        under = "" if limit == NO_LIMIT else f", and price lower than {limit:.2f} dollars"
        if self._human:
            named = tuple(("", value) for value in wish.options)
            return Goal(product.asin, wish.text.strip(".") + under, wish.attributes, named, limit)
        options = _combination(product, place - self._starts[self._wish(place)])
        wanted = " with " + ", and ".join(f"{name}: {value}" for name, value in options) if options else ""
        return Goal(product.asin, f"{wish.text}{wanted}{under}", wish.attributes, options, limit)

    def product(self, place: int) -> Product:
        """The product that a goal was made from; cheaper than the goal."""
        return self._wishes[self._wish(place)][0]

    def name(self, place: int) -> str:
        """A name of a goal that does not depend on the seed or on other products: its asin and a number."""
        product, number, *_ = self._wishes[self._wish(place)]
        return f"{product.asin}/{number + place - self._starts[self._wish(place)]}"

    def shuffled(self) -> list[int]:
        """Places in the official order for the seed, of which the first 500 are for evaluation."""
        order = list(range(len(self)))
        Random(self.seed).shuffle(order)
        return order

    def split(self, held_out: bool) -> list[int]:
        """Places of the goals whose product is, or is not, held out."""
        spans = zip(self._wishes, self._starts, self._starts[1:], strict=False)
        chosen = (range(start, end) for wish, start, end in spans if is_held_out(wish[0]) == held_out)
        return [place for span in chosen for place in span]

    def spread(self, places: Sequence[int], count: int) -> list[int]:
        """`count` of some places: one goal of each product in turn, so that no product fills the list.

        The order of products, and of each product's goals, is that of a hash of their names.
        """
        rounds: dict[str, list[int]] = {}
        for place in sorted(places, key=lambda place: digest(self.name(place))):
            rounds.setdefault(self.product(place).asin, []).append(place)
        rank = {place: turn for goals in rounds.values() for turn, place in enumerate(goals)}
        return sorted(rank, key=lambda place: (rank[place], digest(self.name(place))))[:count]

    def _wish(self, place: int) -> int:
        return bisect_right(self._starts, place) - 1


def is_held_out(product: Product) -> bool:
    """Whether a product is kept from training: a fifth of them, by asin, and those that people asked for."""
    return bool(product.human) or digest(f"held-out/{product.asin}")[0] < 256 * _HELD_OUT


def digest(name: str) -> bytes:
    """A hash that orders and draws; the same on every machine."""
    return hashlib.blake2b(name.encode(), digest_size=8).digest()


def _limit(random: Random, price: float) -> float:
    """The larger of two of the next four multiples of ten above the price, below 1000; else no limit."""
    above = [step for step in _STEPS if step > price][:4]
    return max(random.sample(above, 2)) if len(above) >= 2 else NO_LIMIT


def _combinations(product: Product) -> int:
    return prod(len(values) for values in product.options.values())


def _combination(product: Product, number: int) -> tuple[tuple[str, str], ...]:
    """The number-th element of the product of all option values, names sorted, the last changing fastest."""
    pairs = []
    for name in sorted(product.options, reverse=True):
        number, place = divmod(number, len(product.options[name]))
        pairs.append((name, product.options[name][place]))
    return tuple(reversed(pairs))
