"""Downloads from a local server that fails in every way a server can."""

import hashlib
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from sdar.data.download import download
from sdar.errors import DataError

BODY = bytes(range(256)) * 400
DIGEST = hashlib.sha256(BODY).hexdigest()


class Server:
    """Serves `body`. `failures` are used up one a request: a status, or the bytes sent before it hangs up."""

    def __init__(self) -> None:
        self.body, self.etag, self.ranges = BODY, '"one"', True
        self.failures: list[int | str] = []
        self.requests: list[str] = []
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), self.handler())
        self.url = f"http://127.0.0.1:{self.http.server_port}/file.zip"
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def handler(server) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked = self.headers.get("Range", "")
                server.requests.append(asked)
                failure = server.failures.pop(0) if server.failures else ""
                if isinstance(failure, int):
                    return self.send_error(failure)
                start = 0
                if asked and server.ranges and self.headers.get("If-Range") == server.etag:
                    start = int(re.findall(r"\d+", asked)[0])
                self.send_response(206 if start else 200)
                self.send_header("Content-Length", str(len(server.body) - start))
                if server.etag:
                    self.send_header("ETag", server.etag)
                self.end_headers()
                end = start + int(failure) if failure else len(server.body)
                self.wfile.write(server.body[start:end])
                self.close_connection = True
                return None

            def log_message(self, *args: object) -> None:
                pass

        return Handler


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.http.shutdown()
    server.http.server_close()


def get(server: Server, path: Path, **options: object) -> str:
    return download(server.url, path, pause=0.001, **options)  # type: ignore[arg-type]


def only(path: Path) -> bool:
    """The file is whole and nothing else is left."""
    return path.read_bytes() == BODY and list(path.parent.iterdir()) == [path]


def test_a_file_arrives_whole_and_is_not_fetched_twice(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "new/file.zip"
    seen: list[tuple[int, int]] = []
    assert get(server, path, sha256=DIGEST, on_progress=lambda *at: seen.append(at)) == DIGEST
    assert only(path)
    assert seen[-1] == (len(BODY), len(BODY))
    assert get(server, path, sha256=DIGEST) == DIGEST
    assert server.requests == [""]


def test_dropped_connections_are_continued_where_they_broke(server: Server, tmp_path: Path) -> None:
    server.failures = ["30000", "20000", 503]
    assert get(server, tmp_path / "file.zip") == DIGEST
    assert server.requests == ["", "bytes=30000-", "bytes=50000-", "bytes=50000-"]
    assert only(tmp_path / "file.zip")


def test_a_later_call_continues(server: Server, tmp_path: Path) -> None:
    server.failures = ["30000", 500, 500]
    with pytest.raises(DataError, match="HTTP status 500"):
        get(server, tmp_path / "file.zip", attempts=3)
    assert not (tmp_path / "file.zip").exists()
    assert get(server, tmp_path / "file.zip", sha256=DIGEST) == DIGEST
    assert server.requests[-1] == "bytes=30000-"
    assert only(tmp_path / "file.zip")


def test_a_file_that_changed_meanwhile_is_started_again(server: Server, tmp_path: Path) -> None:
    server.failures = ["30000"]
    server.body = BODY[::-1]
    with pytest.raises(DataError):
        get(server, tmp_path / "file.zip", attempts=1)
    server.body, server.etag = BODY, '"two"'
    assert get(server, tmp_path / "file.zip") == DIGEST
    assert only(tmp_path / "file.zip")


@pytest.mark.parametrize(("etag", "ranges"), [("", True), ('W/"weak"', True), ('"one"', False)])
def test_a_server_that_cannot_continue_starts_again(
    server: Server, tmp_path: Path, etag: str, ranges: bool
) -> None:
    server.etag, server.ranges, server.failures = etag, ranges, ["30000"]
    assert get(server, tmp_path / "file.zip") == DIGEST
    assert only(tmp_path / "file.zip")


def test_a_part_that_is_longer_than_the_file_is_thrown_away(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.zip.part").write_bytes(BODY * 2)
    (tmp_path / "file.zip.part.etag").write_text(server.etag)
    server.failures = [416]
    assert get(server, tmp_path / "file.zip") == DIGEST
    assert only(tmp_path / "file.zip")


def test_a_wrong_checksum_leaves_nothing_behind(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"SHA-256 {DIGEST}, expected 00"):
        get(server, tmp_path / "file.zip", sha256="00")
    assert list(tmp_path.iterdir()) == []


def test_a_file_with_another_checksum_is_replaced(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.zip").write_bytes(b"old")
    assert get(server, tmp_path / "file.zip", sha256=DIGEST) == DIGEST
    assert only(tmp_path / "file.zip")


def test_a_refusal_is_final(server: Server, tmp_path: Path) -> None:
    server.failures = [404]
    with pytest.raises(DataError, match=r"file\.zip: HTTP status 404"):
        get(server, tmp_path / "file.zip")
    assert len(server.requests) == 1


def test_no_server_is_an_error_of_ours(server: Server, tmp_path: Path) -> None:
    server.http.shutdown()
    server.http.server_close()
    with pytest.raises(DataError, match="cannot download"):
        get(server, tmp_path / "file.zip", attempts=2, timeout=1.0)
