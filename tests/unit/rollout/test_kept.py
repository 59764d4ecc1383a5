"""What is kept to be read is spread over tasks; of a panel the failures come first."""

from sdar.rollout.kept import of_groups, of_panel
from sdar.types import Group, Task


def groups(*sizes: int) -> list[Group]:
    return [Group(Task(f"t/{i}", "k"), [None] * size) for i, size in enumerate(sizes)]  # type: ignore[list-item]


def test_every_group_gives_one_before_any_gives_two() -> None:
    assert of_groups(groups(3, 2, 3), 2) == [0, 3]
    assert of_groups(groups(3, 2, 3), 4) == [0, 1, 3, 5]
    assert of_groups(groups(3, 1, 3), 100) == list(range(7))
    assert of_groups(groups(3), 0) == []


def test_failures_first_spread_over_kinds() -> None:
    played = [("heat", True), ("heat", False), ("heat", False), ("cool", False), ("cool", True)]
    assert of_panel(played, 2) == [1, 3]
    assert of_panel(played, 3) == [1, 2, 3]
    assert of_panel(played, 4) == [0, 1, 2, 3]
    assert of_panel(played, 99) == [0, 1, 2, 3, 4]
