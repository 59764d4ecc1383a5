"""A short stretch of `benchmarks/fuzz.py`: no text that a policy writes makes an environment stumble."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from fuzz import SPECS, fuzz


@pytest.mark.parametrize("name", SPECS)
def test_hostile_actions(name: str) -> None:
    assert not fuzz(SPECS[name], actions=400, seed=7)
