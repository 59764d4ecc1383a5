"""Stages between the rollout and learning: each sees all groups of a step and says what to learn from.

A stage is a function of the groups, and of `Tools` for what groups do not hold. It may leave out groups, add
`facts` to trajectories for teacher views to tell, and add `extras` to groups: further samples. Every rank
has all groups and runs it alike, so it must not depend on the rank or on chance; nor do the tools.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sdar.errors import ConfigError
from sdar.settings.registry import Registry
from sdar.skills.context import SkillContext
from sdar.types import ContextMode, Group, Message, Place, Trajectory


class Ask(NamedTuple):
    """A text to be written."""

    about: str
    """What it is for, for whoever reads the texts of a run."""
    messages: tuple[Message, ...]


def cannot_write(asks: Sequence[Ask]) -> list[str]:
    """For who cannot write."""
    raise ConfigError("this stage asks for texts, and nobody is there to write them")


def cannot_play(places: Sequence[Place]) -> list[Trajectory]:
    """For who cannot play."""
    raise ConfigError("this stage plays on from states, and nobody is there to play")


@dataclass(frozen=True, kw_only=True)
class Tools:
    """What a stage can ask for. Every rank asks for the same, and gets the same."""

    bank: SkillContext | None = None
    """The skills of the run, where anybody sees them."""
    write: Callable[[Sequence[Ask]], list[str]] = cannot_write
    """A text for each ask, by the policy or an endpoint as the settings `writer` say; empty for a question
    that leaves no room in the context. The same in a run that goes on."""
    play_on: Callable[[Sequence[Place]], list[Trajectory]] = cannot_play
    """For each place an episode that shares the turns before it and goes on from there by the policy, which
    reads the place's note."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Those of the objective."""

    def setting(self, name: str) -> Any:
        """A setting of the objective that the stage needs. Raises `ConfigError` when it has none."""
        if name not in self.settings:
            raise ConfigError(
                f"a stage needs objective.{name}, which this objective does not have: leave the stage out, "
                "or choose the objective that is defined with it"
            )
        return self.settings[name]

    @property
    def skills(self) -> SkillContext:
        """The skills of the run. Raises `ConfigError` when it has none."""
        if self.bank is None:
            raise ConfigError("this stage shows skills, and the run has none: its objective needs a teacher")
        return self.bank

    def skill_note(self, trajectory: Trajectory, turn: int) -> str:
        """The skills that a player would be shown in this place of an episode, as text."""
        first = trajectory.turns[0]
        prompt = trajectory.turns[turn] if trajectory.context is ContextMode.WINDOW else first
        return self.skills.note(trajectory.task, first.observation.goal, prompt.plain)


Stage = Callable[[Sequence[Group], Tools], list[Group]]

stages: Registry[Stage] = Registry(
    "stage",
    homes={
        "analyse": "sdar.rollout.texts",
        "reflect": "sdar.rollout.texts",
        "swap-skills": "sdar.rollout.swaps",
        "verify-branches": "sdar.rollout.branches",
        "write-meta-skill": "sdar.rollout.texts",
        "write-skill": "sdar.rollout.texts",
    },
)


@stages.register("drop-equal")
def drop_equal(groups: Sequence[Group], tools: Tools) -> list[Group]:
    """Leaves out groups whose episodes all have the same return, unless all groups are like that.

    Source: the dynamic sampling of DAPO, arXiv 2503.14476, which plays more groups in their place; this does
    not.
    """
    mixed = [group for group in groups if len({t.reward for t in group.trajectories}) > 1]
    return mixed or list(groups)


def run_stages(names: Iterable[str], groups: Sequence[Group], tools: Tools) -> list[Group]:
    """The groups after these stages, in order."""
    left = list(groups)
    for name in names:
        left = stages[name](left, tools)
    return left
