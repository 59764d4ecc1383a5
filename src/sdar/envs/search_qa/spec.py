"""Settings of Search-QA, and what follows from them: tasks, panels, environments, prompts and experts."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from itertools import chain, zip_longest
from pathlib import Path
from typing import Annotated, ClassVar

import sdar.envs.search_qa.dense
import sdar.envs.search_qa.http  # noqa: F401 - both register their retriever
from sdar.envs.base import Env, EnvSpec, Expert, Panel, Prompts, PromptSet, Size, envs
from sdar.envs.prompt_files import kept_prompts, settle_prompt
from sdar.envs.search_qa.bm25 import BM25Config
from sdar.envs.search_qa.env import SearchQAEnv
from sdar.envs.search_qa.experts import Guesser, Solver
from sdar.envs.search_qa.generated import SPLITS, Recipe, generated_tasks
from sdar.envs.search_qa.passages import find_corpus
from sdar.envs.search_qa.prompts import (
    SEARCH,
    CompactPrompts,
    FilePrompts,
    FullPrompts,
    Parser,
    Shower,
    parse_any_case,
    parse_bare,
    parse_published,
    show_compact,
    show_json,
    show_plain,
)
from sdar.envs.search_qa.questions import SETS, Question, open_questions, splits
from sdar.envs.search_qa.retrieval import (
    Cached,
    RetrievalError,
    Retriever,
    RetrieverConfig,
    Watched,
    retrievers,
)
from sdar.errors import ConfigError, DataError, suggest
from sdar.settings.values import check_choices, check_least
from sdar.text.unicode import well_formed
from sdar.types import Task


class Information(StrEnum):
    """How a full prompt shows passages: as Search-R1 does, or in JSON as SDAR and verl-agent do."""

    PLAIN = "plain"
    JSON = "json"


class Tags(StrEnum):
    """How the tags in an answer to another than a compact prompt are read."""

    ANY_CASE = "any-case"
    PUBLISHED = "published"


_PARSERS: dict[Tags, Parser] = {Tags.ANY_CASE: parse_any_case, Tags.PUBLISHED: parse_published}
_SHOWERS: dict[Information, Shower] = {Information.PLAIN: show_plain, Information.JSON: show_json}
_GENERATED = {"generated-128": Size.FULL, "generated-compact-128": Size.COMPACT}
_GENERATED_SIZE = 128
_SAMPLE, _SAMPLE_SIZE = "sample-512", 512
_EXPERTS = ("explorer", "wanderer", "random")


@envs.register("search_qa")
@dataclass(frozen=True, kw_only=True)
class SearchQASpec(EnvSpec):
    """Search-QA, on real or generated questions. Source: Search-R1, arXiv 2503.09516."""

    experts_are: ClassVar[str] = "explorer asks for each fact in turn; wanderer is hasty; random is chance"

    max_turns: int = 4
    """Actions after which an episode is cut; the last one has to be the answer."""
    data: str = ""
    """Directory of questions (packs, or the files of Search-R1) and maybe a corpus; empty: generated
    questions."""
    retriever: Annotated[RetrieverConfig, retrievers] = field(default_factory=BM25Config)
    """What searches for real questions; generated ones bring their own passages."""
    top_k: int = 3
    """Passages that a search brings."""
    patience: int = 10
    """Searches that may fail in a row before the run is ended."""
    size: Size = Size.COMPACT
    """Worlds of generated questions: 144 passages of a sentence and one-word names, or 870 of a few and
    made-up names."""
    num_train: int = 20_000
    """Generated training questions."""
    num_held_out: int = 2_000
    """Generated questions about held-out worlds."""
    prompt: PromptSet | Path = PromptSet.COMPACT
    """Prompt set, or a file of templates; the answer to a compact prompt is the bare action."""
    parsing: Tags = Tags.ANY_CASE
    """How the tags of any other answer are read: in any letters, or exactly as published."""
    information: Information = Information.PLAIN
    """How a full prompt shows passages."""
    reward: float = 1.0
    """Reward of a right answer; every other step has 0."""

    def __post_init__(self) -> None:
        check_choices(self, "search_qa", size=Size, parsing=Tags, information=Information)
        settle_prompt(self, "search_qa")
        least = {"num_train": 1, "num_held_out": 1, "max_turns": 1, "top_k": 1, "patience": 1, "reward": 0}
        check_least(self, "search_qa", **least)

    def splits(self) -> tuple[str, ...]:
        """The training split, then the one for evaluation: those found in `data`, or the generated ones."""
        if not self.data:
            return SPLITS
        found = splits(self._directory)
        if not found:
            raise DataError(
                f"no questions in {self._directory}: it needs train.jsonl.xz or train.parquet; "
                "`sdar data download search_qa` brings them"
            )
        return found

    def tasks(self, split: str) -> Sequence[Task]:
        """The tasks of a split; generated questions are made when they are asked.

        Raises:
            DataError: The questions are missing or damaged, or the retriever lacks what it needs.
        """
        if split not in self.splits():
            raise ConfigError(f"unknown split '{split}' of search_qa: {suggest(split, self.splits())}")
        if not self.data:
            if not isinstance(self.retriever, BM25Config):
                name = retrievers.name_of(type(self.retriever))
                raise ConfigError(
                    f"retriever '{name}' would make no search: generated questions bring their own passages; "
                    "set data to a directory of questions, or leave the retriever out"
                )
            return generated_tasks(
                self.size, split, self.num_train if split == SPLITS[0] else self.num_held_out
            )
        self.retriever.require(self.corpus)
        return [
            Task(question.id, question.kind, question) for question in open_questions(self._directory, split)
        ]

    def panels(self) -> tuple[str, ...]:
        """Panels of generated questions are always there, that of the size in use first.

        Before them, where there are real test questions: a sample of 512, the same number from every data set
        as far as it goes; all test questions; and those of each data set.
        """
        generated = tuple(sorted(_GENERATED, key=lambda name: _GENERATED[name] is not self.size))
        if not self.data or "test" not in self.splits():
            return generated
        found = {question.kind for question in open_questions(self._directory, "test")}
        return (_SAMPLE, "test", *sorted(found, key=lambda name: (*SETS, name).index(name)), *generated)

    def panel(self, name: str) -> Panel:
        """A fixed evaluation panel; the same questions whatever the settings of generated ones."""
        if name in _GENERATED:
            return Panel(name, generated_tasks(_GENERATED[name], SPLITS[1], _GENERATED_SIZE))
        if name not in self.panels():
            if name in (*SETS, _SAMPLE, "test"):
                raise DataError(
                    f"panel '{name}' needs real questions: set data to a directory with test.jsonl.xz"
                )
            raise ConfigError(f"unknown panel '{name}' of search_qa: {suggest(name, self.panels())}")
        tasks = self.tasks("test")
        if name == _SAMPLE:
            return Panel(name, _sample(tasks, _SAMPLE_SIZE))
        return Panel(name, [task for task in tasks if name in ("test", task.kind)])

    def make(self) -> Env:
        """A fresh environment; the search engine is shared by all environments of the process."""
        compact = self.prompt is PromptSet.COMPACT
        return SearchQAEnv(
            self._begin,
            self._parse,
            show_compact if compact else _SHOWERS[self.information],
            top_k=self.top_k,
            max_turns=self.max_turns,
            reward=self.reward,
        )

    def prompts(self) -> Prompts:
        """The prompt set in use."""
        if isinstance(self.prompt, Path):
            return FilePrompts(kept_prompts(self.prompt, "search_qa"))
        return CompactPrompts() if self.prompt is PromptSet.COMPACT else FullPrompts()

    def experts(self) -> tuple[str, ...]:
        """For generated questions: one that asks for each fact in turn, a hasty one, and chance."""
        return () if self.data else _EXPERTS

    def expert(self, name: str, env: Env, task: Task, seed: int, noise: float = 0.0) -> Expert:
        """An expert for one episode of a generated question; with probability `noise` a step is a mistake."""
        if name not in _EXPERTS:
            raise ConfigError(f"unknown expert '{name}' of search_qa: {suggest(name, _EXPERTS)}")
        if not isinstance(task.payload, Recipe):
            raise ConfigError("the experts of search_qa know generated questions only: leave data empty")
        world, _ = task.payload.world()
        words = f"{name}/{task.id}/{seed}"
        if name == "random":
            return Guesser(world, words, self.max_turns)
        careful = name == "explorer"
        puzzle = task.payload.puzzle()
        return Solver(world, puzzle, words, max_turns=self.max_turns, careful=careful, noise=noise)

    @property
    def waits(self) -> bool:
        """Whether the search engine is another process."""
        return bool(self.data) and self.retriever.waits

    def prefetch(self, texts: Iterable[str]) -> None:
        """Search for all that these texts of the policy ask for, at once, so that the steps find it known."""
        if not self.data:
            return
        actions = (self._parse(text)[0].partition(" ") for text in texts)
        queries = [well_formed(rest) for verb, _, rest in actions if verb == SEARCH and rest]
        try:
            self._retriever.search(queries, self.top_k)
        except RetrievalError:
            return  # the steps try again, each for itself, and say so

    @property
    def corpus(self) -> Path | None:
        """The passages beside the questions, if there are any."""
        return find_corpus(self._directory) if self.data else None

    @property
    def _parse(self) -> Parser:
        return parse_bare if self.prompt is PromptSet.COMPACT else _PARSERS[self.parsing]

    @property
    def _retriever(self) -> Retriever:
        return _opened(self.retriever, self.corpus, self.patience)

    @property
    def _directory(self) -> Path:
        return Path(self.data).expanduser()

    def _begin(self, task: Task) -> tuple[Question, Retriever]:
        if isinstance(task.payload, Recipe):
            return task.payload.puzzle().question, task.payload.world()[1]
        return task.payload, self._retriever


def _sample(tasks: Sequence[Task], size: int) -> list[Task]:
    """Tasks of every kind in turn, in an order that depends on nothing but their ids."""
    kinds: dict[str, list[Task]] = {}
    for task in sorted(tasks, key=lambda task: hashlib.sha256(task.id.encode()).digest()):
        kinds.setdefault(task.kind, []).append(task)
    rounds = zip_longest(*(kinds[kind] for kind in sorted(kinds)))
    return [task for task in chain.from_iterable(rounds) if task is not None][:size]


@lru_cache(maxsize=4)
def _opened(config: RetrieverConfig, corpus: Path | None, patience: int) -> Retriever:
    return Cached(Watched(config.open(corpus), patience))
