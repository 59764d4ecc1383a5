"""What a search engine is to the environment, and what all engines share: a cache, and a watch over failures.

A search that fails raises `RetrievalError`; it is never an empty result. The environment shows the failure in
the step, and the watch counts it, writes it to the log and ends the run when the engine is gone for good.
"""

import logging
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import ClassVar, NamedTuple, Protocol

from sdar.errors import DataError, SdarError
from sdar.settings.registry import Registry

_LOG = logging.getLogger(__name__)
_CACHED = 200_000


class RetrievalError(SdarError):
    """A search failed."""


class Passage(NamedTuple):
    """A passage that was found. `contents` is the title in quotation marks, a line break, and the text.

    Contents of a single line are a text without a title.
    """

    id: str
    contents: str
    score: float = 0.0

    @property
    def title(self) -> str:
        r"""The first line.

        >>> Passage("7", '"Velm"\nVelm is a town.').title
        '"Velm"'
        """
        title, line_break, _ = self.contents.strip().partition("\n")
        return title if line_break else ""

    @property
    def text(self) -> str:
        """Everything after the title."""
        title, line_break, text = self.contents.strip().partition("\n")
        return text if line_break else title


class Retriever(Protocol):
    """A search engine."""

    def search(self, queries: Sequence[str], k: int) -> list[tuple[Passage, ...]]:
        """The best `k` passages for each query, best first; fewer where fewer match.

        Raises:
            RetrievalError: The search failed.
        """


@dataclass(frozen=True, kw_only=True)
class RetrieverConfig(ABC):
    """Settings of a search engine. Subclasses add fields and register themselves."""

    waits: ClassVar[bool] = False
    """Whether a search waits for another process; then several are made at a time, in threads."""

    @abstractmethod
    def open(self, corpus: Path | None) -> Retriever:
        """The engine, ready to search; `corpus` is the passage file beside the questions, if there is one."""

    @abstractmethod
    def require(self, corpus: Path | None) -> None:
        """Raise `ConfigError` or `DataError` for what is missing, without loading anything."""


retrievers: Registry[type[RetrieverConfig]] = Registry("retriever")


class Cached:
    """Remembers the latest results, so that the same query of the same question costs one search.

    Several threads may search at a time.
    """

    def __init__(self, inner: Retriever, size: int = _CACHED) -> None:
        self._inner, self._size = inner, size
        self._known: OrderedDict[tuple[str, int], tuple[Passage, ...]] = OrderedDict()
        self._lock = Lock()

    def search(self, queries: Sequence[str], k: int) -> list[tuple[Passage, ...]]:
        """See `Retriever`; only queries that are not known are searched for, each once."""
        with self._lock:
            known = {query: self._known[query, k] for query in queries if (query, k) in self._known}
        new = [query for query in dict.fromkeys(queries) if query not in known]
        known |= dict(zip(new, self._inner.search(new, k), strict=True)) if new else {}
        found = [known[query] for query in queries]
        with self._lock:
            for query, passages in zip(queries, found, strict=True):
                self._known[query, k] = passages
                self._known.move_to_end((query, k))
            while len(self._known) > self._size:
                self._known.popitem(last=False)
        return found


class Watched:
    """Counts searches that fail, and gives up after `patience` failures without a success between them.

    Several threads may search at a time.
    """

    def __init__(self, inner: Retriever, patience: int) -> None:
        self._inner, self._patience = inner, patience
        self.searches = self.failures = self._streak = 0
        self._lock = Lock()

    def search(self, queries: Sequence[str], k: int) -> list[tuple[Passage, ...]]:
        """See `Retriever`.

        Raises:
            RetrievalError: This search failed.
            DataError: So did the `patience` - 1 searches before it.
        """
        with self._lock:
            self.searches += 1
        try:
            found = self._inner.search(queries, k)
        except RetrievalError as error:
            with self._lock:
                self._fail(error)
            raise
        with self._lock:
            self._streak = 0
        return found

    def _fail(self, error: RetrievalError) -> None:
        self.failures += 1
        self._streak += 1
        if self._streak >= self._patience:
            raise DataError(
                f"{self._streak} searches failed in a row, the last one because {error}"
            ) from error
        if self.failures & (self.failures - 1) == 0:
            _LOG.warning("%d of %d searches failed, this one because %s", self.failures, self.searches, error)
