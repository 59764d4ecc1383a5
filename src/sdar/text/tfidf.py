"""Texts as vectors over their words, without a model."""

import math
import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from sdar.text.encoder import Vectors


class TfIdf:
    """Texts as unit vectors over the words of a collection; words that it lacks do not count.

    A word weighs its count in the text times ln(N / n), where n of the collection's N texts have it: one that
    they all have counts nothing.
    """

    def __init__(self, collection: Sequence[str]) -> None:
        spread = Counter(word for text in collection for word in set(_words(text)))
        self._places = {word: place for place, word in enumerate(sorted(spread))}
        self._weights = {word: math.log(len(collection) / n) for word, n in spread.items()}

    def __call__(self, texts: Sequence[str]) -> Vectors:
        """[texts, words of the collection], float32; all zero for a text without any of those words."""
        vectors = np.zeros((len(texts), len(self._places)), np.float32)
        for row, text in zip(vectors, texts, strict=True):
            for word, count in Counter(_words(text)).items():
                if word in self._places:
                    row[self._places[word]] = count * self._weights[word]
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray(vectors / np.where(norms, norms, 1), np.float32)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())
