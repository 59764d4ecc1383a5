"""A client for search servers that speak Search-R1's `/retrieve`, in either of its two dialects."""

import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from itertools import count
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

from sdar.envs.search_qa.retrieval import Passage, RetrievalError, Retriever, RetrieverConfig, retrievers
from sdar.errors import ConfigError
from sdar.settings.values import check_choices, check_least
from sdar.text.unicode import well_formed

_LONGEST_PAUSE = 30.0
_AGAIN = (408, 425, 429)
_FINITE = sys.float_info.max


class Dialect(StrEnum):
    """What a request holds: a list of queries, as in Search-R1, or one query, as in SDAR and verl-agent."""

    QUERIES = "queries"
    QUERY = "query"


class _Interrupted(Exception):
    """The attempt failed in a way that another may not."""


@retrievers.register("http")
@dataclass(frozen=True, kw_only=True)
class HttpConfig(RetrieverConfig):
    """A search server, or several that hold the same. Source: the protocol of Search-R1, arXiv 2503.09516."""

    waits: ClassVar[bool] = True
    urls: tuple[str, ...] = ("http://127.0.0.1:8000/retrieve",)
    """Addresses; requests go to them in turn, and another attempt to the next one."""
    dialect: Dialect = Dialect.QUERIES
    """What a request holds."""
    timeout_s: float = 60.0
    """Seconds for an attempt."""
    attempts: int = 5
    """Attempts before a search has failed."""
    pause_s: float = 0.5
    """Seconds before the second attempt; twice as long before each later one, 30 at most."""
    batch: int = 128
    """Queries in a request, where the dialect allows for more than one."""
    connections: int = 16
    """Requests at the same time."""

    def __post_init__(self) -> None:
        check_choices(self, "http", dialect=Dialect)
        check_least(self, "http", attempts=1, batch=1, connections=1)
        if self.timeout_s <= 0 or self.pause_s < 0:
            raise ConfigError("http: timeout_s must be above 0, and pause_s not below")
        wrong = [url for url in self.urls if urlsplit(url).scheme not in ("http", "https")]
        if wrong or not self.urls:
            raise ConfigError(f"http: urls must be addresses like http://host:8000/retrieve, not {wrong}")

    def open(self, corpus: Path | None) -> Retriever:
        """A client; the connection is made by the first search."""
        return HttpRetriever(self)

    def require(self, corpus: Path | None) -> None:
        """Nothing on this machine."""


class HttpRetriever:
    """Asks a server. Connections are kept open; proxies of the environment are not used."""

    def __init__(self, config: HttpConfig) -> None:
        from sdar.text.web import Web

        self._config = config
        self._web = Web(seconds=config.timeout_s, connections=config.connections)
        self._turn = count()

    def search(self, queries: Sequence[str], k: int) -> list[tuple[Passage, ...]]:
        """See `Retriever`; all queries fail when one of them does."""
        size = self._config.batch if self._config.dialect is Dialect.QUERIES else 1
        parts = [queries[start : start + size] for start in range(0, len(queries), size)]
        if len(parts) < 2:
            return [found for part in parts for found in self._ask(part, k)]
        with ThreadPoolExecutor(min(self._config.connections, len(parts))) as pool:
            return [found for answer in pool.map(lambda part: self._ask(part, k), parts) for found in answer]

    def close(self) -> None:
        """Close the connections."""
        self._web.close()

    def _ask(self, queries: Sequence[str], k: int) -> list[tuple[Passage, ...]]:
        config, first = self._config, next(self._turn)
        for attempt in range(config.attempts):
            url = config.urls[(first + attempt) % len(config.urls)]
            try:
                return _passages(self._post(url, queries, k), queries, k, url)
            except _Interrupted as error:
                reason = f"{url}: {error}"
            if attempt + 1 < config.attempts:
                time.sleep(min(config.pause_s * 2**attempt, _LONGEST_PAUSE))
        raise RetrievalError(f"{reason} ({config.attempts} attempts)")

    def _post(self, url: str, queries: Sequence[str], k: int) -> Any:
        """The body of the answer, parsed."""
        from sdar.text.web import WebError

        one = self._config.dialect is Dialect.QUERY
        asked = {"query": queries[0]} if one else {"queries": list(queries)}
        try:
            answer = self._web.post(url, {**asked, "topk": k, "return_scores": True})
        except WebError as error:
            raise _Interrupted(str(error)) from error
        if answer.status >= 500 or answer.status in _AGAIN:
            raise _Interrupted(f"HTTP status {answer.status}")
        if answer.status != 200:
            raise RetrievalError(f"{url}: HTTP status {answer.status}: {answer.text[:200]}")
        try:
            return answer.json()
        except ValueError:
            raise _Interrupted("the answer is not JSON") from None


def _passages(body: Any, queries: Sequence[str], k: int, url: str) -> list[tuple[Passage, ...]]:
    """The first `k` passages of each query in an answer. Anything else than a list for each is a failure."""
    found = body.get("result") if isinstance(body, dict) else None
    if not isinstance(found, list) or not all(isinstance(hits, list) for hits in found):
        raise RetrievalError(f"{url} does not answer as Search-R1 does: `result` must be a list of lists")
    if len(found) != len(queries):
        raise RetrievalError(f"{url} was asked {len(queries)} queries and answered {len(found)}")
    try:
        return [tuple(map(_passage, hits[:k])) for hits in found]
    except ValueError as error:
        raise RetrievalError(f"{url} does not answer as Search-R1 does: {error}") from None


def _passage(hit: Any) -> Passage:
    """A hit with its score, or the bare document. Raises `ValueError` that says what is wrong with it."""
    document = hit.get("document", hit) if isinstance(hit, dict) else None
    if not isinstance(document, dict):
        raise ValueError("a hit must be an object")
    contents, name, score = document.get("contents"), document.get("id", ""), hit.get("score", 0.0)
    if not isinstance(contents, str):
        raise ValueError("`contents` must be a text")
    if not isinstance(name, str | int) or isinstance(name, bool):
        raise ValueError("`id` must be a text or a whole number")
    if isinstance(score, bool) or not isinstance(score, int | float) or not -_FINITE <= score <= _FINITE:
        raise ValueError("`score` must be a finite number")
    return Passage(str(name), well_formed(contents), float(score))
