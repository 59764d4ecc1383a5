"""Settings of WebShop, and what follows from them: tasks, panels, environments, prompts and experts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from sdar.envs.base import Env, EnvSpec, Expert, Panel, Parsing, Prompts, PromptSet, envs
from sdar.envs.prompt_files import kept_prompts, settle_prompt
from sdar.envs.webshop.env import WebshopEnv
from sdar.envs.webshop.experts import Hasty, Insider, Shopper, Wanderer
from sdar.envs.webshop.prompts import (
    CompactPrompts,
    FilePrompts,
    FullPrompts,
    Parser,
    parse_bare,
    parse_published,
    parse_strict,
)
from sdar.envs.webshop.reward import Semantics
from sdar.envs.webshop.session import Session
from sdar.envs.webshop.shop import (
    GoalRef,
    Shop,
    human_tasks,
    official_panel,
    official_train,
    split_tasks,
    spread_tasks,
)
from sdar.errors import ConfigError, DataError, suggest
from sdar.settings.values import check_choices, check_least
from sdar.types import Task

_PARSERS: dict[Parsing, Parser] = {Parsing.PUBLISHED: parse_published, Parsing.STRICT: parse_strict}
_GENERATED = Shop("", 1000)
_PANELS = {"official-128": 128, "webshop-500": 500, "webshop-human": 500, "generated-128": 128}
_EXPERTS = ("shopper", "hasty", "insider", "random")
_OFFICIAL_EVALUATION = 1000


@envs.register("webshop")
@dataclass(frozen=True, kw_only=True)
class WebshopSpec(EnvSpec):
    """WebShop, on official or generated products. Source: arXiv 2207.01206."""

    experts_are: ClassVar[str] = (
        "shopper reads pages with care, hasty without; insider knows the product; random is chance"
    )

    max_turns: int = 15
    """Actions after which an episode is cut."""
    data: str = ""
    """Directory of the official product files; empty: generated products."""
    products: int = 1000
    """Products in the shop: the first of the official list (0: all of it), or how many are generated."""
    semantics: Semantics = Semantics.CLEAN
    """Options compared by value and splits by product, or both as the official code has them."""
    seed: int = 0
    """With official semantics: seed of the first worker's prices and order of goals."""
    prompt: PromptSet | Path = PromptSet.COMPACT
    """Prompt set, or a file of templates; the answer to a compact prompt is the bare action."""
    parsing: Parsing = Parsing.PUBLISHED
    """When any other answer is valid: in the published form, or only if it is possible too."""
    reward: float = 10.0
    """Reward of a purchase that scores 1; every other step has 0."""

    def __post_init__(self) -> None:
        check_choices(self, "webshop", semantics=Semantics, parsing=Parsing)
        settle_prompt(self, "webshop")
        check_least(self, "webshop", products=0 if self.data else 100, max_turns=1, reward=0, seed=0)

    @property
    def shop(self) -> Shop:
        """The shop that the splits are of."""
        return Shop(self.data, self.products)

    def splits(self) -> tuple[str, ...]:
        """The training split, and goals for other products (officially: for other goals, mostly)."""
        return ("train", "held_out")

    def tasks(self, split: str) -> Sequence[Task]:
        """The tasks of a split."""
        if split not in self.splits():
            raise ConfigError(f"unknown split '{split}' of webshop: {suggest(split, self.splits())}")
        if self.semantics is Semantics.OFFICIAL:
            if split == "train":
                return official_train(self.shop, self.seed)
            return official_panel(self.shop, self.seed + _OFFICIAL_EVALUATION)
        return split_tasks(self.shop, self._prefix, held_out=split == "held_out")

    def panels(self) -> tuple[str, ...]:
        """Panels of generated products are always there; those of official ones when their data are."""
        official = self.semantics is Semantics.OFFICIAL
        return tuple(
            name
            for name in _PANELS
            if name == "generated-128"
            or (name == "official-128" and official)
            or (name == "webshop-500" and self.data)
            or (name == "webshop-human" and self.data and len(self.shop.goals(human=True)))
        )

    def panel(self, name: str) -> Panel:
        """A panel by name.

        `generated-128` and `webshop-500` are held-out goals of generated and of official products, spread
        over the products; `webshop-human` is goals by people, all for products that are kept from training;
        `official-128` is what the published training is first evaluated on.
        """
        if name not in _PANELS:
            raise ConfigError(f"unknown panel '{name}' of webshop: {suggest(name, self.panels())}")
        if name not in self.panels():
            needs = "semantics = 'official'" if name == "official-128" else "data with goals of that kind"
            raise DataError(f"panel '{name}' of webshop needs {needs}; there are {', '.join(self.panels())}")
        if name == "official-128":
            return Panel(name, official_panel(self.shop, self.seed + _OFFICIAL_EVALUATION))
        if name == "webshop-human":
            return Panel(name, human_tasks(self.shop, _PANELS[name]))
        if name == "generated-128":
            return Panel(name, spread_tasks(_GENERATED, "generated", _PANELS[name]))
        return Panel(name, spread_tasks(self.shop, "webshop", _PANELS[name]))

    def make(self) -> Env:
        """A fresh environment; catalogues are shared by all environments of the process."""
        compact = self.prompt is PromptSet.COMPACT
        parse = parse_bare if compact else _PARSERS[self.parsing]
        return WebshopEnv(self._begin, parse, compact, self.max_turns, self.reward)

    def prompts(self) -> Prompts:
        """The prompt set in use."""
        if isinstance(self.prompt, Path):
            return FilePrompts(kept_prompts(self.prompt, "webshop"))
        return CompactPrompts() if self.prompt is PromptSet.COMPACT else FullPrompts()

    def experts(self) -> tuple[str, ...]:
        """One that reads pages with care, one without, one that knows the product, and chance."""
        return _EXPERTS

    def expert(self, name: str, env: Env, task: Task, seed: int, noise: float = 0.0) -> Expert:
        """An expert for one episode; with probability `noise` the first two err plausibly."""
        ref: GoalRef = task.payload
        words = f"{name}/{task.id}/{seed}"
        if name in ("shopper", "hasty"):
            return (Shopper if name == "shopper" else Hasty)(ref.goal.text, words, noise)
        if name == "insider":
            goal = ref.goal
            catalogue = ref.shop.catalogue
            return Insider(catalogue, catalogue[goal.asin], [value for _, value in goal.options])
        if name == "random":
            return Wanderer(ref.goal.text, words)
        raise ConfigError(f"unknown expert '{name}' of webshop: {suggest(name, _EXPERTS)}")

    @property
    def _prefix(self) -> str:
        return "webshop" if self.data else "generated"

    def _begin(self, task: Task) -> Session:
        ref: GoalRef = task.payload
        return Session(ref.shop.catalogue, ref.goal, ref.goals.prices, self.semantics)
