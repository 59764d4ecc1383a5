"""The Porter stemmer as Lucene has it: the algorithm of 1980 with Martin Porter's two later departures.

M. F. Porter, "An algorithm for suffix stripping", Program 14(3), 1980. The departures: `bli` -> `ble` in
place of `abli` -> `able`, and `logi` -> `log`.
"""

from collections.abc import Mapping

_VOWELS = frozenset("aeiou")
_STEP_2 = {
    "ational": "ate", "tional": "tion", "enci": "ence", "anci": "ance", "izer": "ize", "bli": "ble",
    "alli": "al", "entli": "ent", "eli": "e", "ousli": "ous", "ization": "ize", "ation": "ate", "ator": "ate",
    "alism": "al",
    "iveness": "ive", "fulness": "ful", "ousness": "ous", "aliti": "al", "iviti": "ive", "biliti": "ble",
    "logi": "log",
}  # fmt: skip
_STEP_3 = {
    "icate": "ic", "ative": "", "alize": "al", "iciti": "ic", "ical": "ic", "ful": "", "ness": "",
}  # fmt: skip
_ENDINGS = "al ance ence er ic able ible ant ement ment ent ion ou ism ate iti ous ive ize"
_STEP_4 = dict.fromkeys(_ENDINGS.split(), "")


def stem(word: str) -> str:
    """The stem of a lower-case word; words of one or two letters are their own.

    >>> [stem(word) for word in ("shirts", "natural", "easily", "sized", "hopping")]
    ['shirt', 'natur', 'easili', 'size', 'hop']
    """
    if len(word) <= 2:
        return word
    word = _past_and_plural(word)
    if word.endswith("y") and "V" in _shape(word[:-1]):
        word = word[:-1] + "i"
    word = _replace(word, _STEP_2, 0)
    word = _replace(word, _STEP_3, 0)
    word = _replace(word, _STEP_4, 1)
    if word.endswith("e"):
        root = word[:-1]
        measure = _measure(root)
        if measure > 1 or (measure == 1 and not _short_end(root)):
            word = root
    if word.endswith("ll") and _measure(word) > 1:
        word = word[:-1]
    return word


def _shape(word: str) -> str:
    """`V` for each vowel, `C` for each consonant; `y` is a vowel after a consonant."""
    shape = ""
    for place, letter in enumerate(word):
        vowel = letter in _VOWELS or (letter == "y" and place > 0 and shape[-1] == "C")
        shape += "V" if vowel else "C"
    return shape


def _measure(word: str) -> int:
    """How often a vowel is followed by a consonant."""
    return _shape(word).count("VC")


def _short_end(word: str) -> bool:
    """Ends in consonant, vowel, consonant other than w, x and y."""
    return len(word) > 2 and _shape(word)[-3:] == "CVC" and word[-1] not in "wxy"


def _past_and_plural(word: str) -> str:
    if word.endswith(("sses", "ies")):
        word = word[:-2]
    elif word.endswith("s") and not word.endswith("ss"):
        word = word[:-1]
    if word.endswith("eed"):
        return word[:-1] if _measure(word[:-3]) > 0 else word
    for ending in ("ed", "ing"):
        root = word.removesuffix(ending)
        if root == word or "V" not in _shape(root):
            continue
        if root.endswith(("at", "bl", "iz")):
            return root + "e"
        if root[-2:-1] == root[-1:] and _shape(root)[-1] == "C":
            return root if root[-1] in "lsz" else root[:-1]
        return root + "e" if _measure(root) == 1 and _short_end(root) else root
    return word


def _replace(word: str, endings: Mapping[str, str], above: int) -> str:
    """Replace the longest ending that fits, if what precedes it measures more than `above`."""
    for size in range(min(7, len(word) - 1), 1, -1):
        ending = word[-size:]
        if ending in endings:
            root = word[:-size]
            if _measure(root) <= above or (ending == "ion" and root[-1] not in "st"):
                return word
            return root + endings[ending]
    return word
