"""What a purchase is worth, from 0 to 1.

    score = type * (attributes met + options met + [price <= limit]) / (attributes + options + 1)

`type` is 1 for a product of the wanted kind and falls to 0.5, 0.1 and 0 as its title shares fewer nouns
with the wanted one's. An attribute is met when the product has one much like it, or has its words in title,
bullets or description.

Options differ with the semantics. `CLEAN` compares values: an option is met when the buyer chose that
value. `OFFICIAL` keeps what the official code does. It cuts each chosen value down to the first colour word
in it. Its goals hold (name, value) tuples, which it treats as if they were strings: a tuple whose value is
a colour word becomes that word, and any other is turned into text like "('size', 'x-large')", whose words
are compared with those of the chosen values. So buying `large` meets `x-large`; and `2005black`, cut down to
`black`, does not meet "('color', '2005black')": 458 of the 6,910 goals of the 1,000 products (17 products)
do not get 1 for the very product and options that they ask for. Goals by people hold plain strings, which
become their first colour.

Source: `web_agent_site/engine/goal.py` and `normalize.py` of WebShop (Yao et al., 2022).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from sdar.envs.webshop.catalogue import Product
from sdar.envs.webshop.fuzzy import alike
from sdar.envs.webshop.goals import Goal

_COLORS = """
alabaster apricot aqua ash asphalt azure banana beige black blue blush bordeaux bronze brown burgundy camel
camo caramel champagne charcoal cheetah chestnut chocolate christmas coffee cognac copper coral cranberry
cream crystal dark denim eggplant elephant espresso fuchsia gold granite grape graphite grass gray green
grey heather indigo ivory ivy khaki lavender lemon leopard light lilac lime magenta maroon mauve merlot
midnight mint mocha multicolor mushroom mustard natural navy nude olive orange peach pewter pink plum purple
rainbow red rose royal rust sand sapphire seashell silver skull slate steel stone stonewash sunflower tan
taupe teal tiger turquoise violet walnut wheat white wine yellow
"""
COLORS = tuple(_COLORS.split())
"""Colour words in the order in which the official code looks for them."""


class Semantics(StrEnum):
    """Options compared by value and splits by product, or both as the official code has them."""

    CLEAN = "clean"
    OFFICIAL = "official"


@dataclass(frozen=True, slots=True)
class Score:
    """What a purchase met. `kind` is the factor for the product type, `total` the score."""

    total: float
    kind: float
    attributes: int
    options: int
    price: bool


def judge(
    goal: Goal,
    wanted: Product,
    bought: Product,
    price: float,
    chosen: Mapping[str, str],
    semantics: Semantics,
) -> Score:
    """Score buying `bought` at `price` with the `chosen` options; `wanted` is the goal's own product."""
    kind = type_factor(wanted, bought)
    attributes = sum(_has(bought, attribute) for attribute in goal.attributes)
    options = count_options(goal, chosen, semantics)
    cheap = price <= goal.limit
    return Score(total(goal, kind, attributes, options, cheap), kind, attributes, options, cheap)


def total(goal: Goal, kind: float, attributes: int, options: int, price: bool) -> float:
    """The score that follows from its parts."""
    return (attributes + options + price) / (len(goal.attributes) + len(goal.options) + 1) * kind


def type_factor(wanted: Product, bought: Product) -> float:
    """How well the product type fits: by search term, departments in common, and nouns in common."""
    nouns = wanted.nouns
    shared = len(set(nouns) & set(bought.nouns)) / len(nouns) if nouns else 0.2
    if shared < 0.1:
        return 0.1 if shared else 0.0
    same = bought.query == wanted.query or len(bought.path & wanted.path) >= 2 or shared > 0.2
    return 1.0 if same else 0.5


def count_options(goal: Goal, chosen: Mapping[str, str], semantics: Semantics) -> int:
    """How many options of the goal are met."""
    values = chosen.values()
    if semantics is Semantics.CLEAN:
        have = {_plain(value) for value in values}
        return sum(_plain(value) in have for _, value in goal.options)
    have = {_color(value) for value in values}
    wishes = (_color_of_tuple(pair) if pair[0] else _color(pair[1]) for pair in goal.options)
    return sum(any(alike(value, wish) for value in have) for wish in wishes)


@lru_cache(maxsize=1 << 16)
def _matches(attributes: tuple[str, ...], wish: str) -> bool:
    return any(alike(attribute, wish) for attribute in attributes)


def _has(product: Product, wish: str) -> bool:
    if _matches(product.attributes, wish):
        return True
    texts = (product.title, " ".join(product.bullets), product.description)
    return any(wish in text.lower() for text in texts)


def _plain(value: str) -> str:
    return " ".join(value.lower().split())


@lru_cache(maxsize=1 << 14)
def _color(value: str) -> str:
    """The first of the colour words that is anywhere in a value, else the value."""
    return next((color for color in COLORS if color in value), value)


def _color_of_tuple(pair: tuple[str, str]) -> str:
    """What the official code makes of a tuple: a colour word equal to one of its elements, else its text."""
    return next((color for color in COLORS if color in pair), str(pair))
