import json
from pathlib import Path

import pytest

from sdar.errors import DataError
from sdar.skills.bank import SkillBank
from sdar.skills.published import import_bank

KINDS = ("pick_and_place_simple", "pick_two_obj_and_place", "pick_heat_then_place_in_recep")
RULE = {"title": "Look", "principle": "Look once.", "when_to_apply": "Always."}
JSON = {
    "general_skills": [RULE, RULE],
    "task_specific_skills": {"pick_and_place": [RULE], "heat": [{"title": "Warm", "principle": "Warm it."}]},
    "common_mistakes": [{"description": "Stood still.", "why_it_happens": "?", "how_to_avoid": "Move."}],
}


@pytest.fixture
def mapped(tmp_path: Path) -> Path:
    mapping = {
        "skill_files": {"general_skills": "g.md", "pick_and_place": "p.md", "heat": "h.md"},
        "task_to_skill": {
            "pick_and_place": "pick_and_place",
            "pick_two_obj_and_place": "pick_and_place",
            "pick_heat_then_place_in_recep": "heat",
        },
        "task_keywords": {"pick_heat_then_place_in_recep": ["heat"]},
    }
    (tmp_path / "skill_mapping.json").write_text(json.dumps(mapping))
    (tmp_path / "g.md").write_text("# General\n\nLook around.\nThen act.\n")
    (tmp_path / "p.md").write_text("1. First: search.\n\n2. Then act: put.\n")
    (tmp_path / "h.md").write_text("- **Warm it.** In the microwave.\n")
    return tmp_path


def test_mapping_fits_the_kinds_of_an_environment(mapped: Path) -> None:
    bank = import_bank(mapped, KINDS)
    assert bank.kinds == tuple(sorted(KINDS))
    assert [skill.summary for skill in bank.general] == ["Look around."]
    simple, two, heat = (bank.of_kind(kind)[0] for kind in KINDS)
    assert simple.text == two.text == "1. First: search.\n\n2. Then act: put."
    assert (simple.summary, simple.keywords) == ("First; Then act", ())
    assert (heat.summary, heat.keywords) == ("Warm it", ("heat",))


def test_json_bank_is_lists_of_titles_and_principles(tmp_path: Path) -> None:
    (tmp_path / "bank.json").write_text(json.dumps(JSON))
    bank = import_bank(tmp_path / "bank.json", KINDS)
    assert [skill.name for skill in bank.general] == ["common_mistakes", "general_skills"]
    mistakes, general = bank.general
    assert mistakes.text == "- **Stood still.** Move."
    assert mistakes.summary == "Stood still"
    assert general.text == "1. **Look.** Look once. Always.\n2. **Look.** Look once. Always."
    assert general.summary == "Look; Look"
    assert bank.of_kind("pick_heat_then_place_in_recep")[0].text == "1. **Warm.** Warm it."
    assert bank.of_kind("pick_two_obj_and_place")[0].text == "1. **Look.** Look once. Always."


def test_halves_of_characters_are_replaced_and_the_bank_can_be_saved(tmp_path: Path) -> None:
    file = tmp_path / "skills.json"
    general = [{"title": "T \ud83d", "principle": "half \ud83d emoji", "when_to_apply": "Always."}]
    file.write_text(json.dumps({"general_skills": general, "task_specific_skills": {}}))
    import_bank(file).save(tmp_path / "out")
    (saved,) = SkillBank.load(tmp_path / "out").skills
    assert "**T \ufffd.** half \ufffd emoji Always." in saved.render()


def test_question_answering_bank_has_its_own_section_name(tmp_path: Path) -> None:
    renamed = {"general_skills": [RULE], "query_type_skills": {"compare": [RULE]}}
    (tmp_path / "bank.json").write_text(json.dumps(renamed))
    assert import_bank(tmp_path / "bank.json").kinds == ("compare",)


def test_without_kinds_the_published_names_stay(tmp_path: Path, mapped: Path) -> None:
    (tmp_path / "bank.json").write_text(json.dumps({**JSON, "common_mistakes": []}))
    bank = import_bank(tmp_path / "bank.json")
    assert bank.kinds == ("heat", "pick_and_place")
    assert len(bank.general) == 1
    assert import_bank(mapped).kinds[0] == "pick_and_place"


def test_imported_bank_saves_in_our_format(mapped: Path, tmp_path: Path) -> None:
    bank = import_bank(mapped, KINDS)
    bank.save(tmp_path / "ours")
    assert SkillBank.load(tmp_path / "ours", KINDS).skills == bank.skills


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("{", "is not JSON"),
        ("[]", "is not a published skill bank"),
        ('{"general_skills": []}', "is not a published skill bank: KeyError at 'task_specific_skills'"),
        ('{"general_skills": ["x"], "task_specific_skills": {}}', "is not a published skill bank"),
    ],
)
def test_bad_json_is_named(content: str, complaint: str, tmp_path: Path) -> None:
    (tmp_path / "bank.json").write_text(content)
    with pytest.raises(DataError, match=rf"bank\.json {complaint}"):
        import_bank(tmp_path / "bank.json")


def test_a_skill_that_no_kind_gets_is_named(mapped: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"h\.md would be lost: .* pick_and_place_simple"):
        import_bank(mapped, KINDS[:2])
    (tmp_path / "bank.json").write_text(json.dumps(JSON))
    with pytest.raises(DataError, match="'heat' would be lost"):
        import_bank(tmp_path / "bank.json", KINDS[:2])
    mapping = json.loads((mapped / "skill_mapping.json").read_text())
    (mapped / "o.md").write_text("1. Odd: one.\n")
    mapping["skill_files"]["odd"] = "o.md"
    (mapped / "skill_mapping.json").write_text(json.dumps(mapping))
    with pytest.raises(DataError, match=r"o\.md would be lost"):
        import_bank(mapped)


@pytest.mark.parametrize("link", [False, True])
def test_nothing_outside_the_directory_is_read(link: bool, mapped: Path) -> None:
    (mapped / "inner").mkdir()
    mapping = json.loads((mapped / "skill_mapping.json").read_text())
    if link:
        (mapped / "inner" / "p.md").symlink_to(mapped / "p.md")
    mapping["skill_files"]["pick_and_place"] = "p.md" if link else "../p.md"
    for name in ("g.md", "h.md"):
        (mapped / "inner" / name).write_text((mapped / name).read_text())
    (mapped / "inner" / "skill_mapping.json").write_text(json.dumps(mapping))
    with pytest.raises(DataError, match=r"names .*p\.md., which is outside of"):
        import_bank(mapped / "inner")


def test_missing_files_are_named(mapped: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.json"):
        import_bank(tmp_path / "absent.json")
    (mapped / "h.md").unlink()
    with pytest.raises(DataError, match=r"h\.md"):
        import_bank(mapped)
