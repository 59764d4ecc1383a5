import math

import pytest

from sdar.skills.stats import skill_stats


def episode(kind: str, won: bool, *skills: str, gap: float | None = None) -> dict[str, object]:
    return {"kind": kind, "success": won, "skills": list(skills), "gap": gap}


def test_counts_gaps_and_success() -> None:
    general, heat = skill_stats(
        [
            episode("heat", True, "general", "heat", gap=0.5),
            episode("heat", False, "general", "heat", gap=-0.1),
            episode("heat", True, "general", "heat"),
            episode("cool", False, "general"),
        ]
    )
    assert (heat.name, heat.seen, heat.gap, heat.success) == ("heat", 3, pytest.approx(0.2), 2 / 3)
    assert (general.seen, general.success) == (4, 0.5)
    assert (general.without, heat.without) == (0, 0)
    assert math.isnan(general.success_without)


def test_success_without_is_weighted_like_success_with() -> None:
    """Seen three times in an easy kind and once in a hard one; without it, 1 of 2 and 0 of 4 succeed."""
    easy = [episode("easy", True, "s")] * 3 + [episode("easy", True), episode("easy", False)]
    hard = [episode("hard", True, "s")] + [episode("hard", False)] * 4
    other = [episode("other", True)] * 9
    [skill] = skill_stats(easy + hard + other)
    assert (skill.seen, skill.success, skill.without) == (4, 1.0, 6)
    assert skill.success_without == pytest.approx(3 / 4 * 1 / 2)
    assert math.isnan(skill.gap)


def test_nothing_seen_is_nothing_to_say() -> None:
    assert skill_stats([episode("heat", True)]) == []
