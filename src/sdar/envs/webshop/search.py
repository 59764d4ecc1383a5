"""BM25 search that returns what Lucene 8 returns, in the same order.

Exactness needs more than the formula. Lucene stores the length of a document in one byte, computes in
single precision, leaves out the constant factor (k1 + 1), and breaks ties; the official index holds its
products sorted by asin at equal scores. The query is a bag of words: a word that occurs twice counts twice.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from sdar.text.analysis import analyze

if TYPE_CHECKING:
    import numpy.typing as npt


K1, B = np.float32(0.9), np.float32(0.4)
"""The parameters of the official index."""


class Index:
    """An index of documents; `search` returns their places in the list.

    Postings of all terms lie one after the other in two arrays: the documents, and for each the number 1 +
    frequency / (k1 * (1 - b + b * length / mean length)), all that a score needs besides the term's weight.
    """

    def __init__(self, ids: Sequence[str], texts: Iterable[str]) -> None:
        self._terms: dict[str, int] = {}
        terms, documents, counts, lengths = array("i"), array("i"), array("f"), array("q")
        for place, text in enumerate(texts):
            words = analyze(text)
            lengths.append(len(words))
            for word, count in Counter(words).items():
                terms.append(self._terms.setdefault(word, len(self._terms)))
                documents.append(place)
                counts.append(count)
        self._size = len(lengths)
        term = np.frombuffer(terms, np.int32)
        order = np.argsort(term, kind="stable")
        found = np.bincount(term, minlength=len(self._terms))
        self._ends = np.concatenate([[0], np.cumsum(found)]).tolist()
        self._documents = np.frombuffer(documents, np.int32)[order]
        norm = _norms(np.frombuffer(lengths, np.int64))
        self._factors = np.float32(1) + np.frombuffer(counts, np.float32)[order] * norm[self._documents]
        self._weights = np.log(1 + (self._size - found + 0.5) / (found + 0.5)).astype(np.float32)
        self._ranks = np.empty(self._size, np.int32)
        self._ranks[sorted(range(self._size), key=lambda place: ids[place])] = np.arange(self._size)

    def search(self, query: str, limit: int) -> list[int]:
        """Places of the best documents, best first; only those that share a term with the query."""
        scores = self.scores(query)
        found = np.flatnonzero(scores)
        if len(found) > 4 * limit:
            # Most documents share some word with a query: sort only those that can be among the best.
            cut = np.partition(scores[found], len(found) - limit)[len(found) - limit]
            found = found[scores[found] >= cut]
        best = np.lexsort((self._ranks[found], -scores[found]))[:limit]
        return found[best].tolist()

    def scores(self, query: str) -> npt.NDArray[np.float32]:
        """The score of every document, in single precision as Lucene sums it: each term's, then their sum."""
        total = np.zeros(self._size, np.float64)
        for word, count in Counter(analyze(query)).items():
            term = self._terms.get(word)
            if term is None:
                continue
            posting = slice(self._ends[term], self._ends[term + 1])
            weight = np.float32(count) * self._weights[term]
            total[self._documents[posting]] += weight - weight / self._factors[posting]
        return total.astype(np.float32)


def _norms(lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """1 / (k1 * (1 - b + b * length / mean length)), the length as its byte gives it back."""
    distinct, back = np.unique(lengths, return_inverse=True)
    stored = np.array([stored_length(int(length)) for length in distinct], np.float32)[back]
    mean = np.float32(lengths.sum() / max(len(lengths), 1))
    one = np.float32(1)
    return one / (K1 * ((one - B) + B * stored / mean)) if mean else stored


def stored_length(length: int) -> int:
    """A document length after Lucene's `SmallFloat.intToByte4` and back: exact to 40, then in four bits.

    >>> [stored_length(length) for length in (7, 40, 41, 42, 100, 1000)]
    [7, 40, 40, 42, 96, 984]
    """
    exact = 255 - _code(2**31 - 1)
    return length if length < exact else exact + _value(_code(length - exact))


def _code(number: int) -> int:
    """The four leading bits and where they stand, in one number."""
    shift = number.bit_length() - 4
    return number if shift < 0 else ((number >> shift) & 7) | (shift + 1) << 3


def _value(code: int) -> int:
    shift = (code >> 3) - 1
    return code & 7 if shift < 0 else (code & 7 | 8) << shift
