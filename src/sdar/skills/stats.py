"""What a run says about each skill: how often it was seen, its gap, and success with and without it."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class SkillStats:
    """One skill over the episodes of a run. Numbers that there is no ground for are not a number."""

    name: str
    seen: int
    """Episodes whose teacher saw it, or whose player where skills are the player's."""
    gap: float
    """Mean over those episodes of their mean gap, teacher - student log-prob of a sampled token."""
    success: float
    """Share of those episodes that succeeded."""
    without: int
    """Episodes that did not see it, of the task kinds in which others did."""
    success_without: float
    """Success of those, each kind weighted as it is among the episodes that saw the skill."""


@dataclass(slots=True)
class _Count:
    episodes: int = 0
    won: int = 0
    gaps: list[float] = field(default_factory=list)

    def add(self, episode: Mapping[str, Any]) -> None:
        self.episodes += 1
        self.won += episode["success"]
        if episode["gap"] is not None:
            self.gaps.append(episode["gap"])


def skill_stats(episodes: Iterable[Mapping[str, Any]]) -> list[SkillStats]:
    """The statistics of every skill that was seen, by name, from a run's episode records.

    Kinds in which every episode saw the skill, or none, say nothing about success without it. Episodes of one
    run are compared, not the same episode with and without: a description, not a test.
    """
    kinds: dict[str, _Count] = defaultdict(_Count)
    seen: dict[str, dict[str, _Count]] = defaultdict(lambda: defaultdict(_Count))
    for episode in episodes:
        kinds[episode["kind"]].add(episode)
        for name in episode["skills"]:
            seen[name][episode["kind"]].add(episode)
    return [_stats(name, seen[name], kinds) for name in sorted(seen)]


def _stats(name: str, seen: Mapping[str, _Count], kinds: Mapping[str, _Count]) -> SkillStats:
    number = sum(count.episodes for count in seen.values())
    gaps = [gap for count in seen.values() for gap in count.gaps]
    mixed = [kind for kind, count in seen.items() if count.episodes < kinds[kind].episodes]
    without = {kind: kinds[kind].episodes - seen[kind].episodes for kind in mixed}
    won = {kind: kinds[kind].won - seen[kind].won for kind in mixed}
    weighted = sum(seen[kind].episodes * won[kind] / without[kind] for kind in mixed)
    weights = sum(seen[kind].episodes for kind in mixed)
    return SkillStats(
        name=name,
        seen=number,
        gap=math.fsum(gaps) / len(gaps) if gaps else math.nan,
        success=sum(count.won for count in seen.values()) / number,
        without=sum(without.values()),
        success_without=weighted / weights if weights else math.nan,
    )
