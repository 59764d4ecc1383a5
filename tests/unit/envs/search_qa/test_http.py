"""The client against a real server on loopback that can be told to misbehave."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from sdar.envs.search_qa.http import HttpConfig
from sdar.envs.search_qa.retrieval import RetrievalError
from sdar.errors import ConfigError


class Fake(ThreadingHTTPServer):
    """Answers each query with itself; first plays the `moves` it was given, one a request."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/retrieve"
        self.moves, self.bodies, self.connections = [], [], 0
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def setup(self):
        self.server.connections += 1
        super().setup()

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.bodies.append(body)
        queries = body["queries"] if "queries" in body else [body["query"]]
        hits = [
            [{"document": {"id": q, "contents": f'"{q}"\ntext'}, "score": 0.5}] * body["topk"]
            for q in queries
        ]
        status, data = 200, json.dumps({"result": hits}).encode()
        move = self.server.moves.pop(0) if self.server.moves else None
        if move == "hang":
            time.sleep(0.5)
        elif move == "drop":
            self.close_connection = True
            return
        elif move == "drip":
            self.send_response(200)
            self.end_headers()
            for _ in range(40):
                self.wfile.write(b" ")
                self.wfile.flush()
                time.sleep(0.05)
            return
        elif move == "drip head":
            for byte in b"HTTP/1.1 200 OK\r\n" * 3:
                self.wfile.write(bytes([byte]))
                self.wfile.flush()
                time.sleep(0.05)
            return
        elif move == "bad gzip":
            self.send_response(200)
            self.send_header("Content-Encoding", "gzip")
            self.send_header("Content-Length", "4")
            self.end_headers()
            self.wfile.write(b"nope")
            return
        elif isinstance(move, int):
            status, data = move, b"sorry"
        elif move is not None:
            data = move
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args):
        pass


@pytest.fixture
def fake():
    with Fake() as server:
        yield server
        server.shutdown()


def client(fake, **settings):
    return HttpConfig(urls=(fake.url,), pause_s=0.01, **settings).open(None)


def test_queries_go_in_batches_over_one_connection(fake):
    engine = client(fake, batch=2, connections=1)
    found = engine.search(["a", "b", "c"], 2)
    assert [[passage.id for passage in each] for each in found] == [["a", "a"], ["b", "b"], ["c", "c"]]
    assert found[0][0].contents == '"a"\ntext'
    assert found[0][0].score == 0.5
    engine.search(["d"], 2)
    assert [body["queries"] for body in fake.bodies] == [["a", "b"], ["c"], ["d"]]
    assert fake.bodies[0] == {"queries": ["a", "b"], "topk": 2, "return_scores": True}
    assert fake.connections == 1
    assert engine.search([], 2) == []


def test_the_dialect_of_one_query(fake):
    engine = client(fake, dialect="query")
    assert [each[0].id for each in engine.search(["a", "b", "c"], 1)] == ["a", "b", "c"]
    assert sorted(body["query"] for body in fake.bodies) == ["a", "b", "c"]
    assert all("queries" not in body for body in fake.bodies)


@pytest.mark.parametrize("move", [503, 429, "drop", "bad gzip", b"{not json", b"[" * 100_000])
def test_what_may_pass_is_tried_again(fake, move):
    fake.moves = [move, move]
    assert client(fake, attempts=3).search(["a"], 1)[0][0].id == "a"
    assert len(fake.bodies) == 3


@pytest.mark.parametrize("move", ["hang", "drip", "drip head"])
def test_a_slow_answer_is_given_up(fake, move):
    """However it is slow: a byte now and then is no answer either."""
    fake.moves = [move]
    assert client(fake, timeout_s=0.2).search(["a"], 1)[0][0].id == "a"
    assert len(fake.bodies) == 2


def test_pauses_grow(fake, monkeypatch):
    pauses = []
    monkeypatch.setattr("sdar.envs.search_qa.http.time.sleep", pauses.append)
    fake.moves = [500] * 8
    with pytest.raises(RetrievalError, match=r"HTTP status 500 \(8 attempts\)"):
        HttpConfig(urls=(fake.url,), attempts=8).open(None).search(["a"], 1)
    assert pauses == [0.5, 1, 2, 4, 8, 16, 30]


@pytest.mark.parametrize(
    ("move", "message"),
    [
        (404, "HTTP status 404: sorry"),
        (b'{"results": []}', "`result` must be a list of lists"),
        (b'{"result": [[{"document": {"id": 1}}]]}', "`contents` must be a text"),
        (b'{"result": [["text"]]}', "does not answer as Search-R1 does"),
        (b'{"result": []}', "was asked 1 queries and answered 0"),
        (b"[]", "does not answer as Search-R1 does"),
        (b'{"result": [[{"document": {"id": 1, "contents": null}}]]}', "`contents` must be a text"),
        (b'{"result": [[{"document": {"id": 1, "contents": ["a"]}}]]}', "`contents` must be a text"),
        (b'{"result": [[{"document": {"id": [1], "contents": "a"}}]]}', "`id` must be a text"),
        (b'{"result": [[{"document": {"id": 1, "contents": "a"}, "score": NaN}]]}', "a finite number"),
        (
            b'{"result": [[{"document": {"id": 1, "contents": "a"}, "score": 1' + b"0" * 400 + b"}]]}",
            "a finite",
        ),
        (b'{"result": [[{"document": {"id": 1, "contents": "a"}, "score": "1"}]]}', "a finite number"),
        (b'{"result": "ab"}', "must be a list of lists"),
    ],
)
def test_a_wrong_answer_is_a_failure_at_once(fake, move, message):
    fake.moves = [move]
    with pytest.raises(RetrievalError, match=message):
        client(fake).search(["a"], 1)
    assert len(fake.bodies) == 1


def test_more_than_asked_for_is_not_shown_and_half_characters_are_replaced(fake):
    hit = '{"document": {"id": 1, "contents": "a \\ud83d b"}, "score": 0.5}'
    fake.moves = [f'{{"result": [[{", ".join([hit] * 9)}]]}}'.encode()]
    found = client(fake).search(["a"], 3)
    assert [[passage.contents for passage in each] for each in found] == [["a \ufffd b"] * 3]


def test_one_failed_part_fails_the_search(fake):
    fake.moves = [None, 404]
    with pytest.raises(RetrievalError):
        client(fake, batch=1, connections=1).search(["a", "b", "c"], 1)


def test_bare_documents_are_read_too(fake):
    fake.moves = [b'{"result": [[{"id": 7, "contents": "x"}]]}']
    assert client(fake).search(["a"], 1) == [(("7", "x", 0.0),)]


def test_nobody_there(fake):
    fake.shutdown()
    fake.server_close()
    with pytest.raises(RetrievalError, match=r"\(2 attempts\)"):
        client(fake, attempts=2).search(["a"], 1)


def test_another_server_takes_over(fake):
    with Fake() as other:
        other.moves = [500] * 10
        engine = HttpConfig(urls=(other.url, fake.url), pause_s=0.0, attempts=2).open(None)
        for query in "abcd":
            assert engine.search([query], 1)[0][0].id == query
        assert (len(other.bodies), len(fake.bodies)) == (2, 4)
        other.shutdown()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dialect": "querys"}, "did you mean 'query'"),
        ({"attempts": 0}, "attempts must be at least 1"),
        ({"timeout_s": 0}, "timeout_s must be above 0"),
        ({"urls": ()}, "urls must be addresses"),
        ({"urls": ("localhost:8000",)}, "urls must be addresses"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        HttpConfig(**settings)
