"""Text to index terms, as Lucene 8's `EnglishAnalyzer` does it.

Word breaks after Unicode UAX #29, possessive `'s` removed, lower case, 33 stop words removed, Porter stems.
"""

import re
from functools import lru_cache

import regex

from sdar.text.stemming import stem

_STOP = """
a an and are as at be but by for if in into is it no not of on or such that the their then there these they
this to was will with
"""
STOP_WORDS = frozenset(_STOP.split())
LONGEST = 255
"""Longer tokens are cut into pieces of this length."""
_LETTER = r"[\p{WB=ALetter}\p{WB=Hebrew_Letter}]"
_MARKS = r"[\p{WB=Extend}\p{WB=Format}\p{WB=ZWJ}]*"
_DIGIT, _JOINER, _KATAKANA = r"\p{WB=Numeric}", r"\p{WB=ExtendNumLet}", r"\p{WB=Katakana}"
_IN_WORD = r"[\p{WB=MidLetter}\p{WB=MidNumLet}\p{WB=Single_Quote}]"
_IN_NUMBER = r"[\p{WB=MidNum}\p{WB=MidNumLet}\p{WB=Single_Quote}]"
# Lucene 8 knows emoji by a Unicode version that counted more symbols as pictographs than today's does.
_OLD_PICTOGRAPHS = r"\u2600-\u2605\u2607-\u2612\u2614-\u2685\u2690-\u2705\u2708-\u2712\u2763-\u2767"
_PICTOGRAPH = rf"[\p{{Extended_Pictographic}}{_OLD_PICTOGRAPHS}]"
_IDEOGRAPH, _UNSPACED = r"[\p{Han}\p{Hiragana}]", r"\p{Line_Break=SA}"
_UNIT = (
    rf"(?:{_LETTER}{_MARKS}(?:{_IN_WORD}{_MARKS}(?={_LETTER}))?"
    rf"|{_DIGIT}{_MARKS}(?:{_IN_NUMBER}{_MARKS}(?={_DIGIT}))?|{_KATAKANA}{_MARKS}|{_JOINER}{_MARKS})"
)
_EMOJI = rf"{_PICTOGRAPH}{_MARKS}(?:(?<=\u200d){_PICTOGRAPH}{_MARKS})*"
_TOKEN = regex.compile(rf"{_UNIT}+|{_IDEOGRAPH}{_MARKS}|{_EMOJI}|{_UNSPACED}+", regex.V1)
_WORDLIKE = regex.compile(rf"{_LETTER}|{_DIGIT}|{_KATAKANA}|{_IDEOGRAPH}|{_PICTOGRAPH}|{_UNSPACED}")
# The same rules for ASCII text, where they are simple and the standard library is several times faster.
_ASCII_TOKEN = re.compile(r"(?:[A-Za-z]+(?:[.:'](?=[A-Za-z]))?|[0-9]+(?:[.,;'](?=[0-9]))?|_)+")
_POSSESSIVE = ("'s", "\u2019s", "\uff07s", "'S", "\u2019S", "\uff07S")


def analyze(text: str) -> list[str]:
    """The index terms of a text, in order.

    >>> analyze("The women's 3.5 inch running-shoes, easily washed")
    ['women', '3.5', 'inch', 'run', 'shoe', 'easili', 'wash']
    """
    tokens = (_ASCII_TOKEN if text.isascii() else _TOKEN).findall(text)
    if max(map(len, tokens), default=0) > LONGEST:
        tokens = [token[i : i + LONGEST] for token in tokens for i in range(0, len(token), LONGEST)]
    return [term for term in map(_term, tokens) if term]


@lru_cache(maxsize=1 << 18)
def _term(token: str) -> str:
    """The term of a token, or nothing: stop words, and runs of joiners without a letter or digit."""
    if not _WORDLIKE.search(token):
        return ""
    token = (token[:-2] if token.endswith(_POSSESSIVE) else token).lower()
    return "" if token in STOP_WORDS else stem(token)
