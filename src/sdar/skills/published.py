"""Reads the two published bank formats, so that existing skills can be saved in ours.

- A directory with `skill_mapping.json` (SDAR): which Markdown file serves which kind, and keywords.
- One JSON file (SkillRL): `general_skills`, `task_specific_skills` (or `query_type_skills`) by kind,
  `common_mistakes`.

Both name their kinds loosely ("clean", "pick_and_place"). Given an environment's own kinds, each gets the
skills of the published kind whose words are all in its name, the longest first. That is the published rule of
ALFWorld; WebShop and Search-QA choose by other rules among the published kinds, which are then kept. Either
way no skill is lost: one that no kind would get is an error that names it. Nothing outside the given
directory is read.
"""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from sdar.errors import DataError
from sdar.runs.files import leaves
from sdar.skills.bank import Skill, SkillBank
from sdar.text.unicode import well_formed

MAPPING = "skill_mapping.json"
GENERAL = "general_skills"
MISTAKES = "common_mistakes"
RULES = {"webshop": "keyword-published", "search_qa": "by-source"}
"""Environments whose published rule is not `by-kind`: its name among our retrieval rules."""


def import_bank(source: Path, kinds: Collection[str] = ()) -> SkillBank:
    """Read a published bank: a directory with `skill_mapping.json`, or a JSON file.

    `kinds` are the environment's task kinds; without them the published names are kept. Raises `DataError`
    naming the file that is missing, outside the directory, not as expected, or for no kind.
    """
    path = source / MAPPING if source.is_dir() else source
    content = _read_json(path)
    try:
        skills = _from_mapping(path.parent, content, kinds) if source.is_dir() else _from_json(content, kinds)
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is not a published skill bank: {type(error).__name__} at {error}") from error
    return SkillBank(source.stem, skills)


def unnamed_files(source: Path) -> list[str]:
    """The Markdown files beside a mapping that it does not name, so that nobody reads them."""
    if not source.is_dir():
        return []
    named = set(_read_json(source / MAPPING)["skill_files"].values())
    return sorted(file.name for file in source.glob("*.md") if file.name not in named)


def _from_mapping(directory: Path, mapping: Mapping[str, Any], kinds: Collection[str]) -> tuple[Skill, ...]:
    """One skill for each kind in the mapping; kinds may share a file."""
    targets, keywords = mapping["task_to_skill"], mapping.get("task_keywords", {})
    texts = {name: _read_inside(directory, file) for name, file in mapping["skill_files"].items()}
    matches = _match(kinds, tuple(targets))
    lost = sorted(set(texts) - {targets[key] for key in matches.values()} - {GENERAL})
    if lost:
        raise DataError(_lost(directory / mapping["skill_files"][lost[0]], kinds))
    special = [
        _skill(kind, kind, texts[targets[key]], tuple(keywords.get(key, ()))) for kind, key in matches.items()
    ]
    return _skill(GENERAL, "", texts[GENERAL]), *special


def _from_json(bank: Mapping[str, Any], kinds: Collection[str]) -> tuple[Skill, ...]:
    """The general skills, the mistakes (general too), and one skill for each kind."""
    special = bank["query_type_skills" if "query_type_skills" in bank else "task_specific_skills"]
    skills = [_skill(GENERAL, "", _listing(bank[GENERAL]))]
    if bank.get(MISTAKES):
        skills.append(_skill(MISTAKES, "", _warnings(bank[MISTAKES])))
    matches = _match(kinds, tuple(special))
    lost = sorted(set(special) - set(matches.values()))
    if lost:
        raise DataError(_lost(f"the section '{lost[0]}'", kinds))
    return *skills, *(_skill(kind, kind, _listing(special[key])) for kind, key in matches.items())


def _lost(what: object, kinds: Collection[str]) -> str:
    """What an import that would lose something says."""
    if not kinds:
        return f"{what} would be lost: no kind of task_to_skill in {MAPPING} has it"
    names = ", ".join(sorted(kinds))
    return f"{what} would be lost: it is for none of the task kinds {names}; without --env all kinds are kept"


def _match(kinds: Collection[str], published: Sequence[str]) -> dict[str, str]:
    """The published kind for each of `kinds`; those without one are left out.

    >>> _match(["pick_heat_then_place_in_recep", "stroll"], ["pick_and_place", "heat"])
    {'pick_heat_then_place_in_recep': 'heat'}
    """
    if not kinds:
        return {key: key for key in published}
    found = {}
    for kind in kinds:
        inside = [key for key in published if set(key.split("_")) <= set(kind.split("_"))]
        if inside:
            found[kind] = max(inside, key=len)
    return found


def _skill(name: str, kind: str, text: str, keywords: tuple[str, ...] = ()) -> Skill:
    """A skill whose summary is the titles of its list, or its first line."""
    titles = re.findall(r"^\s*(?:\d+\.|[-*]) +(?:\*\*([^*\n]+?)[.:]?\*\*|([^:*\n]+):)", text, re.MULTILINE)
    prose = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    summary = "; ".join(bold or plain for bold, plain in titles) or next(iter(prose), "")
    return Skill(name, kind, summary, text.strip(), keywords)


def _listing(entries: Sequence[Mapping[str, str]]) -> str:
    """Title, principle and condition of each entry, as a numbered list."""
    lines = [f"**{e['title']}.** {e['principle']} {e.get('when_to_apply', '')}".strip() for e in entries]
    return "\n".join(f"{number}. {line}" for number, line in enumerate(lines, 1))


def _warnings(entries: Sequence[Mapping[str, str]]) -> str:
    """Each mistake and how to avoid it, as a bulleted list."""
    return "\n".join(f"- **{e['description']}** {e['how_to_avoid']}" for e in entries)


def _read_inside(directory: Path, name: str) -> str:
    """A file that the mapping names. Raises `DataError` for one that is not below `directory`."""
    if leaves(directory, directory / name):
        raise DataError(f"{directory / MAPPING} names '{name}', which is outside of {directory}")
    return _read_text(directory / name)


def _read_json(path: Path) -> Any:
    try:
        return _well_formed(json.loads(_read_text(path)))
    except (json.JSONDecodeError, RecursionError) as error:
        raise DataError(f"{path} is not JSON: {error}") from error


def _well_formed(value: Any) -> Any:
    """What JSON holds, with halves of characters replaced in all of its texts."""
    if isinstance(value, str):
        return well_formed(value)
    if isinstance(value, list):
        return [_well_formed(each) for each in value]
    if isinstance(value, dict):
        return {well_formed(name): _well_formed(each) for name, each in value.items()}
    return value


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise DataError(f"cannot read {path}: {why}") from error
