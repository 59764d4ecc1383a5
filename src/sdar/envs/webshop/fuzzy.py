"""Likeness of short texts as `thefuzz` measures it: `token_set_ratio(a, b) > 85`, the test of the reward.

The official environment runs thefuzz 0.19 on `difflib`, which is what this does, without computing ratios
that cannot reach the threshold.
"""

import re
from collections.abc import Iterable
from difflib import SequenceMatcher
from functools import lru_cache

ALIKE = 85
"""Texts are alike above this share of common letters, in percent."""
_LATIN_1 = dict.fromkeys(range(128, 256))
_PUNCTUATION = re.compile(r"\W")


@lru_cache(maxsize=1 << 16)
def words(text: str) -> frozenset[str]:
    """The words of a text in lower case, without punctuation and Latin-1 letters.

    >>> sorted(words("X-Large, (blue)"))
    ['blue', 'large', 'x']
    """
    return frozenset(_PUNCTUATION.sub(" ", text.translate(_LATIN_1)).lower().split())


@lru_cache(maxsize=1 << 16)
def alike(one: str, two: str) -> bool:
    """Whether the common words of two texts, with and without the rest of each, are nearly the same.

    >>> alike("light blue", "blue"), alike("easy care", "easy to carry"), alike("red", "")
    (True, False, False)
    """
    mine, other = words(one), words(two)
    if not mine or not other:
        return False
    common = _join(mine & other)
    all_mine = f"{common} {_join(mine - other)}".strip()
    all_other = f"{common} {_join(other - mine)}".strip()
    pairs = ((common, all_mine), (common, all_other), (all_mine, all_other))
    return any(_close(left, right) for left, right in pairs)


def _join(parts: Iterable[str]) -> str:
    return " ".join(sorted(parts))


def _close(one: str, two: str) -> bool:
    if one == two:
        return True
    if not one or not two:
        return False
    matcher = SequenceMatcher(None, one, two)
    bounds = (matcher.real_quick_ratio, matcher.quick_ratio, matcher.ratio)
    return all(round(100 * bound()) > ALIKE for bound in bounds)
