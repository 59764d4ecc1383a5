"""A few moments of the kill campaign; `python -m tests.faults.kills` does 50."""

from pathlib import Path

from tests.faults.kills import campaign


def test_runs_killed_at_random_moments_end_as_the_run_that_was_not(tmp_path: Path) -> None:
    result = campaign(3, seed=7, directory=tmp_path)
    assert result["different_after_resume"] == {}
    assert result["kills"]
