"""What GRPO alone reached with a run's budget: results of a study that come with the package. No torch.

`python studies/baselines.py STUDY.toml ...` writes `baselines.json`.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sdar.errors import some
from sdar.evaluation.results import Interval
from sdar.runs.files import read_json
from sdar.settings.values import by_path

FILE = Path(__file__).with_name("baselines.json")
BUDGET = ("train.steps", "rollout.tasks_per_step", "rollout.group_size")
GAME = ("env.", "rollout.context", "rollout.history", "rollout.max_tokens")
MADE = "warm_start."
WEIGHTS = "starting model"
PANEL = "panel"
TEMPERATURE = "eval.temperature"


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """GRPO alone, trained with several seeds."""

    conditions: Mapping[str, Any]
    """What a run must share to be compared with it, see `conditions`; the panel is its fingerprint."""
    weights: str
    """SHA-256 of the weights that training started from, see `sdar.model.load.weights_digest`."""
    before: float
    """Success on the panel before training."""
    success: Interval
    """Success on the panel at the end, with its interval over seeds and tasks."""
    seeds: tuple[int, ...]
    command: str
    """What made its runs."""
    commit: str
    """Of the code that trained them."""

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Baseline":
        """Out of the package's file."""
        return cls(**{**data, "success": Interval(*data["success"]), "seeds": tuple(data["seeds"])})

    def to_json(self) -> dict[str, Any]:
        """For the package's file."""
        return asdict(self) | {"success": list(self.success)}

    def differing(self, own: Mapping[str, Any], weights: str) -> list[str]:
        """The conditions that a run does not share; started from these weights, it needs no warm start."""
        names = [name for name in self.conditions if self.conditions[name] != own.get(name)]
        made = [name for name in names if name.startswith(MADE)]
        if not weights:
            return names
        others = [name for name in names if name not in made]
        return others if weights == self.weights else [*others, WEIGHTS]

    def __str__(self) -> str:
        seeds = f"{len(self.seeds)} seed{'s' * (len(self.seeds) > 1)}"
        return (
            f"GRPO alone, from such a start and in as many steps: {100 * self.before:.1f} % before, "
            f"{self.success} trained ({seeds}; {self.command}, at {self.commit})"
        )


def conditions(settings: Mapping[str, Any], fingerprint: str) -> dict[str, Any]:
    """What decides whether two runs start alike, play alike and have the same budget.

    `settings` are nested, as `sdar.settings.config.to_table` gives them; `fingerprint` is the panel's.
    """
    kept = (*BUDGET, *GAME, MADE, TEMPERATURE)
    return {PANEL: fingerprint} | {name: value for name, value in by_path(settings) if name.startswith(kept)}


def baselines(file: Path = FILE) -> Iterator[Baseline]:
    """All that come with the package."""
    yield from map(Baseline.from_json, read_json(file)["baselines"])


def baseline_line(own: Mapping[str, Any], digest: Callable[[], str], file: Path = FILE) -> str:
    """The baseline of a run with these conditions, in words, or why none is shown; '' for another panel.

    `digest` reads the weights of a starting model that was given, and is asked only where it matters; empty
    where the run made its own.
    """
    known = [each for each in baselines(file) if each.conditions[PANEL] == own[PANEL]]
    if not known:
        return ""
    weights = digest()
    nearest = min(known, key=lambda each: len(each.differing(own, weights)))
    differing = nearest.differing(own, weights)
    if not differing:
        return str(nearest)
    asked = [
        f"{name} {nearest.conditions[name]}" if name in nearest.conditions else name for name in differing
    ]
    return f"what GRPO alone reaches is not stored for this run: it is for {some(asked)}"
