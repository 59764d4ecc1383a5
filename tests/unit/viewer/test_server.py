"""The server answers its own page and nobody else, and knows keys, not paths."""

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.viewed import view_run

from sdar.errors import ConfigError
from sdar.viewer.library import Library
from sdar.viewer.server import ViewServer, assets


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ViewServer]:
    (tmp_path / "secret.txt").write_text("secret")
    runs = [view_run(tmp_path, "same", seed=0), view_run(tmp_path / "other", "same", seed=1)]
    with ViewServer(Library(runs)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def get(server: ViewServer, target: str, **headers: str) -> tuple[int, http.client.HTTPMessage, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    connection.putrequest("GET", target, skip_host="Host" in headers)
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    response = connection.getresponse()
    return response.status, response.headers, response.read()


def ask(server: ViewServer, key: str) -> dict:
    status, _, body = get(server, f"/api/{key}")
    assert status == 200, body
    return json.loads(body)


def test_answers(server: ViewServer) -> None:
    runs = ask(server, "runs")["runs"]
    assert [run["seed"] for run in runs] == [0, 1]
    assert [run["differs"] for run in runs] == [{"train.seed": 0}, {"train.seed": 1}]
    assert runs[0]["group"] == runs[1]["group"]
    assert len({run["name"] for run in runs}) == 2
    key = runs[1]["key"]
    assert key == list(server.library.indexes.values())[1].run.id[:8]
    state = ask(server, "state")["runs"]
    assert [(run["episodes"], run["lines"], run["waiting"]) for run in state] == [(8, 2, 0)] * 2
    assert len(ask(server, f"run/{key}/episodes?after=6")["rows"]) == 2
    assert len(ask(server, f"run/{key}/metrics?after=1")["lines"]) == 1
    assert ask(server, f"run/{key}/episode/training/2/3")["index"] == 3


def test_it_listens_on_the_loopback_address_alone(server: ViewServer) -> None:
    assert server.socket.getsockname()[0] == "127.0.0.1"


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1", "127.0.0.1.evil.example", ""]
)
def test_another_host_is_refused(server: ViewServer, host: str) -> None:
    """A page whose name was rebound to 127.0.0.1 sends its own name."""
    for target in ("/", "/api/runs", "/app.js"):
        status, _, body = get(server, target, Host=host)
        assert status == 403
        assert b"run" not in body


@pytest.mark.parametrize(
    "target",
    [
        "/../secret.txt",
        "/..%2fsecret.txt",
        "/%2e%2e/secret.txt",
        "//etc/passwd",
        "/etc/passwd",
        "/server.py",
        "/api/run/{key}/episode/../../secret",
        "/api/run/{key}/episode/1/../../../../secret.txt",
        "/api/run/{key}/episode/1/-1",
        "/api/run/{key}/episode/99999/0",
        "/api/run/9/episodes",
        "/api/run/{key}/episode/../2/3",
        "/api/run/{key}/episode/..%2f..%2fsecret.txt/0/0",
        "/api/run/{key}/episode/training/99999/0",
        "/api/run/{key}/episode/training/1/-1",
        "/api/run/{key}/config.toml",
        "/api/",
        "/api/runs?after=x",
    ],
)
def test_paths_lead_nowhere(server: ViewServer, target: str) -> None:
    target = target.replace("{key}", next(iter(server.library.indexes)))
    status, _, body = get(server, target)
    assert status == 404
    assert b"secret" not in body.replace(target.removeprefix("/api/").encode(), b"")
    assert b"root:" not in body


def test_only_get(server: ViewServer) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    connection.request("POST", "/api/runs")
    assert connection.getresponse().status == 501


def test_every_answer_carries_the_policy(server: ViewServer) -> None:
    for target in ("/", "/app.js", "/api/runs", "/nothing"):
        _, headers, _ = get(server, target)
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "Access-Control-Allow-Origin" not in headers


def test_the_page_needs_no_network_and_makes_no_markup_of_text() -> None:
    for name, content in assets().items():
        text = content.decode()
        assert "http://" not in text.replace("http://www.w3.org/2000/svg", ""), name
        assert "https://" not in text, name
        for word in (
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "new Function",
        ):
            assert word not in text, (name, word)


def test_a_taken_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"cannot listen on port {port}.*choose another --port"):
            ViewServer(Library([]), port)
