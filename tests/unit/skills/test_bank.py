import os
import re
from pathlib import Path

import pytest

from sdar.errors import ConfigError, DataError
from sdar.skills.bank import Skill, SkillBank, builtin_banks, find_problems, parse

GOOD = "---\nname: heat\nkind: heat\nsummary: use it.\n---\n\nbody\n"


def test_saved_bank_reads_back_equal(bank: SkillBank, directory: Path) -> None:
    assert SkillBank.load(directory) == bank
    assert SkillBank.load(str(directory)) == bank
    assert sorted(os.listdir(directory.parent)) == ["small"]


def test_wordings_are_read_and_written_back() -> None:
    source = GOOD.replace("summary: use it.", "summary: use it.\nwording: a.\nwording: b.\nheld-out: c.")
    skill = parse(source)
    assert (skill.summary, skill.wordings, skill.held_out) == ("use it.", ("a.", "b."), ("c.",))
    assert parse(skill.render()) == skill
    assert skill.render() != parse(GOOD).render()
    with pytest.raises(DataError, match="empty wording"):
        parse(GOOD.replace("summary:", "wording:\nsummary:"))


def test_general_skills_come_first_then_names(bank: SkillBank) -> None:
    assert [skill.name for skill in bank.skills] == ["basics", "cool", "heat", "put"]
    assert bank.kinds == ("cool", "heat", "put")
    assert bank.general == bank.skills[:1]
    assert [skill.name for skill in bank.of_kind("cool")] == ["cool"]
    assert bank.of_kind("fry") == ()


def test_fingerprint_follows_content(bank: SkillBank) -> None:
    assert bank.fingerprint == SkillBank("other name", bank.skills[::-1]).fingerprint
    changed = Skill("heat", "heat", "use the microwave.", "1. Use the oven.", ("heat", "hot"))
    assert bank.fingerprint != SkillBank("small", (*bank.skills[:2], changed, bank.skills[3])).fingerprint


def test_save_refuses_a_directory_in_use(bank: SkillBank, directory: Path) -> None:
    with pytest.raises(DataError, match="in use"):
        bank.save(directory)
    with pytest.raises(DataError, match="in use"):
        bank.save(directory / "heat.md")


def test_save_fills_an_empty_directory(bank: SkillBank, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    bank.save(tmp_path / "empty")
    assert SkillBank.load(tmp_path / "empty").skills == bank.skills


def test_failed_save_leaves_nothing(bank: SkillBank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, *args: object, **kwargs: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "write_text", refuse)
    with pytest.raises(DataError, match=r"cannot write the skill bank to .*bank: Permission denied"):
        bank.save(tmp_path / "bank")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("just text\n", "does not start with front matter"),
        ("---\nname: heat\nsummary: use it.\n", "does not start with front matter"),
        (GOOD.replace("name: heat\n", ""), "field 'name' is missing"),
        (GOOD.replace("summary: use it.", "summary:"), "field 'summary' is missing"),
        (GOOD.replace("summary", "sumary"), "unknown field 'sumary': did you mean 'summary'"),
        (GOOD.replace("kind: heat", "kind: heat\nkind: cool"), "field 'kind' is given twice"),
        (GOOD.replace("kind: heat", "kind heat"), "front matter line 'kind heat' is not 'key: value'"),
        (GOOD.replace("body", " "), "skill 'heat' has an empty body"),
        (GOOD.replace("name: heat", "name: ../heat"), "skill name '../heat' must be"),
        (GOOD.replace("---\n\n", "keywords: a,, b\n---\n\n"), "keyword that is empty"),
        (GOOD.replace("kind: heat", "keywords: hot"), "is general, so it is always retrieved"),
    ],
)
def test_bad_file_is_named_with_its_fault(source: str, complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.md"
    path.write_text(source)
    with pytest.raises(DataError, match=re.escape(complaint)) as error:
        SkillBank.load(tmp_path)
    assert str(path) in str(error.value)


def test_file_that_is_not_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.md").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"bad\.md"):
        SkillBank.load(tmp_path)


def test_name_in_two_files_names_both(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text(GOOD)
    (tmp_path / "b.md").write_text(GOOD)
    with pytest.raises(DataError, match=r"b\.md: skill 'heat' is also in a\.md"):
        SkillBank.load(tmp_path)


def test_kind_that_is_not_known_is_refused(directory: Path) -> None:
    assert SkillBank.load(directory, kinds=["heat", "cool", "put"])
    with pytest.raises(DataError, match=r"heat\.md: unknown task kind 'heat': did you mean 'heats'"):
        SkillBank.load(directory, kinds=["heats", "cool", "put"])


def test_unknown_bank_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"unknown skill bank 'alfwrld'.*did you mean 'alfworld'"):
        SkillBank.load("alfwrld")


def test_directory_without_skills_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no \.md files"):
        SkillBank.load(tmp_path)


def test_empty_bank_and_equal_names_are_errors(bank: SkillBank) -> None:
    with pytest.raises(DataError, match="'none' holds no skills"):
        SkillBank("none", ())
    with pytest.raises(DataError, match="two skills named 'heat'"):
        SkillBank("twice", (*bank.skills, bank.skills[2]))


@pytest.mark.parametrize(
    "fields",
    [
        ("a", "two\nlines", "s", "t"),
        ("a", "k", "two\nlines", "t"),
        ("a", "k", " space", "t"),
        ("a", "k", "s", "t\n"),
        ("a", "k", "s", "t", ("a, b",)),
        ("a", "k", " ", "t"),
    ],
)
def test_skill_that_would_not_read_back_is_refused(fields: tuple) -> None:
    with pytest.raises(DataError, match="skill 'a'"):
        Skill(*fields)


def test_blank_lines_and_colons_in_front_matter_are_read() -> None:
    assert parse("---  \nname: a\n\nsummary: b: c\n---\nx") == Skill("a", "", "b: c", "x")


def test_windows_line_ends_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_bytes(GOOD.replace("\n", "\r\n").encode())
    assert SkillBank.load(tmp_path).skills == (parse(GOOD),)


def test_alfworld_ships() -> None:
    assert "alfworld" in builtin_banks()


def test_all_problems_of_a_bank_are_found_at_once(directory: Path) -> None:
    assert find_problems(directory) == []
    assert find_problems(directory, ["heat", "cool", "put"]) == []
    (directory / "bad.md").write_text("no matter")
    (directory / "worse.md").write_text("---\nname: x\n---\nbody")
    (directory / "twin.md").write_text("---\nname: heat\nsummary: s\n---\nbody")
    first, second, third = find_problems(directory)
    assert "bad.md: does not start with front matter" in first
    assert "worse.md: field 'summary' is missing" in second
    assert "two skills named 'heat'" in third
    for name in ("bad", "worse", "twin"):
        (directory / f"{name}.md").unlink()
    assert find_problems(directory, ["heat", "fry"]) == ["no skill for task kind 'fry'"]
