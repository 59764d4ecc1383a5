"""Pages read back into their parts: for scripted experts, and for prompts that show less than a page does.

Nothing here knows more than an agent does: it reads the text of an observation and what can be clicked.
"""

import re
from dataclasses import dataclass

from sdar.envs.webshop.pages import BACK, BUY, DETAILS, NEXT, PREVIOUS, SEPARATOR
from sdar.types import Observation

_LIMIT = re.compile(r",? and price lower than (\d+(?:\.\d+)?) dollars$")
_WORD = re.compile(r"[^\W_]+")
_PRICE = re.compile(r"\$(\d+(?:\.\d+)?)")
_FILLERS = "a am an and find for i in looking me need of the with"
_FILLER = frozenset(_FILLERS.split())


@dataclass(frozen=True, slots=True)
class Wish:
    """A goal sentence, understood: what, with which options (name, value), under which price.

    >>> Wish.read("Find me slim shirts with color: red, and size: l, and price lower than 40.00 dollars")
    Wish(what='slim shirts', options=(('color', 'red'), ('size', 'l')), limit=40.0)
    """

    what: str
    options: tuple[tuple[str, str], ...] = ()
    limit: float = float("inf")

    @classmethod
    def read(cls, sentence: str) -> "Wish":
        """Read a goal sentence; one without options or a price limit is a wish without them."""
        match = _LIMIT.search(sentence)
        rest = sentence[: match.start()] if match else sentence
        head, colon, tail = rest.partition(": ")
        what, _, name = head.rpartition(" with ")
        if not colon or not what:
            what, pairs = rest, []
        else:
            pairs = _pairs(f"{name}: {tail}")
        limit = float(match[1]) if match else float("inf")
        return cls(what.removeprefix("Find me ").strip(), tuple(pairs), limit)

    @property
    def words(self) -> tuple[str, ...]:
        """The words to look for, options included, each once and in order."""
        values = " ".join(value for _, value in self.options)
        found = _WORD.findall(f"{self.what} {values}".lower())
        return tuple(dict.fromkeys(word for word in found if word not in _FILLER))


@dataclass(frozen=True, slots=True)
class Row:
    """A product in a list of results; `name` is what to click."""

    name: str
    title: str
    price: str

    @property
    def dollars(self) -> float:
        """The price, or the lower end of its range."""
        return dollars(self.price)


@dataclass(frozen=True, slots=True)
class View:
    """A page, read: the rows of results, the options and title of a product, or the text of another page."""

    rows: tuple[Row, ...] = ()
    options: tuple[tuple[str, tuple[str, ...]], ...] = ()
    title: str = ""
    price: str = ""
    text: str = ""
    buttons: tuple[str, ...] = ()

    @classmethod
    def read(cls, observation: Observation) -> "View":
        """Read what an observation shows, whichever page it is."""
        buttons = tuple(
            name[len("click[") : -1] for name in observation.admissible if name.startswith("click[")
        )
        pieces = visible(observation).split(SEPARATOR)
        if BUY in buttons:
            return _item(pieces, buttons)
        if NEXT in buttons:
            shown = pieces[pieces.index("Next >") + 1 :] if "Next >" in pieces else []
            names = [name for name in buttons if name not in (BACK, NEXT, PREVIOUS)]
            shown_as = zip(names, shown[1::3], shown[2::3], strict=False)
            return cls(rows=tuple(Row(*row) for row in shown_as), buttons=buttons)
        frame = ("Back to Search", "< Prev", "Search")
        return cls(text="\n".join(piece for piece in pieces if piece not in frame), buttons=buttons)


def visible(observation: Observation) -> str:
    """The text of a page without its head: what follows the goal sentence."""
    return observation.text.partition(f"{observation.goal}{SEPARATOR}")[2] or observation.text


def dollars(price: str) -> float:
    """The first number of dollars in a text; infinite without one."""
    match = _PRICE.search(price)
    return float(match[1]) if match else float("inf")


def _item(pieces: list[str], buttons: tuple[str, ...]) -> View:
    """A product's page: before title and price, pieces that cannot be clicked are names of options."""
    values = frozenset(buttons) - {BACK, PREVIOUS, BUY, *DETAILS}
    end = max((i for i, piece in enumerate(pieces) if piece.startswith("Price: ")), default=len(pieces))
    title = pieces[end - 1] if end else ""
    options: list[tuple[str, list[str]]] = []
    for piece in pieces[2 : end - 1]:
        if piece in values and options:
            options[-1][1].append(piece)
        else:
            options.append((piece, []))
    price = pieces[end].removeprefix("Price: ") if end < len(pieces) else ""
    return View(
        options=tuple((name, tuple(values)) for name, values in options),
        title=title,
        price=price,
        buttons=buttons,
    )


def _pairs(text: str) -> list[tuple[str, str]]:
    """`name: value, and name: value`; a piece without a colon belongs to the value before it."""
    pairs: list[tuple[str, str]] = []
    for piece in text.split(", and "):
        name, colon, value = piece.partition(": ")
        if colon or not pairs:
            pairs.append((name, value))
        else:
            pairs[-1] = (pairs[-1][0], f"{pairs[-1][1]}, and {piece}")
    return pairs
