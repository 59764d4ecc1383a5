"""The stage of UCOB: the best answer to a situation, in places where the others of the group stood."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from sdar.rollout.stages import Tools, stages
from sdar.types import ContextMode, Extra, Group, Place, Trajectory


class _Record(NamedTuple):
    trajectory: Trajectory
    turn: int
    gain: float
    """The discounted return from here on."""


@stages.register("swap-skills")
def swap_skills(groups: Sequence[Group], tools: Tools) -> list[Group]:
    """The best answer in a situation, put where others of the group stood, with skills if it had none.

    A situation is what was observed; the best answer is that with the largest discounted return. In each of
    the `kept` places where others gained least it becomes an extra sample, whose prompt is theirs with the
    skills if the best answer was given without, and without them otherwise. The teacher reads what the answer
    was given to. The weight is the difference of the returns. Answers without a valid action do not count.
    Source: UCOB, arXiv 2606.29502, and its code.
    """
    return [replace(group, extras=(*group.extras, *_extras(group, tools))) for group in groups]


def _extras(group: Group, tools: Tools) -> list[Extra]:
    met: dict[str, list[_Record]] = {}
    for trajectory in group.trajectories:
        gains = _gains(trajectory, tools.setting("discount"))
        for number, (turn, gain) in enumerate(zip(trajectory.turns, gains, strict=True)):
            if turn.completion.tokens and turn.valid:
                met.setdefault(turn.observation.text, []).append(_Record(trajectory, number, gain))
    found = []
    for records in met.values():
        best = max(records, key=lambda record: record.gain)
        others = sorted((r for r in records if r is not best), key=lambda record: record.gain)
        for other in others[: tools.setting("kept")]:
            if best.gain > other.gain:
                found.append(_extra(best, other, tools))
    return found


def _extra(best: _Record, other: _Record, tools: Tools) -> Extra:
    """The best answer in another's place."""
    seen = _shown(best.trajectory, best.turn)
    note = "" if seen else tools.skill_note(other.trajectory, other.turn)
    return Extra(
        at=Place(other.trajectory, other.turn, note),
        answer=best.trajectory.turns[best.turn].completion,
        teacher=Place(best.trajectory, best.turn, seen),
        weight=best.gain - other.gain,
    )


def _shown(trajectory: Trajectory, turn: int) -> str:
    """The skills that the player saw in its prompt of a turn."""
    return trajectory.turns[turn if trajectory.context is ContextMode.WINDOW else 0].shown


def _gains(trajectory: Trajectory, discount: float) -> list[float]:
    gains, ahead = [], 0.0
    for turn in reversed(trajectory.turns):
        ahead = turn.reward + discount * ahead
        gains.append(ahead)
    return gains[::-1]
