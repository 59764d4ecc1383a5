"""A search server that speaks Search-R1's `/retrieve`, in both of its dialects.

    POST /retrieve {"queries": [...], "topk": 3, "return_scores": true}     Search-R1
    POST /retrieve {"query": "...", "topk": 3, "return_scores": true}       SDAR, verl-agent
    -> {"result": [[{"document": {"id": ..., "contents": ...}, "score": ...}, ...], ...]}

Without `return_scores` the documents come bare. While a search runs, requests gather, and the next search
takes all of them. Needs `pip install 'sdar[retrieval]'`.
"""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from sdar.envs.search_qa.retrieval import Passage, RetrievalError, Retriever
from sdar.errors import ConfigError

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse

MOST = 1_000
"""Queries, and passages for a query, that a request may ask for."""
LONGEST = 10_000
"""Characters of a query."""
LARGEST = 4 << 20
"""Bytes of a request."""
_STOP_S = 3
"""Seconds that requests have to end when the server is told to stop."""

Found = list[tuple[Passage, ...]]


def bind(host: str, port: int) -> socket.socket:
    """A socket with that address; port 0 takes a free one. Raises `ConfigError` where that cannot be had."""
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise ConfigError(f"cannot listen on {host}, port {port}: {error.strerror}") from None
    return bound


def serve(app: "Starlette", bound: socket.socket, on_ready: Callable[[str], None]) -> None:
    """Serve `app` until the process is told to stop. `on_ready` is told the address of `/retrieve`."""
    import uvicorn

    bound.listen()
    host, port = bound.getsockname()[:2]
    on_ready(f"http://{f'[{host}]' if ':' in host else host}:{port}/retrieve")
    uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=_STOP_S)).run([bound])


def require_server() -> None:
    """Raise `ConfigError` without Starlette and uvicorn."""
    if missing := [name for name in ("starlette", "uvicorn") if find_spec(name) is None]:
        needed = " and ".join(missing)
        raise ConfigError(f"serving a retriever needs {needed}: pip install 'sdar[retrieval]'")


def make_app(retriever: Retriever, *, top_k: int, max_batch: int) -> "Starlette":
    """The server as an ASGI application.

    `top_k` passages are found for a query whose request does not say how many; after `max_batch` queries a
    search is full.
    """
    from starlette.applications import Starlette
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    batcher = Batcher(retriever, max_batch)

    async def retrieve(request: "Request") -> "JSONResponse":
        body = await read_body(request)
        if body is None:
            return JSONResponse({"error": f"a request may have {LARGEST >> 20} MiB"}, 413)
        try:
            asked = Asked.read(json.loads(body), top_k)
        except (ValueError, RecursionError) as error:
            return JSONResponse({"error": str(error)}, 400)
        try:
            found = await batcher.search(asked.queries, asked.k)
        except RetrievalError as error:
            return JSONResponse({"error": str(error)}, 503)
        return JSONResponse({"result": [[_hit(passage, asked.scores) for passage in each] for each in found]})

    async def health(request: "Request") -> "JSONResponse":
        return JSONResponse({"status": "ok", "searches": batcher.searches, "queries": batcher.queries})

    @asynccontextmanager
    async def lifespan(app: "Starlette") -> AsyncIterator[None]:
        worker = asyncio.create_task(batcher.run())
        yield
        worker.cancel()

    routes = [Route("/retrieve", retrieve, methods=["POST"]), Route("/health", health)]
    return Starlette(routes=routes, lifespan=lifespan)


async def read_body(request: "Request") -> bytes | None:
    """The body of a request; None as soon as it is too large."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > LARGEST:
            return None
    return bytes(body)


@dataclass(frozen=True)
class Asked:
    """A request, understood."""

    queries: list[str]
    k: int
    scores: bool

    @classmethod
    def read(cls, body: Any, top_k: int) -> "Asked":
        """Read a request in either dialect. Raises `ValueError` that says what is wrong with it."""
        if not isinstance(body, dict) or ("query" in body) == ("queries" in body):
            raise ValueError("the body must be an object with either `query` or `queries`")
        queries = [body["query"]] if "query" in body else body["queries"]
        if not isinstance(queries, list) or not all(isinstance(query, str) for query in queries):
            raise ValueError("`query` must be a text, `queries` a list of texts")
        if any(len(query) > LONGEST for query in queries):
            raise ValueError(f"a query may have {LONGEST} characters")
        k = top_k if body.get("topk") is None else body["topk"]
        if type(k) is not int or not 1 <= k <= MOST or len(queries) > MOST:
            raise ValueError(f"`topk` must be a number from 1 to {MOST}, and there may be {MOST} queries")
        return cls(queries, k, bool(body.get("return_scores")))


class Batcher:
    """Puts the queries of requests that wait at the same time into one search, in a thread of its own."""

    def __init__(self, retriever: Retriever, max_batch: int) -> None:
        self._retriever, self._max_batch = retriever, max_batch
        self._waiting: asyncio.Queue[tuple[list[str], int, asyncio.Future[Found]]] = asyncio.Queue()
        self.searches = self.queries = 0

    async def search(self, queries: list[str], k: int) -> Found:
        """The passages of one request's queries. Raises `RetrievalError`."""
        future: asyncio.Future[Found] = asyncio.get_running_loop().create_future()
        await self._waiting.put((queries, k, future))
        return await future

    async def run(self) -> None:
        """Search for ever."""
        while True:
            batch = [await self._waiting.get()]
            size = len(batch[0][0])
            while not self._waiting.empty() and size < self._max_batch:
                batch.append(self._waiting.get_nowait())
                size += len(batch[-1][0])
            asked = [query for queries, _, _ in batch for query in queries]
            most = max(k for _, k, _ in batch)
            self.searches, self.queries = self.searches + 1, self.queries + len(asked)
            try:
                found = await asyncio.to_thread(self._retriever.search, asked, most)
            except Exception as error:  # noqa: BLE001 - whatever it is, the requests have to be answered
                _fail([future for _, _, future in batch], error)
                continue
            for queries, k, future in batch:
                mine, found = found[: len(queries)], found[len(queries) :]
                if not future.done():
                    future.set_result([passages[:k] for passages in mine])


def _fail(futures: Sequence["asyncio.Future[Found]"], error: Exception) -> None:
    for future in futures:
        if not future.done():
            future.set_exception(RetrievalError(f"{type(error).__name__}: {error}"))


def _hit(passage: Passage, scores: bool) -> dict[str, Any]:
    document = {"id": passage.id, "contents": passage.contents}
    return {"document": document, "score": passage.score} if scores else document
