"""The search server, asked by real clients on loopback."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from sdar.envs.search_qa.bm25 import BM25
from sdar.envs.search_qa.http import HttpConfig
from sdar.envs.search_qa.retrieval import Passage, RetrievalError
from sdar.envs.search_qa.server import make_app
from sdar.envs.search_qa.worlds import LARGE, World

pytest.importorskip("starlette", reason="pip install 'sdar[retrieval]'")
uvicorn = pytest.importorskip("uvicorn", reason="pip install 'sdar[retrieval]'")


class Slow:
    """A search engine that takes its time, and notes what it was asked at once."""

    def __init__(self, inner):
        self.inner, self.batches = inner, []

    def search(self, queries, k):
        self.batches.append(len(queries))
        if "broken" in queries:
            raise RuntimeError("out of order")
        time.sleep(0.01)
        return self.inner.search(queries, k)


class Running:
    """A server in a thread of this process, on a port that was free."""

    def __init__(self, app):
        self.server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
        self.thread = threading.Thread(target=self.server.run, daemon=True)

    def __enter__(self):
        self.thread.start()
        while not self.server.started:
            time.sleep(0.005)
        port = self.server.servers[0].sockets[0].getsockname()[1]
        return f"http://127.0.0.1:{port}"

    def __exit__(self, *error):
        self.server.should_exit = True
        self.thread.join()


@pytest.fixture(scope="module")
def world():
    return World("server", LARGE, closed=False)


@pytest.fixture(scope="module")
def engine(world):
    return Slow(BM25.of(list(world.passages())))


@pytest.fixture(scope="module")
def url(engine):
    with Running(make_app(engine, top_k=3, max_batch=16)) as address:
        yield address


@pytest.fixture(scope="module")
def web(url):
    with httpx.Client(base_url=url, verify=False, trust_env=False) as client:
        yield client


def test_both_dialects_with_and_without_scores(web, engine):
    query = "Works founder"
    (found,) = engine.inner.search([query], 2)
    scored = [{"document": {"id": p.id, "contents": p.contents}, "score": p.score} for p in found]
    asked = {"topk": 2, "return_scores": True}
    one = web.post("/retrieve", json={"query": query, **asked}).json()
    many = web.post("/retrieve", json={"queries": [query, "zzz"], **asked}).json()
    assert one == {"result": [scored]}
    assert many == {"result": [scored, []]}
    bare = web.post("/retrieve", json={"queries": [query], "topk": None}).json()["result"][0]
    assert bare[:2] == [hit["document"] for hit in scored]
    assert len(bare) == 3


@pytest.mark.parametrize(
    "body",
    [
        {}, [], "x", {"query": "a", "queries": ["b"]}, {"query": 1}, {"queries": "a"}, {"queries": [None]},
        {"query": "a", "topk": 0}, {"query": "a", "topk": "3"}, {"query": "a", "topk": True},
        {"query": "a", "topk": 10**6}, {"queries": ["a"] * 1_001},
    ],
)  # fmt: skip
def test_a_request_that_makes_no_sense_is_refused(web, body):
    answer = web.post("/retrieve", json=body)
    assert answer.status_code == 400
    assert "must be" in answer.json()["error"]


def test_what_is_too_large_is_refused_at_once(web, engine):
    engine.batches.clear()
    long = web.post("/retrieve", json={"query": "founder " * 2_000})
    assert (long.status_code, long.json()) == (400, {"error": "a query may have 10000 characters"})
    large = web.post("/retrieve", content=b'{"query": "' + b"x" * (5 << 20) + b'"}')
    assert (large.status_code, large.json()) == (413, {"error": "a request may have 4 MiB"})
    deep = web.post("/retrieve", content=b"[" * 100_000)
    assert deep.status_code == 400
    assert engine.batches == []


def test_what_is_not_json_is_refused(web):
    assert web.post("/retrieve", content=b"{").status_code == 400
    assert web.post("/retrieve", content=b"\xff\xfe").status_code == 400
    assert web.get("/retrieve").status_code == 405


def test_a_search_that_fails_is_an_error_and_not_an_empty_result(url, web):
    answer = web.post("/retrieve", json={"query": "broken"})
    assert (answer.status_code, answer.json()) == (503, {"error": "RuntimeError: out of order"})
    with pytest.raises(RetrievalError, match="HTTP status 503"):
        HttpConfig(urls=(f"{url}/retrieve",), attempts=1).open(None).search(["broken"], 3)
    assert web.post("/retrieve", json={"query": "founder"}).status_code == 200


@pytest.mark.parametrize("dialect", ["query", "queries"])
def test_under_load_every_client_gets_its_own_answer(url, web, engine, world, dialect):
    subjects = sorted({subject for subject, _ in world.facts})[:120]
    found = engine.inner.search(subjects, 3)
    expected = {subject: [p.contents for p in each] for subject, each in zip(subjects, found, strict=True)}
    engine.batches.clear()
    before = web.get("/health").json()["searches"]
    client = httpx.Client(limits=httpx.Limits(max_connections=12), timeout=60)

    def ask(start):
        mine, size = subjects[start::12], 2 if dialect == "queries" else 1
        parts = [mine[first : first + size] for first in range(0, len(mine), size)]
        bodies = [{"queries": part} if size == 2 else {"query": part[0]} for part in parts]
        replies = [client.post(f"{url}/retrieve", json={**body, "topk": 3}).json() for body in bodies]
        hits = [each for reply in replies for each in reply["result"]]
        return {s: [hit["contents"] for hit in each] for s, each in zip(mine, hits, strict=True)}

    with ThreadPoolExecutor(12) as pool:
        answers = [answer for each in pool.map(ask, range(12)) for answer in each.items()]
    assert dict(answers) == expected
    assert sum(engine.batches) == 120
    assert len(engine.batches) < 60, "requests that wait are put together"
    assert max(engine.batches) <= 17
    health = web.get("/health").json()
    assert health["queries"] >= 120 > health["searches"] - before


def test_scores_survive_the_way(url, engine):
    client = HttpConfig(urls=(f"{url}/retrieve",)).open(None)
    assert client.search(["founder", "mayor"], 3) == engine.inner.search(["founder", "mayor"], 3)
    assert isinstance(client.search(["mayor"], 1)[0][0], Passage)
