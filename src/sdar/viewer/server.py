"""The local server. It listens on the loopback address alone and knows keys, not paths.

No part of a request is ever joined to a path: assets are held in memory, data are found by key (`library`).
A page of another site cannot read from it: its requests carry another `Host` (DNS rebinding) or are kept from
the answers by the browser, as no header allows other origins.
"""

import json
import sys
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qs, urlsplit

from sdar.errors import ConfigError, DataError
from sdar.viewer.library import Library

LOOPBACK = "127.0.0.1"
TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def assets() -> dict[str, bytes]:
    """File name -> content of everything the page is made of."""
    return {
        entry.name: entry.read_bytes()
        for entry in (files("sdar.viewer") / "assets").iterdir()
        if entry.name.rpartition(".")[2] in TYPES
    }


class ViewServer(ThreadingHTTPServer):
    """Serves a library; port 0 takes any free one. Raises `ConfigError` when the port is taken."""

    daemon_threads = True

    def __init__(self, library: Library, port: int = 0) -> None:
        self.library, self.assets = library, assets()
        try:
            super().__init__((LOOPBACK, port), _Handler)
        except (OSError, OverflowError) as error:
            raise ConfigError(
                f"cannot listen on port {port} ({error}): choose another --port, or 0 for any free one"
            ) from error
        self.hosts = {f"{name}:{self.server_port}" for name in (LOOPBACK, "localhost")}

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that closes a connection is no news."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://{LOOPBACK}:{self.server_port}/"


class _Handler(BaseHTTPRequestHandler):
    server: ViewServer
    protocol_version = "HTTP/1.1"
    timeout = 60

    def do_GET(self) -> None:
        if self.headers.get("Host") not in self.server.hosts:
            self._send(HTTPStatus.FORBIDDEN, b"this server answers to its own address only", "text/plain")
            return
        address = urlsplit(self.path)
        name = address.path.removeprefix("/") or "index.html"
        if name.startswith("api/"):
            self._answer(name.removeprefix("api/"), parse_qs(address.query))
        elif name in self.server.assets:
            kind = TYPES[name.rpartition(".")[2]]
            self._send(HTTPStatus.OK, self.server.assets[name], kind)
        else:
            self._send(HTTPStatus.NOT_FOUND, b"not found", "text/plain")

    def _answer(self, key: str, query: dict[str, list[str]]) -> None:
        try:
            after = int(query.get("after", ["0"])[0])
            found: Any = self.server.library.answer(key, max(0, after))
            status = HTTPStatus.OK
        except (DataError, ValueError) as error:
            found, status = {"error": str(error)}, HTTPStatus.NOT_FOUND
        self._send(status, json.dumps(found).encode(), "application/json")

    def _send(self, status: HTTPStatus, body: bytes, kind: str) -> None:
        self.send_response(status)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def version_string(self) -> str:
        return "sdar"

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the user has the page."""
