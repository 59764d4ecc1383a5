"""The products of a shop, read from the official files, and shared by all environments of the process.

A data directory holds

    items_shuffle.json or items_shuffle_1000.json     the products: a list of objects
    items_ins_v2.json or items_ins_v2_1000.json       their attributes and instructions, by asin
    items_human_ins.json (optional)                   instructions written by people, by asin
    title_nouns.json (optional)                       nouns of each title; `sdar.envs.webshop.nouns` writes it
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdar.envs.webshop.nouns import NOUN_TABLE, guess_nouns
from sdar.errors import DataError

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
    try:
        return Catalogue(list(read_products(items[:limit] if limit else items, extra, human, nouns)))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{directory} does not hold WebShop's product files: {error!r}") from error


def read_products(
    items: Iterable[Mapping[str, Any]],
    extra: Mapping[str, Any],
    human: Mapping[str, Any] | None = None,
    nouns: Mapping[str, Sequence[str]] | None = None,
) -> Iterable[Product]:
    """Products from the content of the official files, without those of an impossible or a repeated asin."""
    seen = set()
    for item in items:
        asin = item["asin"]
        if asin == "nan" or len(asin) > 10 or asin in seen:
            continue
        seen.add(asin)
        bullets = item["small_description"]
        more = extra.get(asin, {})
        text = more.get("instruction")
        yield Product(
            asin=asin,
            title=item["name"],
            description=item["full_description"] or "",
            bullets=tuple(bullets) if isinstance(bullets, list) else (bullets,),
            prices=_prices(item.get("pricing") or ""),
            options=_options(item["customization_options"] or {}),
            attributes=tuple(more.get("attributes", NO_ATTRIBUTES)),
            kind=item["category"],
            query=item["query"].lower().strip(),
            path=frozenset(part.strip() for part in item["product_category"].split(BELOW)),
            instruction=Instruction(text, tuple(more["instruction_attributes"])) if text else None,
            human=tuple(
                Instruction(
                    said["instruction"],
                    tuple(said["instruction_attributes"]),
                    tuple(said["instruction_options"]),
                )
                for said in (human or {}).get(asin, ())
            ),
            tagged=tuple(nouns[item["name"]]) if nouns and item["name"] in nouns else None,
        )


def _optional(directory: Path, pattern: str) -> dict[str, Any]:
    """The content of the first file that fits; empty where there is none."""
    present = sorted(directory.glob(pattern))
    return read_json(present[0], dict) if present else {}


def _prices(tag: str) -> tuple[float, ...]:
    """One price, or the first two of several; the default where there is none."""
    prices = tuple(float(re.sub(r"[^\d.]", "", part)) for part in tag.split("$")[1:])
    return prices[:2] or (NO_PRICE,)


def _options(customization: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    return {
        name.lower(): tuple(value["value"].strip().replace("/", " | ").lower() for value in values)
        for name, values in customization.items()
        if values is not None
    }


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
