"""Teacher views: what a teacher is told about an episode and the student is not.

A view is a pure function `TeacherContext -> Note | None`. The note goes in front of the first user message of
the student's prompt; an empty note leaves the prompt as it is, and None means that this sample has no such
teacher. A run may have several views: each is a teacher of its own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import NamedTuple

from sdar.envs.base import EnvSpec
from sdar.errors import ConfigError
from sdar.settings.registry import Registry
from sdar.skills.bank import Skill
from sdar.skills.context import SkillContext
from sdar.types import Group, Trajectory, Turn

FUTURE = "What will be seen next:"
HIDDEN = "(not shown)"
"""Stands for an observation."""


class Note(NamedTuple):
    """What a teacher is told; `skills` names the skills in it, for the report."""

    text: str
    skills: tuple[str, ...] = ()
    instead: bool = False
    """Whether it stands in the place of what the player was shown, such as skills, and not before it."""


@dataclass(frozen=True, kw_only=True)
class TeacherContext:
    """The facts that a view may use for one sample."""

    group: Group
    trajectory: Trajectory
    turn: int | None = None
    """The turn, from 0, that the sample is about; None: the whole episode is one sample."""
    skills: SkillContext | None = None
    """The skill bank, for views that need it."""
    advice: Callable[[], Sequence[str]] = tuple
    """What the environment's expert would have done at each turn of the trajectory."""

    @property
    def start(self) -> Turn:
        """The turn that the sample begins with, whose prompt is the student's."""
        return self.trajectory.turns[self.turn or 0]

    @property
    def rest(self) -> tuple[Turn, ...]:
        """The turns that the sample is about and all later ones."""
        return self.trajectory.turns[self.turn or 0 :]


Write = Callable[[TeacherContext], Note | None]


@dataclass(frozen=True)
class View:
    """A registered view and what it needs: `skills` or `expert`."""

    write: Write
    needs: frozenset[str]


views: Registry[View] = Registry("teacher view")


def register(name: str, *needs: str) -> Callable[[Write], Write]:
    """Decorator that files a function under `name`, with what it needs beside the episodes."""

    def add(write: Write) -> Write:
        views.register(name)(View(write, frozenset(needs)))
        return write

    return add


@register("skills", "skills")
def skills(context: TeacherContext) -> Note | None:
    """The skills of the task, or of the prompt where the rule reads it. Source: arXiv 2605.15155."""
    return skill_note(context, chosen_skills(context))


@register("pruned-skills", "skills")
def pruned_skills(context: TeacherContext) -> Note | None:
    """Fewer general skills than the player saw, all of the task; None without general ones.

    Half of them stay, rounded down, by name. Source: after BCSD, arXiv 2608.09555, whose cut is not known.
    """
    chosen = chosen_skills(context)
    general = [skill for skill in chosen if skill.is_general]
    if not general:
        return None
    cut = general[len(general) // 2 :]
    return skill_note(context, [skill for skill in chosen if skill not in cut])._replace(instead=True)


def chosen_skills(context: TeacherContext) -> tuple[Skill, ...]:
    """The skills of the bank for the place that the sample is about."""
    assert context.skills is not None
    trajectory = context.trajectory
    goal = trajectory.turns[0].observation.goal
    return context.skills.select(trajectory.task, goal, context.start.plain)


def skill_note(context: TeacherContext, chosen: Sequence[Skill]) -> Note:
    """A note of these skills; empty without any."""
    assert context.skills is not None
    return Note(context.skills.section(chosen) if chosen else "", tuple(skill.name for skill in chosen))


@register("hindsight")
def hindsight(context: TeacherContext) -> Note | None:
    """How the episode ended: its outcome and the last observation. Source: after arXiv 2607.14777."""
    ending = "It succeeded" if context.trajectory.success else "It failed"
    last = context.trajectory.final.text
    return Note(f"How this attempt ends:\n{ending} after {len(context.rest)} more turns.\n{last}")


@register("future")
def future(context: TeacherContext) -> Note | None:
    """The observations that follow in the same episode. Source: arXiv 2608.04788."""
    seen = [*(turn.observation for turn in context.rest[1:]), context.trajectory.final]
    return Note("\n".join([FUTURE, *(observation.text for observation in seen)]))


@register("ablated")
def ablated(context: TeacherContext) -> Note | None:
    """What `future` tells, with a placeholder for each observation. Source: arXiv 2608.04788."""
    return Note("\n".join([FUTURE, *[HIDDEN] * len(context.rest)]))


@register("sibling")
def sibling(context: TeacherContext) -> Note | None:
    """The first other episode of the group that succeeded, or no teacher. Source: arXiv 2605.27140."""
    others = (other for other in context.group.trajectories if other.index != context.trajectory.index)
    shown = next((other for other in others if other.success), None)
    if shown is None:
        return None
    seen = [*(turn.observation for turn in shown.turns[1:]), shown.final]
    steps = [f"> {turn.action}\n{after.text}" for turn, after in zip(shown.turns, seen, strict=True)]
    return Note("\n".join(["An attempt at this task that succeeded:", *steps]))


@register("contrast")
def contrast(context: TeacherContext) -> Note | None:
    """What a success of the group did and a failure did, or no teacher. Source: after arXiv 2607.28076."""
    episodes = context.group.trajectories
    won = next((episode for episode in episodes if episode.success), None)
    lost = next((episode for episode in episodes if not episode.success), None)
    if won is None or lost is None:
        return None
    taken = {turn.action for turn in won.turns}
    do = dict.fromkeys(turn.action for turn in won.turns)
    avoid = dict.fromkeys(turn.action for turn in lost.turns if turn.action not in taken)
    lines = [*(f"DO: {action}" for action in do), *(f"AVOID: {action}" for action in avoid)]
    return Note("\n".join(["From attempts at this task:", *lines]))


@register("own-skill")
def own_skill(context: TeacherContext) -> Note | None:
    """The skill that stage `write-skill` had written, or no teacher. Source: SEED, arXiv 2607.14777."""
    return told(context, "skill", "What was learned from this attempt:")


@register("meta-skill")
def meta_skill(context: TeacherContext) -> Note | None:
    """What stage `write-meta-skill` had written, or no teacher. Source: after BCSD, arXiv 2608.09555."""
    return told(context, "meta-skill", "How to use the skills:")


@register("guidance")
def guidance(context: TeacherContext) -> Note | None:
    """What stage `reflect` had written to do and to avoid, or no teacher. Source: GRSD, arXiv 2607.28076."""
    return told(context, "guidance", "From attempts at this task:")


@register("episode-skill")
def episode_skill(context: TeacherContext) -> Note | None:
    """The skill of an analysed episode where the turn has none. Source: OPID, arXiv 2606.26790."""
    if step_skill(context):
        return None
    return told(context, "episode skill", "What this attempt shows:")


@register("step-skill")
def step_skill(context: TeacherContext) -> Note | None:
    """The skill of this turn of an analysed episode, or no teacher. Source: OPID, arXiv 2606.26790."""
    return told(context, f"skill of turn {context.turn}", "What matters now:")


def told(context: TeacherContext, fact: str, title: str) -> Note | None:
    """A fact that a stage added to the episode, under a title; None without it."""
    text = context.trajectory.facts.get(fact)
    return Note(f"{title}\n{text}") if text else None


@register("expert", "expert")
def expert(context: TeacherContext) -> Note | None:
    """What the environment's first expert would do now, or at each turn of a transcript. Source: our own."""
    advice = context.advice()
    if context.turn is not None:
        return Note(f"What an expert does now:\n> {advice[context.turn]}")
    return Note("\n".join(["What an expert does at each turn:", *(f"> {action}" for action in advice)]))


@dataclass(frozen=True, kw_only=True)
class ViewsConfig:
    """What the teachers see."""

    names: tuple[str, ...] = ()
    """Views, a teacher each; empty: those that the objective is defined with."""
    budgets: tuple[int, ...] = ()
    """Tokens that each view may add to a prompt, in the order of `names`; 0: as many as fit the context."""

    def __post_init__(self) -> None:
        for name in self.names:
            views[name]
        if len(set(self.names)) < len(self.names):
            raise ConfigError(f"views.names lists a view twice: {', '.join(self.names)}")
        if self.budgets and len(self.budgets) != len(self.names):
            raise ConfigError(
                f"views.budgets has {len(self.budgets)} numbers for {len(self.names)} views.names; name both"
            )
        if min(self.budgets, default=0) < 0:
            raise ConfigError("views.budgets must not be negative")


@dataclass(frozen=True, kw_only=True)
class Views:
    """The views of a run, the main one first, and what they are made from."""

    names: tuple[str, ...]
    spec: EnvSpec
    skills: SkillContext | None = None
    budgets: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        needs = frozenset[str]().union(*(views[name].needs for name in self.names))
        if "skills" in needs and self.skills is None:
            needy = next(name for name in self.names if "skills" in views[name].needs)
            raise ConfigError(f"the teacher view '{needy}' needs skills, and none were given")

    def budget(self, view: int) -> int:
        """Tokens that a view may add to a prompt; 0 is no limit."""
        return self.budgets[view] if self.budgets else 0

    def context(self, group: Group, trajectory: Trajectory) -> TeacherContext:
        """The facts about one episode."""
        advice = cache(partial(advise, self.spec, trajectory))
        return TeacherContext(group=group, trajectory=trajectory, skills=self.skills, advice=advice)


def advise(spec: EnvSpec, trajectory: Trajectory) -> tuple[str, ...]:
    """What the environment's first expert would have done at each turn; it plays the episode again."""
    env, task = spec.make(), trajectory.task
    seen = env.reset(task)
    adviser = spec.expert(spec.experts()[0], env, task, seed=0)
    advice = []
    for turn in trajectory.turns:
        advice.append(adviser.act(seen))
        seen = env.step(turn.text).observation
    return tuple(advice)
