"""A procedural catalogue: the official two files, with a small vocabulary, so that the shop needs no data.

Products come in families of lookalikes: the others of a family differ from the first in an attribute, in the
price, or in the options they come in. Some attributes stand in the title, some only in the description, some
only in the features. A product depends only on its number, so a larger catalogue begins with a smaller one.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain, count, islice
from pathlib import Path
from string import ascii_uppercase, digits
from typing import Any

from sdar.envs.dice import Dice
from sdar.envs.webshop.catalogue import BELOW, Catalogue, read_products

_DIGITS = digits + ascii_uppercase
_IN_TITLE, _SEARCHABLE = 0.6, 0.6
_RANGE, _UNPRICED = 0.09, 0.03
_CHANGES = ("attribute", "attribute", "price", "options", "options")


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of product: what it is called, where it stands, and what it can be like.

    Each of `attributes` is a choice of some that exclude one another, or a single one.
    """

    department: str
    query: str
    noun: str
    path: tuple[str, ...]
    options: tuple[str, ...]
    attributes: tuple[tuple[str, ...], ...]
    prices: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Draft:
    """A product before it is written down."""

    kind: Kind
    brand: str
    attributes: tuple[str, ...]
    options: Mapping[str, tuple[str, ...]]
    price: int


@lru_cache(maxsize=2)
def open_generated(size: int) -> Catalogue:
    """The catalogue of the first `size` products; made once in a process."""
    items, extra = generate(size)
    return Catalogue(list(read_products(items, extra)))


def generate(size: int) -> tuple[list[dict[str, Any]], dict[str, dict[str, Any]]]:
    """The content of the two official files, for `size` products."""
    items, extra = [], {}
    drafts = chain.from_iterable(_family(number) for number in count())
    for number, draft in enumerate(islice(drafts, size)):
        dice = Dice(f"sdar-webshop-1/product/{number}")
        item, more = _write(draft, number, dice)
        items.append(item)
        extra[item["asin"]] = more
    return items, extra


def write_generated(directory: Path, size: int) -> None:
    """Write a generated catalogue as the official files `items_shuffle.json` and `items_ins_v2.json`."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in zip(("items_shuffle", "items_ins_v2"), generate(size), strict=True):
        (directory / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")


def _family(number: int) -> Iterator[Draft]:
    """Lookalikes: a product, and up to three that differ from it in one respect."""
    kinds, values, brands = _goods()
    dice = Dice(f"sdar-webshop-1/family/{number}")
    kind = kinds[number % len(kinds)]
    options = {name: _some_values(dice, values[name]) for name in kind.options}
    spoken_of = dice.some(kind.attributes, dice.between(2, min(4, len(kind.attributes) - 1)))
    attributes = tuple(dice.choice(choice) for choice in spoken_of)
    first = Draft(kind, dice.choice(brands), attributes, options, dice.between(*kind.prices))
    yield first
    for _ in range(dice.between(0, 3)):
        change = dice.choice(_CHANGES)
        if change == "attribute":
            kept = tuple(dice.some(attributes, len(attributes) - 1))
            open_choices = [choice for choice in kind.attributes if not set(choice) & set(kept)]
            others = [one for choice in open_choices for one in choice if one not in attributes]
            yield replace(first, brand=dice.choice(brands), attributes=(*kept, dice.choice(others)))
        elif change == "price":
            yield replace(first, price=first.price + dice.between(15, 60))
        else:
            yield replace(first, options={name: _some_values(dice, values[name]) for name in kind.options})


def _some_values(dice: Dice, values: Sequence[str]) -> tuple[str, ...]:
    chosen = dice.some(values, dice.between(2, min(5, len(values))))
    return tuple(value for value in values if value in chosen)


def _write(draft: Draft, number: int, dice: Dice) -> tuple[dict[str, Any], dict[str, Any]]:
    """A product's object in each of the two files."""
    kind = draft.kind
    places = [dice.chance(_IN_TITLE) for _ in draft.attributes]
    shown = [one for one, here in zip(draft.attributes, places, strict=True) if here]
    hidden = [one for one, here in zip(draft.attributes, places, strict=True) if not here]
    told = [one for one in hidden if dice.chance(_SEARCHABLE)]
    high = draft.price + dice.between(5, 15)
    tag = f"${draft.price}.00 to ${high}.00" if dice.chance(_RANGE) else f"${draft.price}.00"
    wished = dice.some(draft.attributes, dice.between(1, min(3, len(draft.attributes))))
    item = {
        "asin": _asin(number),
        "name": " ".join([draft.brand, *shown, kind.noun]),
        "full_description": " and ".join([f"a {kind.noun} by {draft.brand}", *told]),
        "small_description": [f"{kind.noun} for every day", *hidden],
        "pricing": "" if dice.chance(_UNPRICED) else tag,
        "product_category": f" {BELOW} ".join([*kind.path, kind.query]),
        "category": kind.department,
        "query": kind.query,
        "customization_options": {
            name: [{"value": value, "image": None} for value in values]
            for name, values in draft.options.items()
        },
        "images": [""],
        "average_rating": "",
        "page": 1,
    }
    more = {
        "attributes": list(draft.attributes),
        "instruction": f"Find me {_phrase(wished, kind.query)}",
        "instruction_attributes": wished,
    }
    return item, more


def _phrase(wished: Sequence[str], query: str) -> str:
    """Attributes around a search term, as officially: `slim fit shirts with long sleeve`."""
    if len(wished) == 1:
        return f"{wished[0]} {query}"
    return f"{', '.join(wished[:-1])} {query} with {wished[-1]}"


def _asin(number: int) -> str:
    """Ten characters that look like an official asin; the last five are the number."""
    salt = hashlib.blake2b(f"asin/{number}".encode(), digest_size=8).digest()
    return f"B0{_base_36(int.from_bytes(salt, 'big'), 3)}{_base_36(number, 5)}"


def _base_36(number: int, length: int) -> str:
    return "".join(_DIGITS[number // 36**place % 36] for place in reversed(range(length)))


@lru_cache(maxsize=1)
def _goods() -> tuple[tuple[Kind, ...], dict[str, tuple[str, ...]], tuple[str, ...]]:
    """The kinds of products, the values of each option, and the brands; see goods.txt."""
    text = Path(__file__).with_name("goods.txt").read_text(encoding="utf-8")
    kinds, options, brands = (part.splitlines() for part in text.split("--- "))
    values = {name: _list(line) for name, _, line in (line.partition(":") for line in options[1:])}
    return tuple(_kind(line) for line in kinds if not line.startswith("#")), values, tuple(brands[1].split())


def _kind(line: str) -> Kind:
    department, query, noun, path, options, attributes, prices = (field.strip() for field in line.split(";"))
    low, high = map(int, prices.split())
    choices = tuple(tuple(choice.split("/")) for choice in _list(attributes))
    return Kind(department, query, noun, _list(path), _list(options), choices, (low, high))


def _list(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(","))
