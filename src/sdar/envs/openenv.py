"""Environments behind an OpenEnv server, to train on: `--plugins sdar.envs.openenv`.

    sdar train pretrained --model.path PATH --plugins sdar.envs.openenv --env openenv --env.url http://HOST:8000

A task is a seed for `reset`. The text of the policy is the action: a JSON object, or the value of the only
field that an action needs. What the server refuses as an action is invalid, changes nothing and costs a turn.
Written for openenv 0.10. Every live episode is a session of its own: the server has to allow as many.
"""

import json
import weakref
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sdar.envs.base import Env, envs
from sdar.envs.elsewhere import NumberedSpec, json_or_text
from sdar.errors import ConfigError, DataError, suggest
from sdar.text.unicode import well_formed
from sdar.text.web import Web, WebError
from sdar.types import Observation, Step, Task, is_number

_REFUSED = ("(code: VALIDATION_ERROR)", "(code: EXECUTION_ERROR)")
"""How the client's error ends when the server could not read or do an action."""
_KNOWN = ("done", "reward", "metadata")
"""Fields of every observation and action."""
_idle: dict[str, list[Any]] = defaultdict(list)
"""Connections to each server that no episode uses."""


class OpenEnvEnv:
    """Episodes of one session on the server."""

    def __init__(self, spec: "OpenEnvSpec") -> None:
        self._spec, self._session = spec, spec.connect()
        weakref.finalize(self, _idle[spec.url].append, self._session)

    def reset(self, task: Task) -> Observation:
        """Start with the task's seed."""
        self._turns = 0
        self._last: Step | None = None
        try:
            result = self._session.reset(seed=task.payload)
        except (RuntimeError, OSError) as error:
            raise DataError(f"{self._spec.url} does not start task {task.id}: {error}") from error
        return self._observe(result.observation)

    def step(self, text: str) -> Step:
        """Read an action out of the text and take it."""
        if self._last and (self._last.done or self._last.truncated):
            return self._last
        self._turns += 1
        cut = self._turns >= self._spec.max_turns
        action = well_formed(text).strip()  # half characters end the session
        last = Step(self._seen, action, valid=False, truncated=cut)
        try:
            result = self._session.step(self._spec.action(action))
        except ValueError:
            pass
        except (RuntimeError, OSError) as error:
            if not str(error).endswith(_REFUSED):
                raise DataError(f"{self._spec.url} failed at a step: {error}") from error
        else:
            reward, done = float(result.reward or 0.0), bool(result.done)
            if not is_number(reward):
                raise DataError(f"{self._spec.url} gave the reward {reward}")
            won = done and reward > self._spec.solved_above
            seen = self._observe(result.observation)
            last = Step(seen, action, reward=reward, done=done, success=won, truncated=cut and not done)
        self._last = last
        return last

    def _observe(self, fields: Mapping[str, Any]) -> Observation:
        self._seen = Observation(self._spec.text(fields), self._spec.goal)
        return self._seen


@envs.register("openenv")
@dataclass(frozen=True, kw_only=True)
class OpenEnvSpec(NumberedSpec):
    """An environment behind an OpenEnv server; its tasks are seeds."""

    url: str = "http://localhost:8000"
    """Address of the server."""
    read: str = ""
    """Field of an observation that is shown; empty: its only text, or else all of it as JSON."""
    solved_above: float = 0.0
    """An episode that ends with a larger reward at its last step is a success."""

    @property
    def source(self) -> str:
        """The address."""
        return self.url

    @property
    def waits(self) -> bool:
        """Whether a step may wait: for the server."""
        return True

    def connect(self) -> Any:
        """A session with nobody in it. Raises `ConfigError` when there is none."""
        try:
            from openenv.core import GenericEnvClient
        except ImportError:
            raise ConfigError("env openenv needs the package: pip install 'openenv>=0.10'") from None
        if _idle[self.url]:
            return _idle[self.url].pop()
        session = GenericEnvClient(base_url=self.url).sync()
        try:
            session.connect()
        except OSError as error:
            raise ConfigError(f"env.url: {error}") from error
        return session

    def action(self, text: str) -> dict[str, Any]:
        """The action that a text is. Raises `ValueError` when it is none."""
        said = json_or_text(text)
        if isinstance(said, dict):
            return said
        schema = _schema(self.url)
        needed = schema.get("required", [])
        if len(needed) != 1:
            raise ValueError("not a JSON object")
        is_text = schema["properties"][needed[0]].get("type") == "string"
        return {needed[0]: text if is_text else said}

    def text(self, fields: Mapping[str, Any]) -> str:
        """What of an observation is shown."""
        own = {name: value for name, value in fields.items() if name not in _KNOWN}
        if self.read:
            if self.read not in own:
                raise ConfigError(
                    f"env.read: the observation has no '{self.read}': {suggest(self.read, own)}"
                )
            return str(own[self.read])
        texts = [value for value in own.values() if isinstance(value, str)]
        return texts[0] if len(texts) == 1 else json.dumps(own, ensure_ascii=False)

    def make(self) -> Env:
        """A session."""
        return OpenEnvEnv(self)


@lru_cache
def _schema(url: str) -> Mapping[str, Any]:
    """The JSON schema of a server's actions."""
    web = Web(seconds=10, connections=1)
    try:
        reply = web.get(f"{url.rstrip('/')}/schema")
        if reply.status != 200:
            raise WebError(f"status {reply.status}")
        return reply.json()["action"]
    except (WebError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{url} says nothing of its actions: {error}") from error
    finally:
        web.close()
