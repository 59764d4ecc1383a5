"""The products of a shop, read from the official files, and shared by all environments of the process.

A data directory holds

    items_shuffle.json or items_shuffle_1000.json     the products: a list of objects
    items_ins_v2.json or items_ins_v2_1000.json       their attributes and instructions, by asin
    items_human_ins.json (optional)                   instructions written by people, by asin
    title_nouns.json (optional)                       nouns of each title; `sdar.envs.webshop.nouns` writes it
"""

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdar.envs.webshop.nouns import NOUN_TABLE, guess_nouns
from sdar.errors import DataError, some
from sdar.text.records import leave_out
from sdar.text.unicode import well_formed

if TYPE_CHECKING:
    from sdar.envs.webshop.search import Index

RESULTS = 50
"""Products that a search returns at most."""
BELOW = "\u203a"
"""What stands between a department and one below it."""
NO_PRICE = 100.0
"""Price of a product that has none."""
NO_ATTRIBUTES = ("DUMMY_ATTR",)
"""Attributes of a product that the second file does not know."""

_LONG = 500


@dataclass(frozen=True, slots=True)
class Instruction:
    """What a person, or a template, asks for: a sentence, and the attributes and options it names."""

    text: str
    attributes: tuple[str, ...]
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Product:
    """One product as the shop shows it, and what the reward needs to know of it.

    `prices` holds one price or the two ends of a range; `options` maps lower-case names to lower-case
    values in the order of the page; `kind` is the department (`beauty`, ...), `path` the departments above
    one another.
    """

    asin: str
    title: str
    description: str
    bullets: tuple[str, ...]
    prices: tuple[float, ...]
    options: Mapping[str, tuple[str, ...]]
    attributes: tuple[str, ...]
    kind: str
    query: str
    path: frozenset[str]
    instruction: Instruction | None = None
    human: tuple[Instruction, ...] = ()
    tagged: tuple[str, ...] | None = None

    @property
    def nouns(self) -> tuple[str, ...]:
        """The nouns of the title, in lower case: as tagged by spaCy where the data have it, else guessed."""
        return guess_nouns(self.title) if self.tagged is None else self.tagged

    @property
    def price_tag(self) -> str:
        """The price as the shop shows it."""
        return " to ".join(f"${price}" for price in self.prices)

    @property
    def document(self) -> str:
        """The text that search looks through: title, description, first bullet and options."""
        options = ", and ".join(f"{name}: {', '.join(values)}" for name, values in self.options.items())
        first = next(iter(self.bullets), "")
        return f"{self.title} {self.description} {first} {options}".lower()


class Catalogue:
    """Products in the order of their file, and the index that searches them."""

    def __init__(self, products: Sequence[Product]) -> None:
        self.products = tuple(products)
        self.place = {product.asin: place for place, product in enumerate(self.products)}
        self._found = lru_cache(maxsize=1 << 14)(self._search)

    def __len__(self) -> int:
        return len(self.products)

    def __getitem__(self, asin: str) -> Product:
        return self.products[self.place[asin]]

    @cached_property
    def index(self) -> "Index":
        """The search index; built when it is first used."""
        from sdar.envs.webshop.search import Index

        return Index(list(self.place), (product.document for product in self.products))

    def search(self, query: str) -> tuple[Product, ...]:
        """The 50 best products, best first."""
        return self._found(query) if len(query) <= _LONG else self._search(query)

    def forget(self) -> None:
        """Forget the searches that were made, so that the next ones take their full time."""
        self._found.cache_clear()

    def _search(self, query: str) -> tuple[Product, ...]:
        return tuple(self.products[place] for place in self.index.search(query, RESULTS))


@lru_cache(maxsize=4)
def open_catalogue(directory: Path, limit: int = 0) -> Catalogue:
    """The catalogue of a data directory, its first `limit` products (0: all); read once in a process.

    Raises:
        DataError: A file is missing or is not what it should be.
    """
    suffix = f"_{limit}" if limit and (directory / f"items_shuffle_{limit}.json").is_file() else ""
    items = _read(directory, f"items_shuffle{suffix}.json", "items_shuffle_*.json", list)
    extra = _read(directory, f"items_ins_v2{suffix}.json", "items_ins_v2_*.json", dict)
    human = _optional(directory, "items_human_ins*.json")
    nouns = _optional(directory, NOUN_TABLE)
    left_out: list[str] = []
    products = list(read_products(items[:limit] if limit else items, extra, human, nouns, left_out))
    if not products:
        why = left_out[0] if left_out else "there is no product in them"
        raise DataError(f"{directory} does not hold WebShop's product files: {why}")
    leave_out(directory, len(left_out), f"{len(left_out)} products cannot be used: {some(left_out)}")
    return Catalogue(products)


def read_products(
    items: Iterable[Any],
    extra: Mapping[str, Any],
    human: Mapping[str, Any] | None = None,
    nouns: Mapping[str, Any] | None = None,
    left_out: list[str] | None = None,
) -> Iterator[Product]:
    """Products from the content of the official files, without those of an impossible or a repeated asin.

    One that cannot be used is left out too, and `left_out` gets a sentence that names it and its field.
    """
    seen = set()
    for number, item in enumerate(items, 1):
        name = f"product {number}"
        try:
            row = _Row(item)
            asin = row.text("asin")
            if asin == "nan" or len(asin) > 10 or asin in seen:
                continue
            name = f"product {number} ({asin})"
            product = _product(row, asin, extra.get(asin, {}), (human or {}).get(asin, []), nouns or {})
        except _Unusable as fault:
            if left_out is not None:
                left_out.append(f"{name}: {fault}")
            continue
        seen.add(asin)
        yield product


class _Unusable(ValueError):
    """A field is not what it should be."""


class _Row:
    """An object of the files, whose fields are read by the kind that they must have."""

    def __init__(self, content: Any) -> None:
        if not isinstance(content, dict):
            raise _Unusable(f"{_brief(content)} is not an object")
        self._content = content

    def __contains__(self, field: str) -> bool:
        return self._content.get(field) is not None

    def given(self, field: str) -> Any:
        """What stands in a field that must be there."""
        if field not in self._content:
            raise _Unusable(f"{field} is missing")
        return self._content[field]

    def text(self, field: str, empty: bool = False) -> str:
        """A text; `empty`: null stands for an empty one."""
        value = self.given(field)
        return _text(field, "" if empty and value is None else value)

    def texts(self, field: str) -> tuple[str, ...]:
        """A list of texts."""
        return _texts(field, self.given(field))


def _product(row: _Row, asin: str, more: Any, said: Any, nouns: Mapping[str, Any]) -> Product:
    """A product from its row, its attributes (`more`), what people said of it, and the nouns of titles."""
    title, bullets, about = row.text("name"), row.given("small_description"), _Row(more)
    asked = about.text("instruction") if "instruction" in about else ""
    return Product(
        asin=asin,
        title=title,
        description=row.text("full_description", empty=True),
        bullets=_texts("small_description", bullets if isinstance(bullets, list) else [bullets]),
        prices=_prices(row.text("pricing") if "pricing" in row else ""),
        options=_options(row.given("customization_options") or {}),
        attributes=about.texts("attributes") if "attributes" in about else NO_ATTRIBUTES,
        kind=row.text("category"),
        query=row.text("query").lower().strip(),
        path=frozenset(part.strip() for part in row.text("product_category").split(BELOW)),
        instruction=Instruction(asked, about.texts("instruction_attributes")) if asked else None,
        human=tuple(_said(_Row(one)) for one in _list("human instructions", said)),
        tagged=_texts(NOUN_TABLE, nouns[title]) if title in nouns else None,
    )


def _said(row: _Row) -> Instruction:
    options = row.texts("instruction_options")
    return Instruction(row.text("instruction"), row.texts("instruction_attributes"), options)


def _text(field: str, value: Any) -> str:
    """A text, with lone surrogates replaced: no tokenizer takes them."""
    if not isinstance(value, str):
        raise _Unusable(f"{field} is {_brief(value)}, not a text")
    return well_formed(value)


def _list(field: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise _Unusable(f"{field} is {_brief(value)}, not a list")
    return value


def _texts(field: str, value: Any) -> tuple[str, ...]:
    return tuple(_text(f"an entry of {field}", one) for one in _list(field, value))


def _brief(value: Any) -> str:
    """A value of a file in few characters, as JSON has it."""
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _optional(directory: Path, pattern: str) -> dict[str, Any]:
    """The content of the first file that fits; empty where there is none."""
    present = sorted(directory.glob(pattern))
    return read_json(present[0], dict) if present else {}


def _prices(tag: str) -> tuple[float, ...]:
    """One price, or the first two of several; the default where there is none."""
    digits = [re.sub(r"[^\d.]", "", part) for part in tag.split("$")[1:]]
    try:
        prices = tuple(float(number) for number in digits)
    except ValueError:
        prices = (math.nan,)
    if not all(math.isfinite(price) for price in prices):
        raise _Unusable(f"pricing is {_brief(tag)}, which is not a price")
    return prices[:2] or (NO_PRICE,)


def _options(customization: Any) -> dict[str, tuple[str, ...]]:
    """Options by name; a null for their values means that there are none."""
    if not isinstance(customization, dict):
        raise _Unusable(f"customization_options is {_brief(customization)}, not an object")
    options = {}
    for name, values in customization.items():
        if values is not None:
            field = f"customization_options, {name}"
            texts = (_text(field, _Row(value).given("value")) for value in _list(field, values))
            options[_text(field, name).lower()] = tuple(
                text.strip().replace("/", " | ").lower() for text in texts
            )
    return options


def _read(directory: Path, name: str, pattern: str, kind: type) -> Any:
    """The content of a file by its exact name, or of the only one that fits the pattern."""
    path = directory / name
    fitting = sorted(directory.glob(pattern))
    if not path.is_file() and len(fitting) == 1:
        path = fitting[0]
    if not path.is_file():
        near = f"; there are {', '.join(found.name for found in fitting)}" if fitting else ""
        raise DataError(f"no {name} in {directory}{near} (`sdar data download webshop` gets it)")
    return read_json(path, kind)


def read_json(path: Path, kind: type) -> Any:
    """The content of a file, which is of a kind. Raises `DataError` where it is not, or cannot be read."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {path}: {error}") from error
    if not isinstance(content, kind):
        raise DataError(f"{path} holds a {type(content).__name__}, not a {kind.__name__}")
    return content
