"""A training run whose search server does everything wrong: failed searches are counted, the run goes on."""

import json
import math
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.runs import tiny_trainer
from tests.tiny import tiny_tokenizer

from sdar.envs.search_qa.http import HttpConfig
from sdar.envs.search_qa.spec import SearchQASpec
from sdar.errors import DataError
from sdar.objectives.grpo import GRPO
from sdar.rollout.collector import Collector
from sdar.rollout.engines.scripted import ScriptedEngine
from sdar.rollout.settings import RolloutConfig
from sdar.runs.rundir import read_metrics
from sdar.trainer.distributed import join

HIT = {"document": {"id": 7, "contents": '"Lima"\nLima is a town.'}, "score": 0.5}
DEEP = b"[" * 200_000
REPLIES: list[tuple[int, dict[str, str], bytes] | str] = [
    (500, {}, b"sorry"),
    (404, {}, b"<html>nobody here</html>"),
    (200, {}, b"<html>welcome</html>"),
    (200, {"Content-Encoding": "gzip"}, b"no gzip"),
    (200, {}, b'{"result": [[{"document": {"id": 1, "contents": null}}]]}'),
    (200, {}, b'{"result": [[{"document": {"id": 1, "contents": ["a"]}}]]}'),
    (200, {}, b'{"result": [[{"document": {"id": 1, "contents": "a"}, "score": 1' + b"0" * 400 + b"}]]}"),
    (200, {}, b'{"result": [[{"document": {"id": 1, "contents": "a"}, "score": Infinity}]]}'),
    (200, {}, b'{"result": []}'),
    (200, {}, b"[]"),
    (200, {}, DEEP),
    (302, {"Location": "/elsewhere"}, b""),
    "drip",
    "hang up",
]


class Server(ThreadingHTTPServer):
    """Answers every other request as it should, and the others with `REPLIES` in turn."""

    daemon_threads = True

    def __init__(self, kind: float = 2) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.kind, self.asked = kind, 0
        self.lock = threading.Lock()
        self.url = f"http://127.0.0.1:{self.server_port}/retrieve"
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            number = self.server.asked
            self.server.asked += 1
        if number % self.server.kind == 0:
            self.send(200, {}, json.dumps({"result": [[HIT] * body["topk"]] * len(body["queries"])}).encode())
            return
        reply = REPLIES[number // 2 % len(REPLIES)]
        if reply == "drip":
            self.send_response(200)
            self.end_headers()
            for _ in range(20):
                self.wfile.write(b" ")
                time.sleep(0.05)
        elif isinstance(reply, tuple):
            self.send(*reply)

    def send(self, status: int, headers: dict[str, str], data: bytes) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    rows = [{"set": "nq", "question": f"where is town {i}?", "answers": ["Lima"]} for i in range(8)]
    for split in ("train", "test"):
        text = "".join(json.dumps({**row, "question": f"{row['question']} {split}"}) + "\n" for row in rows)
        (tmp_path / f"{split}.jsonl").write_text(text)
    return tmp_path


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        yield server
        server.shutdown()


def searching(questions: Path, url: str, patience: int = 50) -> SearchQASpec:
    retriever = HttpConfig(urls=(url,), timeout_s=0.4, attempts=1, pause_s=0.0, batch=1)
    return SearchQASpec(data=str(questions), retriever=retriever, patience=patience, max_turns=3)


def test_a_run_goes_on_and_counts(questions: Path, server: Server, tmp_path: Path) -> None:
    spec, asked = searching(questions, server.url), iter(range(10**6))
    engine = ScriptedEngine(lambda prompt: f"search town {next(asked)}", tiny_tokenizer())
    with join() as world:
        trainer = tiny_trainer(tmp_path / "run", world, steps=2, objective=GRPO())
        rollout = RolloutConfig(tasks_per_step=4, group_size=2, max_tokens=64)
        collector = Collector(spec, engine, trainer.chat, rollout)
        run = replace(trainer, collector=collector, engine=engine, tasks=spec.tasks("train"))
        assert run.train() == 2
        lines = read_metrics(run.run)
    for line in lines[1:]:
        assert line["rollout/searches"] == 2.0
        assert 0.0 < line["rollout/failed_searches"] <= 2.0
        assert line["optim/skipped"] == 0.0
        assert all(math.isfinite(value) for name, value in line.items() if name.startswith("policy/"))
    assert server.asked >= 24


def test_a_server_that_is_gone_for_good_ends_the_run_in_one_line(questions: Path, tmp_path: Path) -> None:
    with Server(kind=math.inf) as server:
        server.asked = 1
        spec = searching(questions, server.url, patience=3)
        env, task = spec.make(), spec.tasks("train")[0]
        for turn in range(2):
            env.reset(task)
            assert env.step(f"search town {turn}").metrics["failed_searches"] == 1
        env.reset(task)
        with pytest.raises(DataError, match="3 searches failed in a row") as last:
            env.step("search town 2")
        assert "\n" not in str(last.value)
        server.shutdown()
