"""Settings of ALFWorld, and what follows from them: tasks, panels, environments, prompts and experts."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

from sdar.envs.alfworld.engine import Episode, Game
from sdar.envs.alfworld.env import AlfworldEnv, Play
from sdar.envs.alfworld.experts import Seeker, Wanderer
from sdar.envs.alfworld.games import SPLITS as OFFICIAL_SPLITS
from sdar.envs.alfworld.games import open_games, splits
from sdar.envs.alfworld.generate import SPLITS
from sdar.envs.alfworld.generated import generated_tasks
from sdar.envs.alfworld.prompts import (
    CompactPrompts,
    FilePrompts,
    FullPrompts,
    Parser,
    parse_bare,
    parse_published,
    parse_strict,
)
from sdar.envs.alfworld.text import Rules
from sdar.envs.alfworld.textworld import TextWorldEpisode
from sdar.envs.base import Env, EnvSpec, Expert, Panel, Parsing, Prompts, PromptSet, Size, envs
from sdar.envs.prompt_files import kept_prompts, settle_prompt
from sdar.errors import ConfigError, DataError, suggest
from sdar.settings.values import check_choices, check_least
from sdar.types import Task


class EngineName(StrEnum):
    """The engine of this package, or the official one (`pip install sdar[textworld]`)."""

    NATIVE = "native"
    TEXTWORLD = "textworld"


_PARSERS: dict[Parsing, Parser] = {Parsing.PUBLISHED: parse_published, Parsing.STRICT: parse_strict}
_PANEL_SIZE = 128
_PANELS = {"generated-128": Size.FULL, "generated-compact-128": Size.COMPACT}
_EXPERTS = ("planner", "explorer", "wanderer", "random")


@envs.register("alfworld")
@dataclass(frozen=True, kw_only=True)
class AlfworldSpec(EnvSpec):
    """ALFWorld, on official or generated games. Source: arXiv 2010.03768."""

    experts_are: ClassVar[str] = (
        "planner knows the whole game; explorer looks in likely places first, wanderer in any order; "
        "random is chance"
    )

    data: str = ""
    """Directory of official games (packs or the official layout); empty: generated games."""
    size: Size = Size.COMPACT
    """Rooms of generated games: 8 to 14 receptacles and few objects, or as many as officially."""
    num_train: int = 20_000
    """Generated training games."""
    num_held_out: int = 2_000
    """Generated games in held-out layouts."""
    prompt: PromptSet | Path = PromptSet.COMPACT
    """Prompt set, or a file of templates; the answer to a compact prompt is the bare command."""
    parsing: Parsing = Parsing.PUBLISHED
    """When any other answer is valid: in the published form, or only if it is possible too."""
    rules: Rules | None = None
    """Release to play by, `2.1.1` (`put X in/on Y`) or `2.1.2` (`move X to Y`); none: that of each game."""
    engine: EngineName = EngineName.NATIVE
    """What plays the games."""
    reward: float = 10.0
    """Reward of success; every other step has 0."""

    def __post_init__(self) -> None:
        check_choices(self, "alfworld", size=Size, parsing=Parsing, rules=Rules, engine=EngineName)
        settle_prompt(self, "alfworld")
        check_least(self, "alfworld", num_train=1, num_held_out=1, max_turns=1, reward=0)
        missing = [name for name in ("alfworld", "textworld") if find_spec(name) is None]
        if self.engine is EngineName.TEXTWORLD and missing:
            raise ConfigError(f"engine 'textworld' needs {', '.join(missing)}: pip install 'sdar[textworld]'")

    def splits(self) -> tuple[str, ...]:
        """The training split, then those for evaluation: those found in `data`, or the generated ones."""
        if not self.data:
            return SPLITS
        found = splits(self._directory)
        if not found:
            raise DataError(
                f"no ALFWorld games in {self._directory}: it needs train.jsonl.xz or json_2.1.1/train; "
                "`sdar data download alfworld` brings them"
            )
        return found

    def tasks(self, split: str) -> Sequence[Task]:
        """The tasks of a split; games are read or made when they are played."""
        if split not in self.splits():
            raise ConfigError(f"unknown split '{split}' of alfworld: {suggest(split, self.splits())}")
        if self.data:
            return _official(self._directory, split)
        return generated_tasks(self.size, split, self.num_train if split == "train" else self.num_held_out)

    def panels(self) -> tuple[str, ...]:
        """Panels of generated games are always there; those of official games when their data are.

        The first is the one for these settings.
        """
        official = [split for split in self.splits() if split != "train"] if self.data else []
        return (*official, *sorted(_PANELS, key=lambda name: _PANELS[name] is not self.size))

    def panel(self, name: str) -> Panel:
        """The first 128 held-out generated games of a size, or all games of an official evaluation split."""
        if name in _PANELS:
            return Panel(name, generated_tasks(_PANELS[name], "held_out", _PANEL_SIZE))
        if name in self.panels():
            return Panel(name, self.tasks(name))
        if name in OFFICIAL_SPLITS:
            raise DataError(
                f"panel '{name}' needs official ALFWorld games: "
                f"set data to a directory with {name}.jsonl.xz or json_2.1.1/{name}"
            )
        raise ConfigError(f"unknown panel '{name}' of alfworld: {suggest(name, self.panels())}")

    def make(self) -> Env:
        """A fresh environment; games are shared by all environments of the process."""
        parse = parse_bare if self.prompt is PromptSet.COMPACT else _PARSERS[self.parsing]
        return AlfworldEnv(self._begin, parse, self.max_turns, self.reward)

    def prompts(self) -> Prompts:
        """The prompt set in use."""
        if isinstance(self.prompt, Path):
            return FilePrompts(kept_prompts(self.prompt, "alfworld"))
        return CompactPrompts() if self.prompt is PromptSet.COMPACT else FullPrompts()

    def experts(self) -> tuple[str, ...]:
        """One that knows the game, two that search (likely places first, or in random order), and chance."""
        return _EXPERTS

    def expert(self, name: str, env: Env, task: Task, seed: int, noise: float = 0.0) -> Expert:
        """An expert for one episode; with probability `noise` a step is random, or plausible but wrong."""
        if name not in _EXPERTS:
            raise ConfigError(f"unknown expert '{name}' of alfworld: {suggest(name, _EXPERTS)}")
        words = f"{name}/{task.id}/{seed}"
        if name == "random":
            return Wanderer(words)
        game = self.game(task)
        contents = None
        if name == "planner":
            inside = ((spot, game.contents[spot]) for spot in game.receptacles)
            contents = {game.names[spot]: [game.names[item] for item in items] for spot, items in inside}
        order = "random" if name == "wanderer" else "likely"
        return Seeker(game.task, words, noise=noise, order=order, contents=contents)

    def game(self, task: Task) -> Game:
        """The game of a task, parsed."""
        return task.payload.game(self.rules)

    @property
    def _directory(self) -> Path:
        return Path(self.data).expanduser()

    def _begin(self, task: Task) -> tuple[Play, str]:
        if self.engine is EngineName.TEXTWORLD:
            text = task.payload.text()
            return TextWorldEpisode(text, self.rules), text.task
        game = self.game(task)
        return Episode(game), game.task


@cache
def _official(data: Path, split: str) -> tuple[Task, ...]:
    return tuple(Task(game.id, game.kind.value, game) for game in open_games(data, split))
