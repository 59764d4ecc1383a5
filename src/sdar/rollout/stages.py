"""Stages between the rollout and learning: each sees all groups of a step and says what to learn from.

A stage is a pure function of the groups. Every rank has all of them and runs it alike, so it must not depend
on the rank or on chance. It may leave out groups, or add `facts` to trajectories for teacher views to tell.
"""

from collections.abc import Callable, Iterable, Sequence

from sdar.settings.registry import Registry
from sdar.types import Group

Stage = Callable[[Sequence[Group]], list[Group]]

stages: Registry[Stage] = Registry("stage")


@stages.register("drop-equal")
def drop_equal(groups: Sequence[Group]) -> list[Group]:
    """Leaves out groups whose episodes all have the same return, unless all groups are like that.

    Source: the dynamic sampling of DAPO, arXiv 2503.14476, which plays more groups in their place; this does
    not.
    """
    mixed = [group for group in groups if len({t.reward for t in group.trajectories}) > 1]
    return mixed or list(groups)


def run_stages(names: Iterable[str], groups: Sequence[Group]) -> list[Group]:
    """The groups after these stages, in order."""
    left = list(groups)
    for name in names:
        left = stages[name](left)
    return left
