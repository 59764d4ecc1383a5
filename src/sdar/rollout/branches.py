"""The stage of OVCSD: from states of a group that failed, a player with skills plays on; successes count."""

from collections.abc import Sequence
from dataclasses import replace

from sdar.model.prefixes import common_prefix
from sdar.objectives.ovcsd import First
from sdar.rollout.stages import Tools, stages
from sdar.types import Extra, Group, Place, Trajectory


@stages.register("verify-branches")
def verify_branches(groups: Sequence[Group], tools: Tools) -> list[Group]:
    """Where all of a group fail, plays on with skills from states they shared, and adds what succeeds.

    The states are those that two episodes reached by the same actions; of the tries from one, the first that
    succeeds counts. The first action in which a branch differs from the episode nearest to it becomes two
    extra samples, with advantage 1 and -blame; what the branch does later is to be distilled.
    Source: OVCSD, arXiv 2607.27937, by a reproduction.
    """
    lost = [group for group in groups if not any(episode.success for episode in group.trajectories)]
    states = [(group, place) for group in lost for place in _states(group, tools)]
    tries = tools.setting("tries")
    tried = [pair for pair in states for _ in range(tries)]
    branches = tools.play_on([place for _, place in tried])
    extras: dict[str, list[Extra]] = {}
    served: set[tuple[str, int, int]] = set()
    for (group, place), branch in zip(tried, branches, strict=True):
        state = group.task.id, place.trajectory.index, place.turn
        if branch.success and state not in served:
            served.add(state)
            extras.setdefault(group.task.id, []).extend(
                _compare(group, branch, place.note, tools.setting("blame"))
            )
    return [replace(g, extras=(*g.extras, *extras.get(g.task.id, ()))) for g in groups]


def _actions(episode: Trajectory) -> tuple[str, ...]:
    return tuple(turn.action for turn in episode.turns)


def _states(group: Group, tools: Tools) -> list[Place]:
    """Some states that two episodes reached by the same actions, each in the first of them."""
    reached: dict[tuple[str, ...], list[Trajectory]] = {}
    for episode in group.trajectories:
        for turn in range(len(episode.turns)):
            reached.setdefault(_actions(episode)[:turn], []).append(episode)
    shared = [(past, episodes[0]) for past, episodes in reached.items() if len(episodes) > 1]
    late = tools.setting("first") == First.LATEST
    chosen = sorted(shared, key=lambda state: len(state[0]), reverse=late)[: tools.setting("states")]
    return [Place(episode, len(past), tools.skill_note(episode, len(past))) for past, episode in chosen]


def _compare(group: Group, branch: Trajectory, note: str, blame: float) -> list[Extra]:
    """Branch and nearest episode at their fork, and the rest of the branch."""
    won = _actions(branch)
    shared = [common_prefix(won, _actions(episode)) for episode in group.trajectories]
    fork = max(shared)
    student = group.trajectories[shared.index(fork)]
    if fork >= len(student.turns) or fork >= len(won):
        return []
    here = Place(student, fork)
    found = [
        Extra(here, branch.turns[fork].completion, adv=1.0),
        Extra(here, student.turns[fork].completion, adv=-blame),
    ]
    for turn in range(fork + 1, len(won)):
        found.append(Extra(Place(branch, turn), branch.turns[turn].completion, Place(branch, turn, note)))
    return found
