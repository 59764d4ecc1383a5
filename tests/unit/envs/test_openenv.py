"""OpenEnv servers as environments: with a double of the client, and with the real package where it is."""

import gc
import importlib.util
import json
import random
import socket
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from sdar.envs import openenv as ours
from sdar.envs.check import find_problems
from sdar.envs.openenv import OpenEnvSpec
from sdar.errors import ConfigError, DataError

EXAMPLES = Path(__file__).parents[3] / "examples"
COUNTS = {"num_train": 2, "num_held_out": 1, "goal": "Name the side.", "max_turns": 3}
SCHEMA = {"required": ["text"], "properties": {"text": {"type": "string"}}}


class Client:
    """A session with a coin; `lost` breaks it."""

    lost = False
    made = 0

    def __init__(self, base_url: str) -> None:
        Client.made += 1

    def sync(self) -> "Client":
        return self

    def connect(self) -> None:
        if Client.lost:
            raise ConnectionError("Failed to connect to ws://nowhere")

    def reset(self, seed: int) -> Any:
        self.side = random.Random(seed).choice(["heads", "tails"])
        return SimpleNamespace(observation={"text": f"The coin shows {self.side}.", "done": False})

    def step(self, action: dict[str, Any]) -> Any:
        if Client.lost:
            raise RuntimeError("Server error: gone (code: SESSION_ERROR)")
        if not isinstance(action.get("text"), str) or len(action["text"]) > 5:
            raise RuntimeError("Server error: Invalid message (code: VALIDATION_ERROR)")
        seen = {"text": "That was all.", "metadata": {}}
        return SimpleNamespace(observation=seen, done=True, reward=float(action["text"] == self.side))


@pytest.fixture
def spec(monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenEnvSpec]:
    """The adapter with the double in place of the package."""
    package, core = ModuleType("openenv"), ModuleType("openenv.core")
    core.__dict__["GenericEnvClient"] = Client
    monkeypatch.setitem(sys.modules, "openenv", package)
    monkeypatch.setitem(sys.modules, "openenv.core", core)
    monkeypatch.setattr(ours, "_schema", lambda url: SCHEMA)
    monkeypatch.setattr(Client, "lost", False)
    yield OpenEnvSpec(url="http://double", **COUNTS)  # type: ignore[arg-type]
    gc.collect()
    ours._idle.clear()


def test_it_keeps_the_contract(spec: OpenEnvSpec) -> None:
    assert find_problems(spec) == []


def test_a_text_is_the_field_that_is_needed_or_a_whole_action(spec: OpenEnvSpec) -> None:
    assert spec.action("heads") == {"text": "heads"}
    assert spec.action("7") == {"text": "7"}
    assert spec.action('{"text": "tails", "metadata": {}}') == {"text": "tails", "metadata": {}}
    env, task = spec.make(), spec.tasks("train")[0]
    side = env.reset(task).text.split()[-1].strip(".")
    refused = env.step("neither")
    assert (refused.valid, refused.done, refused.observation.text) == (
        False,
        False,
        f"The coin shows {side}.",
    )
    step = env.step(side)
    assert (step.reward, step.done, step.success, step.observation.text) == (1.0, True, True, "That was all.")


def test_what_a_server_says_of_its_actions_is_read_or_refused_in_one_line() -> None:
    class Schema(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response({"/good/schema": 200, "/deep/schema": 200}.get(self.path, 404))
            self.end_headers()
            self.wfile.write(
                b"[" * 100_000 if "deep" in self.path else json.dumps({"action": SCHEMA}).encode()
            )

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Schema) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        assert ours._schema(f"{url}/good/") == SCHEMA
        for path, why in (("/deep", "nested too deeply"), ("/none", "status 404")):
            with pytest.raises(DataError, match=f"says nothing of its actions: .*{why}"):
                ours._schema(url + path)
        server.shutdown()


def test_numbers_are_told_from_texts(spec: OpenEnvSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        ours, "_schema", lambda url: {"required": ["move"], "properties": {"move": {"type": "integer"}}}
    )
    assert spec.action("7") == {"move": 7}
    monkeypatch.setattr(ours, "_schema", lambda url: {"required": ["x", "y"], "properties": {}})
    with pytest.raises(ValueError, match="not a JSON object"):
        spec.action("7")


def test_what_is_shown_of_an_observation(spec: OpenEnvSpec) -> None:
    assert spec.text({"board": [1], "left": 2, "done": False}) == '{"board": [1], "left": 2}'
    named = OpenEnvSpec(url="http://double", read="left")
    assert named.text({"board": "x", "left": 2}) == "2"
    with pytest.raises(ConfigError, match="did you mean 'left'"):
        OpenEnvSpec(read="lef").text({"board": "x", "left": 2})


def test_a_session_serves_the_next_episode_when_one_is_over(spec: OpenEnvSpec) -> None:
    before, first = Client.made, spec.make()
    spec.make()
    assert Client.made == before + 2, "live episodes have sessions of their own"
    del first
    gc.collect()
    spec.make()
    assert Client.made == before + 2


def test_a_server_that_is_gone_is_named(spec: OpenEnvSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    env = spec.make()
    env.reset(spec.tasks("train")[0])
    monkeypatch.setattr(Client, "lost", True)
    with pytest.raises(DataError, match="http://double failed at a step"):
        env.step("heads")
    with pytest.raises(ConfigError, match=r"env.url: Failed to connect"):
        OpenEnvSpec(url="http://other").make()


def test_without_the_package_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openenv.core", None)
    with pytest.raises(ConfigError, match="pip install 'openenv"):
        OpenEnvSpec().make()


@pytest.mark.skipif(not importlib.util.find_spec("openenv"), reason="needs the package openenv")
def test_the_example_behind_a_real_server(monkeypatch: pytest.MonkeyPatch) -> None:
    import uvicorn

    monkeypatch.syspath_prepend(str(EXAMPLES))
    app = importlib.import_module("openenv_game").app
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
        thread.start()
        while not server.started:
            thread.join(0.05)
        spec = OpenEnvSpec(url=f"http://127.0.0.1:{bound.getsockname()[1]}", **COUNTS)  # type: ignore[arg-type]
        assert find_problems(spec, tasks_per_split=1) == []
        env = spec.make()
        side = env.reset(spec.tasks("train")[0]).text.split()[-1].strip(".")
        step = env.step(side)
        assert (step.reward, step.done, step.success) == (1.0, True, True)
        env.reset(spec.tasks("train")[0])
        assert not env.step('{"txt": "heads"}').valid, "the server refuses another field"
        server.should_exit = True
        thread.join(10)
