"""JSON over HTTP with servers that may misbehave: every answer is bounded in time and size.

A server that sends a byte now and then never exceeds the time-out of a single read, so the whole request has
one. The requests run in an event loop of their own, where one that takes too long is cancelled.
"""

import asyncio
import json
import threading
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

LARGEST = 64 << 20
"""Bytes of an answer, unpacked."""


class WebError(Exception):
    """No whole answer came; the text says why."""


@dataclass(frozen=True)
class Reply:
    """What a server said."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def text(self) -> str:
        """The content, with what is not UTF-8 replaced."""
        return self.content.decode("utf-8", "replace")

    def json(self) -> Any:
        """The content, parsed. Raises `ValueError` where it is not JSON, or nested too deeply to be read."""
        try:
            return json.loads(self.content)
        except RecursionError:
            raise ValueError("it is nested too deeply") from None


class Web:
    """Gets and posts JSON; threads may share it.

    Connections are kept open, the environment's proxies are not used.
    """

    def __init__(self, *, seconds: float, connections: int, headers: Mapping[str, str] | None = None) -> None:
        """`seconds` are for a request with its whole answer."""
        self._seconds = seconds
        limits = httpx.Limits(max_connections=connections)
        self._client = httpx.AsyncClient(headers=headers, timeout=seconds, limits=limits, trust_env=False)
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="sdar-web", daemon=True).start()

    def get(self, url: str) -> Reply:
        """What is there, whatever its status. Raises `WebError`."""
        return self._ask("GET", url)

    def post(self, url: str, body: Mapping[str, Any]) -> Reply:
        """The answer to a body, whatever its status. Raises `WebError`."""
        return self._ask("POST", url, body)

    def _ask(self, method: str, url: str, body: Mapping[str, Any] | None = None) -> Reply:
        try:
            return self._run(asyncio.wait_for(self._send(method, url, body), self._seconds))
        except TimeoutError:
            raise WebError(f"no whole answer in {self._seconds:g} s") from None
        except httpx.RequestError as error:
            raise WebError(f"{type(error).__name__}: {error}".removesuffix(": ")) from error

    def close(self) -> None:
        """Close the connections."""
        self._run(self._client.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _send(self, method: str, url: str, body: Mapping[str, Any] | None) -> Reply:
        async with self._client.stream(method, url, json=body) as response:
            content = bytearray()
            async for part in response.aiter_bytes():
                content += part
                if len(content) > LARGEST:
                    raise WebError(f"the answer has more than {LARGEST >> 20} MiB")
            return Reply(response.status_code, response.headers, bytes(content))
