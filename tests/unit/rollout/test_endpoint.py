"""Playing by a chat endpoint, against a server on loopback: what is asked, retries, errors, and the key."""

import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from sdar.build.engine import make_author
from sdar.cli import main
from sdar.envs.base import Panel
from sdar.envs.toy import ToySpec
from sdar.errors import ConfigError, ContextOverflow, DataError, SdarError
from sdar.evaluation.evaluate import EvalConfig, evaluate
from sdar.evaluation.results import EvalResult
from sdar.rollout.endpoint import ChatEndpoint, EndpointCollector, EndpointConfig
from sdar.rollout.engine import Sampling
from sdar.rollout.settings import RolloutConfig, WriterConfig
from sdar.rollout.stages import Ask
from sdar.rollout.writing import Writing
from sdar.runs.rundir import RunDir
from sdar.skills.bank import Skill, SkillBank
from sdar.skills.context import SkillContext
from sdar.skills.retrieval import retrievals
from sdar.types import ContextMode, EndReason, Message

SECRET = "sk-very-secret-0123"
Reply = tuple[int, dict[str, str], Any]
HELLO = [Message("user", "The door is on the right.")]


def walk(body: dict[str, Any]) -> Reply:
    """A model that reads the corridor's last line."""
    text = "right" if "right" in body["messages"][-1]["content"] else "left"
    message = {"role": "assistant", "content": text}
    return 200, {}, {"choices": [{"message": message}], "usage": {"completion_tokens": 3}}


class Server(ThreadingHTTPServer):
    """Answers with `reply`, after what is listed in `first`; remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.reply: Callable[[dict[str, Any]], Reply] = walk
        self.first: list[Reply] = []
        self.asked: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.lock, self.busy, self.most = threading.Lock(), 0, 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with server.lock:
            server.busy += 1
            server.most = max(server.most, server.busy)
            server.asked.append(body | {"path": self.path})
            server.headers.append(dict(self.headers))
            scripted = server.first.pop(0) if server.first else None
        status, headers, data = scripted or server.reply(body)
        with server.lock:
            server.busy -= 1
        payload = data.encode() if isinstance(data, str) else json.dumps(data).encode()
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(payload))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def endpoint(server: Server, waits: list[float] | None = None, **settings: Any) -> ChatEndpoint:
    given = {"model": "m", "base_url": server.url, "concurrency": 4, "timeout": 5.0, "retries": 2}
    config = EndpointConfig(**given | settings)
    return ChatEndpoint(config, SECRET, pause=[].append if waits is None else waits.append)


def play(player: ChatEndpoint, context: ContextMode = ContextMode.TRANSCRIPT) -> EvalResult:
    spec = ToySpec()
    collector = EndpointCollector(spec, player, RolloutConfig(context=context, history=2))
    return evaluate(spec.panel("held_out"), collector, EvalConfig(samples=2, temperature=0.5), max_tokens=7)


@pytest.mark.parametrize("context", list(ContextMode))
def test_an_endpoint_plays_a_panel(context: ContextMode, server: Server) -> None:
    result = play(endpoint(server), context)
    assert result.success.value == 1
    assert [outcome.turns for outcome in result.outcomes] == [(4, 4), (4, 4), (5, 5), (5, 5)]
    assert [outcome.tokens for outcome in result.outcomes] == [(12, 12), (12, 12), (15, 15), (15, 15)]
    assert len(server.asked) == 36
    first = server.asked[0]
    assert (first["path"], first["model"]) == ("/v1/chat/completions", "m")
    assert (first["temperature"], first["max_tokens"]) == (0.5, 7)
    assert len({ask["seed"] for ask in server.asked}) == 36
    roles = [[message["role"] for message in ask["messages"]] for ask in server.asked]
    longest = max(roles, key=len)
    assert longest == (["user"] if context is ContextMode.WINDOW else [*["user", "assistant"] * 4, "user"])


def test_skills_and_answers_reach_the_conversation(server: Server) -> None:
    skills = SkillContext(SkillBank("toy", (Skill("walk", "", "Walk.", "Walk to it."),)), retrievals["all"]())
    spec = ToySpec()
    EndpointCollector(spec, endpoint(server), RolloutConfig(), skills).collect(spec.tasks("train")[-1:], 1, 0)
    first, *rest = server.asked[-1]["messages"]
    assert "Walk to it." in first["content"]
    assert [message["content"] for message in rest] == ["right", "The door is on the right."] * 2


def test_at_most_so_many_requests_at_a_time(server: Server) -> None:
    def slow(body: dict[str, Any]) -> Reply:
        time.sleep(0.05)
        return walk(body)

    server.reply = slow
    play(endpoint(server, concurrency=3))
    assert server.most == 3


def test_a_busy_endpoint_is_asked_again(server: Server) -> None:
    server.first = [(429, {"Retry-After": "7"}, "slow down"), (503, {}, "starting")]
    waits: list[float] = []
    text, completion = endpoint(server, waits).complete(HELLO, Sampling(), 1)
    assert (text, completion.num_tokens) == ("right", 3)
    assert waits[0] == 7
    assert 1 <= waits[1] <= 2


def test_patience_ends(server: Server) -> None:
    server.first = [(500, {}, f"broken {SECRET}")] * 3
    with pytest.raises(DataError, match=r"is busy: 500 broken \*\*\* \(tried 3 times\)"):
        endpoint(server).complete(HELLO, Sampling(), 1)


def test_silence_and_absence(server: Server) -> None:
    def silent(body: dict[str, Any]) -> Reply:
        time.sleep(0.3)
        return walk(body)

    server.reply = silent
    with pytest.raises(DataError, match=r"cannot be reached: no whole answer in 0\.05 s"):
        endpoint(server, timeout=0.05, retries=0).complete(HELLO, Sampling(), 1)
    with pytest.raises(DataError, match="cannot be reached: ConnectError"):
        endpoint(server, base_url="http://127.0.0.1:9/v1").complete(HELLO, Sampling(), 1)


@pytest.mark.parametrize(
    ("status", "error", "message"),
    [
        (401, ConfigError, "refuses the key in OPENAI_API_KEY: 401 bad key"),
        (404, ConfigError, "is not there, or has no model 'm': 404 bad key"),
        (400, DataError, "refuses the request: 400 bad key"),
    ],
)
def test_errors_that_waiting_does_not_mend(
    status: int, error: type[Exception], message: str, server: Server
) -> None:
    server.first = [(status, {}, f"bad key {SECRET}")]
    with pytest.raises(error, match=message) as caught:
        endpoint(server).complete(HELLO, Sampling(), 1)
    assert SECRET not in str(caught.value)
    assert len(server.asked) == 1


@pytest.mark.parametrize("data", ["not json", {"choices": []}, {"choices": [{"message": {"content": "a"}}]}])
def test_what_is_no_chat_completion(data: object, server: Server) -> None:
    server.first = [(200, {}, data)]
    with pytest.raises(DataError, match=r"gave no (JSON|chat completion with its usage)"):
        endpoint(server).complete(HELLO, Sampling(), 1)


def test_a_full_context_ends_an_episode_and_one_that_fits_no_task_is_an_error(server: Server) -> None:
    too_long = (400, {}, {"error": {"code": "context_length_exceeded"}})
    server.reply = lambda body: too_long if len(body["messages"]) > 4 else walk(body)
    spec = ToySpec()
    collector = EndpointCollector(spec, endpoint(server), RolloutConfig())
    [group] = collector.collect(Panel("one", spec.tasks("held_out")[:1]).tasks, 1, 0)
    assert group.trajectories[0].end is EndReason.CONTEXT_FULL
    assert len(group.trajectories[0].turns) == 2
    server.reply = lambda body: too_long
    with pytest.raises(ContextOverflow, match="does not fit the endpoint's context: 400"):
        play(endpoint(server))


# an endpoint that writes what stages ask for


class Alone:
    """A world of one."""

    rank, size = 0, 1

    def gather(self, item: Any) -> list[Any]:
        return [item]


def write(server: Server, run: Path, words: Sequence[str], **settings: Any) -> tuple[list[str], list[str]]:
    """What the endpoint of these settings writes for a run about these words, and how each text ended."""
    config = WriterConfig(base_url=server.url, model="m", **{"max_tokens": 9, "retries": 0, **settings})
    writing = Writing(
        author=make_author(config, None, None),
        config=config,
        run=RunDir.open(run) if run.exists() else RunDir.create(run.parent, run.name, "", exact=True),
        ranks=Alone(),
        seed=0,
    )
    ends: list[str] = []
    return writing.write([Ask("test", (Message("user", word),)) for word in words], 1, ends.append), ends


def test_an_endpoint_writes_the_texts_of_a_run(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)

    def echo(body: dict[str, Any]) -> Reply:
        asked = body["messages"][0]["content"]
        time.sleep(0.05 * (asked == "a"))
        if asked == "long":
            return 400, {}, {"error": {"code": "context_length_exceeded"}}
        message, end = {"content": f"about {asked}"}, "length" if asked == "b" else "stop"
        return 200, {}, {
            "choices": [{"message": message, "finish_reason": end}], "usage": {"completion_tokens": 2}
        }  # fmt: skip

    server.reply = echo
    found, ends = write(server, tmp_path / "run", ["a", "b", "long", "a"], temperature=0.5)
    assert found == ["about a", "about b", "", "about a"], "in the order in which they were asked for"
    assert sorted(ends) == ["length", "overflow", "stop"]
    asked = {ask["messages"][0]["content"]: ask for ask in server.asked}
    assert len(server.asked) == len(asked) == 3, "the same question is asked once"
    assert {(ask["model"], ask["temperature"], ask["max_tokens"]) for ask in server.asked} == {("m", 0.5, 9)}
    assert len({ask["seed"] for ask in server.asked}) == 3
    assert {header["Authorization"] for header in server.headers} == {f"Bearer {SECRET}"}
    again, _ = write(server, tmp_path / "run", ["b", "long"], temperature=0.5)
    assert again == ["about b", ""]
    assert len(server.asked) == 3, "a run that goes on has its texts"
    kept = (tmp_path / "run" / "texts.jsonl").read_text()
    assert '"by": "m"' in kept
    assert SECRET not in kept


@pytest.mark.parametrize(
    ("answer", "settings", "message"),
    [
        ((200, {}, "<html>\nnot here</html>"), {}, "gave no JSON: <html> not here</html>"),
        ((200, {}, {"choices": [{"message": {"content": ["a"]}}]}), {}, "gave no chat completion"),
        ((500, {}, "broken\nhere"), {"retries": 0}, r"is busy: 500 broken here \(tried 1 times\)"),
        ((401, {}, "who?"), {}, "refuses a request without a key: set OPENAI_API_KEY: 401 who?"),
        (None, {"timeout": 0.05}, r"cannot be reached: no whole answer in 0\.05 s"),
    ],
)
def test_an_endpoint_that_does_not_write_ends_in_one_line(
    answer: Reply | None,
    settings: dict[str, Any],
    message: str,
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)

    def reply(body: dict[str, Any]) -> Reply:
        time.sleep(0 if answer else 0.3)
        return answer or walk(body)

    server.reply = reply
    with pytest.raises(SdarError, match=message) as caught:
        write(server, tmp_path / "run", ["a", "b"], **settings)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run" / "texts.jsonl").exists(), "nothing half is kept"


@pytest.mark.parametrize("address", ["localhost:8000/v1", "http://", "http://[a", "http://h:port/v1"])
def test_a_writers_address_is_looked_at_before_a_run_begins(address: str) -> None:
    with pytest.raises(ConfigError, match=r"writer\.base_url: '.*' is not an address such as https://"):
        WriterConfig(base_url=address, model="m")
    with pytest.raises(ConfigError, match=r"writer\.base_url must not hold a password"):
        WriterConfig(base_url="http://me:secret@host/v1", model="m")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"base_url": ""}, "is not an address"),
        ({"base_url": "localhost:8000/v1"}, "is not an address"),
        ({"base_url": "http://me:pass@host/v1"}, "must not hold a password"),
        ({"concurrency": 0}, "--concurrency must be at least 1"),
    ],
)
def test_impossible_settings(settings: dict[str, Any], message: str, server: Server) -> None:
    with pytest.raises(ConfigError, match=message):
        endpoint(server, **settings)


def test_a_key_that_no_header_can_carry(server: Server) -> None:
    config = endpoint(server).config
    for key in ("two words", "line\n", "schlüssel"):
        with pytest.raises(ConfigError, match="characters that a key cannot have") as caught:
            ChatEndpoint(config, key)
        assert key not in str(caught.value)


def test_from_the_command_line_without_a_trace_of_the_key(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    monkeypatch.setenv("SDAR_DATA", str(tmp_path / "data"))
    words = ["eval", "org/model", "--engine", "openai", "--base-url", server.url, "--env", "toy"]
    words += ["--panel", "held_out", "--out", str(tmp_path / "runs")]
    assert main(words) == 0
    out, err = capsys.readouterr()
    file = Path(out.splitlines()[-1])
    result = json.loads(file.read_text())
    assert re.fullmatch(r"held_out-org-model-1x-t0\.4-seed0-[0-9a-f]{8}\.json", file.name)
    assert (result["summary"]["success"], result["player"]) == (1, f"org/model at {server.url}")
    assert {header["Authorization"] for header in server.headers} == {f"Bearer {SECRET}"}

    server.reply = lambda body: (401, {}, f"Incorrect API key provided: {SECRET}")
    assert main(words) == 2
    refused, said = capsys.readouterr()
    assert "refuses the key in OPENAI_API_KEY" in said
    kept = "".join(path.read_text(errors="replace") for path in tmp_path.rglob("*") if path.is_file())
    assert SECRET not in out + err + refused + said + kept


def test_an_address_needs_the_engine(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "m", "--base-url", "http://localhost:1/v1"]) == 2
    assert "it needs --engine openai" in capsys.readouterr().err
