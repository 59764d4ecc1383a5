"""BM25 over passages: `bm25s` with Lucene's formula and Lucene's words, in memory or mapped from disk.

`bm25s` (Lù, 2024) keeps the finished score of every word in every passage, so a search is a sum over
postings.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from sdar.envs.search_qa.index import open_index
from sdar.envs.search_qa.passages import PassageStore, choose_corpus
from sdar.envs.search_qa.retrieval import Passage, Retriever, RetrieverConfig, retrievers
from sdar.errors import ConfigError, DataError
from sdar.text.analysis import analyze

if TYPE_CHECKING:
    import bm25s
    import numpy as np
    import numpy.typing as npt

logging.getLogger("bm25s").setLevel(logging.WARNING)


@retrievers.register("bm25")
@dataclass(frozen=True, kw_only=True)
class BM25Config(RetrieverConfig):
    """Word search over a local corpus. Source: Okapi at TREC-3, Robertson and others 1994."""

    corpus: str = ""
    """File with the passages; empty: `corpus.jsonl`, `.gz` or `.xz`, beside the questions."""
    k1: float = 0.9
    """How fast a word that is repeated stops to count."""
    b: float = 0.4
    """How much long passages are held back, 0 to 1."""

    def __post_init__(self) -> None:
        if self.k1 <= 0 or not 0 <= self.b <= 1:
            raise ConfigError(f"bm25 needs k1 above 0 and b between 0 and 1, not {self.k1} and {self.b}")

    def open(self, corpus: Path | None) -> Retriever:
        """The index of the corpus, built the first time and mapped into memory from then on."""
        path = choose_corpus(self.corpus, corpus)
        return _opened(open_index("bm25", path, (self.k1, self.b), self._build))

    def require(self, corpus: Path | None) -> None:
        """There has to be a corpus."""
        choose_corpus(self.corpus, corpus)

    def _build(self, passages: Iterable[Passage], target: Path) -> None:
        _index(passages, self.k1, self.b).save(target, show_progress=False)


class BM25:
    """Searches passages by words. At equal scores the passage that comes first in the corpus wins."""

    def __init__(self, index: bm25s.BM25, passages: Sequence[Passage]) -> None:
        self._index, self._passages = index, passages

    @classmethod
    def of(cls, passages: Sequence[Passage], k1: float = BM25Config.k1, b: float = BM25Config.b) -> BM25:
        """An index in memory. Raises `DataError` without passages."""
        return cls(_index(passages, k1, b), passages)

    @classmethod
    def load(cls, directory: Path) -> BM25:
        """An index that was saved, mapped into memory."""
        import bm25s

        index = bm25s.BM25.load(directory, mmap=True, show_progress=False)
        return cls(index, PassageStore(directory))

    def search(self, queries: Sequence[str], k: int) -> list[tuple[Passage, ...]]:
        """See `Retriever`; passages that share no word with the query are not results."""
        return [self._search(query, k) for query in queries]

    def _search(self, query: str, k: int) -> tuple[Passage, ...]:
        counts = Counter(self._index.get_tokens_ids(analyze(query)))
        if not counts:
            return ()
        scores = self._index.get_scores_from_ids(list(counts))
        for word, count in counts.items():
            if count > 1:  # each distinct word is looked up once, however often a query repeats it
                scores += (count - 1) * self._index.get_scores_from_ids([word])
        return tuple(self._passages[i]._replace(score=float(scores[i])) for i in _best(scores, k))


def _best(scores: npt.NDArray[np.float32], k: int) -> list[int]:
    """Places of the `k` highest positive scores, highest first, then in order."""
    import numpy as np

    places = np.flatnonzero(scores > 0)
    if len(places) > k:
        matching = scores[places]
        places = places[matching >= np.partition(matching, -k)[-k]]
    return places[np.lexsort((places, -scores[places]))[:k]].tolist()


def _index(passages: Iterable[Passage], k1: float, b: float) -> bm25s.BM25:
    vocabulary: dict[str, int] = {}
    rows = [
        [vocabulary.setdefault(word, len(vocabulary)) for word in analyze(passage.contents)]
        for passage in passages
    ]
    if not vocabulary:
        raise DataError("the corpus holds no passage with a word in it")
    import bm25s

    index = bm25s.BM25(method="lucene", k1=k1, b=b)
    index.index((rows, vocabulary), create_empty_token=False, show_progress=False)
    return index


@lru_cache(maxsize=4)
def _opened(place: Path) -> BM25:
    return BM25.load(place)
