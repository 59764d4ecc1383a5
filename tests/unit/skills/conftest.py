"""A small bank, on disk and in memory."""

from pathlib import Path

import pytest

from sdar.skills.bank import Skill, SkillBank


@pytest.fixture
def bank() -> SkillBank:
    return SkillBank(
        "small",
        (
            Skill("heat", "heat", "use the microwave.", "1. Use the microwave.", ("heat", "hot")),
            Skill("put", "put", "put it there.", "1. Put it there."),
            Skill("basics", "", "look around: once.", "1. Look around.\n\n---\n\n2. Once."),
            Skill("cool", "cool", "use the fridge.", "1. Use the fridge.", ("cool", "fridge door")),
        ),
    )


@pytest.fixture
def directory(bank: SkillBank, tmp_path: Path) -> Path:
    bank.save(tmp_path / "small")
    return tmp_path / "small"
