"""The environment contract: a spec holds the settings and makes tasks, environments and prompts.

An environment is plain Python, deterministic for a task and a sequence of actions, and never raises on any
text. `sdar check env NAME` runs the conformance battery of `sdar.envs.check` on a registered spec.
"""

import hashlib
import inspect
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import ClassVar, Protocol

from sdar.errors import ConfigError
from sdar.settings.registry import Registry
from sdar.types import Message, Observation, Step, Task


class Env(Protocol):
    """One episode at a time; `reset` may be called any number of times."""

    def reset(self, task: Task) -> Observation:
        """Start `task` and return the first observation, its `goal` filled in."""

    def step(self, text: str) -> Step:
        """Read an action out of the policy's text and apply it.

        After `done` the last state is returned unchanged.
        """


class PromptSet(StrEnum):
    """Prompts for pretrained models, or the shortest possible for the embedded one."""

    FULL = "full"
    COMPACT = "compact"


class Size(StrEnum):
    """Of generated tasks: small ones for the embedded model, or as large as the official ones."""

    COMPACT = "compact"
    FULL = "full"


class Parsing(StrEnum):
    """When an answer to a full prompt is valid."""

    PUBLISHED = "published"
    """By its form; unlike there, the thought may have been opened in the prompt, as some templates do."""
    STRICT = "strict"
    """As `published`, and with an admissible command only."""


class Prompts(Protocol):
    """How an environment speaks to a chat model. Pure functions of what has been seen."""

    def opening(self, first: Observation) -> tuple[Message, ...]:
        """Transcript mode: the messages before the first action."""

    def following(self, observation: Observation) -> tuple[Message, ...]:
        """Transcript mode: the messages between two actions."""

    def window(
        self,
        first: Observation,
        history: Sequence[tuple[Observation, str]],
        observation: Observation,
        num_done: int,
    ) -> tuple[Message, ...]:
        """Window mode: the whole prompt of a turn.

        `history` holds the last k (observation, action) pairs, oldest first; `num_done` actions were taken so
        far.
        """

    def answer(self, action: str) -> str:
        """The text a policy would write to take `action`; what demonstrations are made of."""


@dataclass(frozen=True)
class Panel:
    """A fixed list of evaluation tasks, the same on every machine.

    >>> Panel("two", (Task("a", "x"), Task("b", "x"))).fingerprint[:8]
    '7e18f737'
    """

    name: str
    tasks: Sequence[Task]

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the task ids, one a line, in order."""
        return hashlib.sha256("\n".join(task.id for task in self.tasks).encode()).hexdigest()

    def cut(self, size: int) -> "Panel":
        """About `size` of the tasks, in the panel's order, each kind with its share and at least one task.

        The first tasks of each kind stay. The size is part of the name, and `find_panel` reads it there.

        >>> small = Panel("p", [Task(f"{kind}{i}", kind) for i, kind in enumerate("aaaabaaab")]).cut(4)
        >>> small.name, [task.id for task in small.tasks]
        ('p-cut4', ['a0', 'a1', 'a2', 'b4'])
        """
        kinds: dict[str, list[int]] = {}
        for place, task in enumerate(self.tasks):
            kinds.setdefault(task.kind, []).append(place)
        if not 0 < size < len(self.tasks):
            return self
        share = dict.fromkeys(kinds, 1)
        for _ in range(size - len(kinds)):
            needy = max(kinds, key=lambda kind: size * len(kinds[kind]) / len(self.tasks) - share[kind])
            share[needy] += 1
        kept = sorted(place for kind, places in kinds.items() for place in places[: share[kind]])
        return Panel(f"{self.name}-cut{len(kept)}", [self.tasks[place] for place in kept])


class Expert(Protocol):
    """A scripted policy that can be asked for the next command of one episode."""

    def act(self, observation: Observation) -> str:
        """The command to give now."""


@dataclass(frozen=True, kw_only=True)
class EnvSpec(ABC):
    """Settings of an environment. Subclasses add fields, register themselves and fill in the methods."""

    max_turns: int = 50
    """Actions after which an episode is cut."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the settings and of the code and texts that decide how it plays.

        Those are the files of the spec's package, or its own file, and what all environments share. A setting
        that is a path with a fingerprint behind it counts by that, wherever the file is.
        """
        file, here = Path(inspect.getfile(type(self))), Path(__file__).parent
        shared = [*here.glob("*.py"), *(here / "lucene").glob("*.py")]
        packaged = file.parent != here and (file.parent / "__init__.py").is_file()
        own = (
            [path for path in file.parent.iterdir() if path.suffix in (".py", ".txt")] if packaged else [file]
        )
        settings = {"class": type(self).__name__, **asdict(self)}
        paths = {name: value.name for name, value in settings.items() if isinstance(value, Path)}
        settings |= {name: mark for name, path in paths.items() if (mark := path.partition("#")[2])}
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
        for path in sorted({*own, *shared}):
            digest.update(path.read_bytes())
        return digest.hexdigest()

    experts_are: ClassVar[str] = ""
    """What the scripted experts do, in a line below the tables that name them."""

    @abstractmethod
    def splits(self) -> tuple[str, ...]:
        """Names of the task splits, the training split first."""

    @abstractmethod
    def tasks(self, split: str) -> Sequence[Task]:
        """The tasks of a split. Cheap to index; payloads may load lazily."""

    @abstractmethod
    def panels(self) -> tuple[str, ...]:
        """Names of the fixed evaluation panels that can be played with the data at hand."""

    @abstractmethod
    def panel(self, name: str) -> Panel:
        """A fixed evaluation panel by name."""

    def find_panel(self, name: str) -> Panel:
        """A panel by the name that it has in results: whole, or cut."""
        cut = re.fullmatch(r"(.+)-cut(\d+)", name)
        return self.panel(cut[1]).cut(int(cut[2])) if cut else self.panel(name)

    @abstractmethod
    def make(self) -> Env:
        """A fresh environment; cheap, and shares everything immutable with its siblings."""

    @property
    def waits(self) -> bool:
        """Whether a step may wait for something outside this process, such as a server.

        Then steps are made in threads, several at a time but one of an environment, and nobody else waits.
        """
        return False

    def prefetch(self, texts: Iterable[str]) -> None:  # noqa: B027 - most environments have nothing to fetch
        """Called with what the policy wrote in some live episodes, before their steps, unless they wait.

        Environments that look something up can do it for all of them here. What fails is left to the steps.
        """

    @abstractmethod
    def prompts(self) -> Prompts:
        """The prompt set in use."""

    def experts(self) -> tuple[str, ...]:
        """Names of the scripted experts."""
        return ()

    def expert(self, name: str, env: Env, task: Task, seed: int, noise: float = 0.0) -> Expert:
        """An expert for one episode of `env`, already reset to `task`; with probability `noise` it errs."""
        raise ConfigError(f"{type(self).__name__} has no expert '{name}': it has no experts")


envs: Registry[type[EnvSpec]] = Registry(
    "environment",
    homes={
        "alfworld": "sdar.envs.alfworld.spec",
        "search_qa": "sdar.envs.search_qa.spec",
        "toy": "sdar.envs.toy",
        "webshop": "sdar.envs.webshop.spec",
    },
)
