"""The pages of the shop as text: what the official site's HTML reads like, without the HTML.

A page is its visible pieces of text joined by ` [SEP] `, and the names of what can be clicked, in order.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from sdar.envs.webshop.catalogue import Product

SEPARATOR = " [SEP] "
PAGE_SIZE = 10
"""Products on a page of results."""
SEARCH, BACK, NEXT, PREVIOUS, BUY = "search", "back to search", "next >", "< prev", "buy now"
DETAILS = ("description", "features", "reviews")
"""What can be read about a product on pages of its own."""
_BLANK = " \n\t\f\r"
_RATING = "Rating: N.A."


@dataclass(frozen=True, slots=True)
class Page:
    """What a customer sees: text, and names that can be clicked."""

    text: str
    buttons: tuple[str, ...]


def search_page(goal: str) -> Page:
    """Where every session starts."""
    return _page(["WebShop", "Instruction:", goal, "Search"], [SEARCH])


def results_page(goal: str, products: Sequence[Product], number: int, total: int) -> Page:
    """One page of `total` results; there is always a next page, if only an empty one."""
    turns = [PREVIOUS, NEXT] if number > 1 else [NEXT]
    pieces = [f"Page {number} (Total results: {total})", *(turn.title() for turn in turns)]
    for product in products:
        pieces += [product.asin, product.title, product.price_tag]
    return _page([*_head(goal), *pieces], [BACK, *turns, *(product.asin.lower() for product in products)])


def item_page(goal: str, product: Product) -> Page:
    """A product with its options. Which ones are chosen does not show."""
    pieces = [*_head(goal), PREVIOUS.title()]
    for name, values in product.options.items():
        pieces += [name, *values]
    pieces += [product.title, f"Price: {product.price_tag}", _RATING]
    buttons = [BACK, PREVIOUS, *DETAILS, BUY]
    return _page(
        [*pieces, *(name.title() for name in DETAILS), BUY.title()],
        [*buttons, *(value for values in product.options.values() for value in values)],
    )


def detail_page(goal: str, product: Product, name: str) -> Page:
    """The description, the features (bullets) or the reviews of a product; the shop has no reviews."""
    pieces = {
        "description": [product.description],
        "features": [f" {bullet}" for bullet in product.bullets],
        "reviews": [],
    }
    return _page([*_head(goal), PREVIOUS.title(), *pieces[name]], [BACK, PREVIOUS])


def done_page(score: float) -> Page:
    """After the purchase; shorter than the official one, which no agent gets to see."""
    return _page(["Thank you for shopping with us!", "Your score (min 0.0, max 1.0)", str(score)], [])


def _head(goal: str) -> list[str]:
    return ["Instruction:", goal, "Back to Search"]


def _page(pieces: Iterable[str], buttons: Iterable[str]) -> Page:
    return Page(SEPARATOR.join(_shown(pieces)), tuple(dict.fromkeys(buttons)))


def _shown(pieces: Iterable[str]) -> Iterator[str]:
    """Pieces as an HTML parser leaves them: nothing for no text or blank lines, but a lone space counts."""
    for piece in pieces:
        text = piece.replace("\r\n", "\n").replace("\r", "\n") if "\r" in piece else piece
        if text and (text.strip(_BLANK) or "\n" not in text):
            yield text.strip()
