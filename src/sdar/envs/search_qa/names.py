"""Names of generated entities: short closed lists for small worlds, syllables put together for large ones."""

from collections.abc import Callable

PERSON, TOWN, COUNTRY, COMPANY, BOOK = TYPES = ("person", "town", "country", "company", "book")

_WORDS = {
    PERSON: (
        "Anna Boris Clara Dario Elena Felix Greta Hugo Irene Jonas Kira Leo Marta Nils Olga Pavel Rosa Simon "
        "Tara Viktor Wanda Xenia Yuri Zora Amir Bella Cora Dora Emil Fiona"
    ),
    TOWN: "Velm Dorin Kasto Luna Marsk Norvel Opal Pella Quint Ravo Selby Tolm Ulster Varna Wexley Yarrow",
    COUNTRY: "Oria Brenia Calund Drava Estia Fenia Gorland Haldia",
    COMPANY: "Orbit Zenith Apex Nimbus Vector Cobalt Delta Ember Falcon Granite Harbor Ivory",
    BOOK: (
        "Lantern Mirror Compass Anchor Candle Feather Garden Hammer Island Ladder Needle Orchard Pebble Quill"
    ),
}
CLOSED = {kind: tuple(words.split()) for kind, words in _WORDS.items()}
"""One word each, so that a small model's tokenizer makes each one token."""

_SYLLABLES = tuple(consonant + vowel for consonant in "bdfghklmnprstvz" for vowel in "aeio")
_NOUNS = CLOSED[BOOK][:10]


def word(number: int) -> str:
    """A made-up word, a different one for every number.

    >>> [word(number) for number in (0, 1, 51, 10**6)]
    ['Baba', 'Zofobi', 'Fefova', 'Kagebida']
    """
    base = len(_SYLLABLES)
    high, low = divmod(number, base**3)
    number = high * base**3 + low * 7_919 % base**3  # neighbours shall not look alike
    syllables = [_SYLLABLES[number % base]]
    while number >= base or len(syllables) < 2:
        number //= base
        syllables.append(_SYLLABLES[number % base])
    return "".join(syllables).capitalize()


_OPEN: dict[str, Callable[[int], str]] = {
    PERSON: lambda number: f"{word(number % 997)} {word(number % 1_009 + 60)}",
    TOWN: lambda number: word(number) + "burg",
    COUNTRY: lambda number: word(number) + "land",
    COMPANY: lambda number: f"{word(number)} Works",
    BOOK: lambda number: f"{word(number // len(_NOUNS))} {_NOUNS[number % len(_NOUNS)]}",
}


def name(kind: str, number: int) -> str:
    """The made-up name of an entity, a different one for every number below a million.

    >>> [name(kind, 70) for kind in TYPES]
    ['Tizine Tizese', 'Tizineburg', 'Tizineland', 'Tizine Works', 'Vekogo Lantern']
    """
    return _OPEN[kind](number)
