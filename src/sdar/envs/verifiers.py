"""Environments of verifiers, to train on: `--plugins sdar.envs.verifiers`.

    sdar train pretrained --model.path PATH --plugins sdar.envs.verifiers --env verifiers --env.taskset NAME

Written for verifiers 0.4 (`verifiers.v1`): a taskset, and what its environment does with the one agent that
it has. A task is a row of the taskset. verifiers runs the whole episode, in a thread of this process: set-up,
turns, stops, limits and scoring are its own. It asks for the agent's words at an endpoint, as it would ask
any model; the endpoint is here, on the loopback device, and waits for `step`. The agent has no tools.
"""

import asyncio
import json
import queue
import sys
import threading
import weakref
from collections.abc import Mapping
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from types import ModuleType
from typing import Any

from sdar.envs.base import Env, envs
from sdar.envs.elsewhere import NumberedSpec, json_or_text
from sdar.errors import ConfigError, DataError
from sdar.text.unicode import well_formed
from sdar.types import Observation, Step, Task, is_number

_HARNESS = "sdar_text_agent"
"""Name by which verifiers finds the agent that is defined here."""


class VerifiersEnv:
    """Episodes of one environment of verifiers, each a coroutine in the thread of `_Host`."""

    def __init__(self, spec: "VerifiersSpec") -> None:
        self._spec, self._game, self._rows = spec, *spec.open()
        self._talk: _Talk | None = None

    def reset(self, task: Task) -> Observation:
        """Start the row's episode and hear what the agent is told first."""
        if self._talk:
            self._talk.stop()
        self._last: Step | None = None
        self._talk = _Talk(self._game, self._rows[task.payload])
        weakref.finalize(self, self._talk.stop)
        heard = self._talk.hear()
        if not isinstance(heard, list):
            raise DataError(f"task {task.id} ends before the agent is asked: {_trouble(heard)}")
        goal = " ".join(text for role, text in heard if role == "system")
        told = [text for role, text in heard if role != "system"]
        self._seen = Observation("\n".join(told), goal or self._spec.goal)
        return self._seen

    def step(self, text: str) -> Step:
        """Say the text, and hear the answer or the end."""
        if self._last and (self._last.done or self._last.truncated):
            return self._last
        assert self._talk is not None, "reset comes first"
        action = well_formed(text).strip()
        heard = self._talk.say(action)
        if isinstance(heard, list):
            self._seen = Observation("\n".join(told for _, told in heard), self._seen.goal)
            self._last = Step(self._seen, action)
        else:
            self._last = self._end(action, heard)
        return self._last

    def _end(self, action: str, episode: Any) -> Step:
        """The step that ended the episode, with what verifiers makes of it."""
        traces = episode.traces
        reward = sum(float(trace.reward) for trace in traces)
        metrics = {f"vf_{name}": float(value) for trace in traces for name, value in trace.metrics.items()}
        metrics = {name: value for name, value in metrics.items() if is_number(value)}
        failed = not episode.ok or not is_number(reward)
        cut = any(trace.stop_condition == "max_turns" for trace in traces)
        return Step(
            self._seen, action, reward=0.0 if failed else reward, done=not cut, truncated=cut,
            success=not failed and not cut and reward > self._spec.solved_above,
            metrics={**metrics, "vf_errors": float(failed)},
        )  # fmt: skip


@envs.register("verifiers")
@dataclass(frozen=True, kw_only=True)
class VerifiersSpec(NumberedSpec):
    """An environment of verifiers; its tasks are the rows of a taskset."""

    taskset: str = ""
    """Name of the installed taskset."""
    options: tuple[str, ...] = ()
    """Settings of verifiers' `[env]` table, as `taskset.game=Wordle-v0`."""
    solved_above: float = 0.5
    """An episode with a larger reward is a success."""

    @property
    def source(self) -> str:
        """The taskset."""
        return self.taskset

    @property
    def waits(self) -> bool:
        """Whether a step may wait: for judges and servers."""
        return True

    def open(self) -> tuple[Any, list[Any]]:
        """The environment and its rows. Raises `ConfigError` when it cannot be made."""
        return _open(self.taskset, self.options, self.max_turns, self.num_train + self.num_held_out)

    def numbers(self, split: str) -> range:
        """Where there are fewer rows than asked for, the last are held out, at most half of them."""
        count = len(self.open()[1])
        first = min(self.num_train, count - min(self.num_held_out, count // 2))
        return range(first) if split == "train" else range(first, min(first + self.num_held_out, count))

    def make(self) -> Env:
        """A fresh environment."""
        return VerifiersEnv(self)


@cache
def _open(taskset: str, options: tuple[str, ...], max_turns: int, most: int) -> tuple[Any, list[Any]]:
    try:
        import verifiers.v1 as vf
        from verifiers.v1.configs.agent import agent_config_fields
    except ImportError:
        raise ConfigError("env verifiers needs the package: pip install 'verifiers>=0.4'") from None
    _agent(vf)
    table: dict[str, Any] = {"taskset": {"id": taskset}}
    for option in options:
        path, _, value = option.partition("=")
        *tables, name = path.split(".")
        inner = table
        for each in tables:
            inner = inner.setdefault(each, {})
        inner[name] = json_or_text(value)
    try:
        seats = [*agent_config_fields(vf.resolve_env_config(table))]
        if len(seats) != 1:
            raise ConfigError(f"env.taskset '{taskset}': one agent is needed, and it has {', '.join(seats)}")
        seat = table.setdefault(seats[0], {})
        seat |= {"harness": {"id": _HARNESS}, "max_turns": max_turns}
        seat.setdefault("runtime", {"type": "subprocess"})
        game = vf.load_environment(vf.resolve_env_config(table))
        rows = [*islice(game.taskset, most)]
    except (ValueError, TypeError, AttributeError, ImportError) as error:
        raise ConfigError(f"env.taskset '{taskset}': {' '.join(str(error).split())}") from error
    if len(rows) < 2:
        raise ConfigError(f"env.taskset '{taskset}': {len(rows)} rows, none to hold out")
    return game, rows


def _trouble(episode: Any) -> str:
    """What went wrong in an episode, in a line."""
    errors = [*episode.errors, *(error for trace in episode.traces for error in trace.errors)]
    return " ".join(str(errors[0].message).split()) if errors else "nothing was asked"


class _Talk:
    """One episode: what is said on either side, between two threads."""

    def __init__(self, game: Any, row: Any) -> None:
        self._host = _host()
        self._heard: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._known = 0
        self._reply: Future[str] = Future()
        self.key = self._host.enter(self)
        self._playing = self._host.start(self._play(game, row))

    async def _play(self, game: Any, row: Any) -> None:
        episode: Any = None
        try:
            episode = await game.run_episode(row, self._host.context(self.key))
        finally:
            self._host.leave(self.key)
            self._heard.put(episode)

    def hear(self) -> Any:
        """The messages since the agent's last words, as (role, text); or the episode, when it has ended."""
        heard = self._heard.get()
        if heard is None:
            raise DataError(f"verifiers broke off: {self._playing.exception()}")
        return heard

    def say(self, text: str) -> Any:
        """Give the agent's words, and hear what follows."""
        reply, self._reply = self._reply, Future()
        reply.set_result(text)
        return self.hear()

    def ask(self, messages: list[Mapping[str, Any]]) -> str:
        """Called by the endpoint: wait for the agent's words."""
        fresh, self._known = messages[self._known :], len(messages)
        reply = self._reply
        self._heard.put([(m["role"], _text(m["content"])) for m in fresh if m["role"] != "assistant"])
        return reply.result()

    def stop(self) -> None:
        """End the episode, unless it has ended."""
        self._playing.cancel()
        self._reply.cancel()


def _text(content: Any) -> str:
    """The text of a message's content."""
    if isinstance(content, list):
        return "\n".join(part["text"] for part in content if part.get("type") == "text")
    return content or ""


class _Host:
    """The thread in which verifiers plays, and the endpoint that it asks: `/KEY/v1/chat/completions`."""

    def __init__(self) -> None:
        self._talks: dict[str, _Talk] = {}
        self._loop = asyncio.new_event_loop()
        server = _Endpoint(("127.0.0.1", 0), _Handler)
        server.daemon_threads, server.talks, self._port = True, self._talks, server.server_port
        for serve in (self._loop.run_forever, server.serve_forever):
            threading.Thread(target=serve, name="sdar-verifiers", daemon=True).start()

    def start(self, coroutine: Any) -> "Future[Any]":
        """Run a coroutine in the thread."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def enter(self, talk: "_Talk") -> str:
        """Know an episode, by the key that is returned."""
        key = f"{id(talk):x}"
        self._talks[key] = talk
        return key

    def leave(self, key: str) -> None:
        """Forget it."""
        self._talks.pop(key, None)

    def context(self, key: str) -> Any:
        """What verifiers needs to ask an episode's agent."""
        import verifiers.v1 as vf

        address = f"http://127.0.0.1:{self._port}/{key}/v1"
        client = vf.EvalClientConfig(base_url=address, api_key_var="SDAR_NO_KEY")
        return vf.ModelContext(model="sdar", client=client)


class _Endpoint(ThreadingHTTPServer):
    """Knows the episodes by their keys."""

    talks: dict[str, _Talk]


class _Handler(BaseHTTPRequestHandler):
    """One request of verifiers for the words of an agent."""

    server: _Endpoint

    def do_POST(self) -> None:
        """Answer when the words are there; nobody waits for those of an episode that was left."""
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        try:
            said = self.server.talks[self.path.split("/")[1]].ask(asked["messages"])
        except (KeyError, CancelledError):
            self.send_error(410)
            return
        choice = {"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"}
        kind = {"id": "sdar", "object": "chat.completion", "model": "sdar", "created": 0}
        body = json.dumps({**kind, "choices": [choice]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@cache
def _host() -> _Host:
    return _Host()


@cache
def _agent(vf: Any) -> None:
    """Make an agent known to verifiers, which finds agents as modules: one that speaks, without a program."""
    import httpx
    from verifiers.v1.dialects.chat import message_to_wire

    class TextAgent(vf.Harness[vf.HarnessConfig]):
        APPENDS_SYSTEM_PROMPT, SUPPORTS_RESUME = True, True
        EXECUTES_CODE, NEEDS_CONTAINER = False, False

        async def launch(
            self, ctx: Any, trace: Any, runtime: Any, endpoint: str, secret: str, mcp_urls: Any, data: Any
        ) -> Any:
            """One call of the model, in this process and through the recording endpoint of verifiers."""
            system, prompt = self.resolve_prompt(data)
            messages = [vf.UserMessage(content=prompt)] if isinstance(prompt, str) else list(prompt or [])
            if system:
                messages.insert(0, vf.SystemMessage(content=system))
            body = {"model": ctx.model, "messages": [message_to_wire(message) for message in messages]}
            async with httpx.AsyncClient(
                timeout=None, headers={"Authorization": f"Bearer {secret}"}
            ) as client:
                answer = await client.post(f"{endpoint}/chat/completions", json=body)
            return vf.ProgramResult(int(answer.is_error), "", answer.text if answer.is_error else "")

    module = ModuleType(_HARNESS)
    module.__dict__.update(TextAgent=TextAgent, __all__=["TextAgent"])
    sys.modules[_HARNESS] = module
