"""Skills and where they are kept: a bank is a directory of Markdown files, one skill file each.

A file is front matter and a body:

    ---
    name: heat
    kind: pick_heat_then_place_in_recep
    summary: take the object, go to microwave 1, heat it with microwave 1.
    keywords: heat, hot
    ---
    1. **Heat while you hold it.** ...

`kind` is the task kind that the file is for; a file without one is general. `summary` is what a small model
reads instead of the body. `keywords` are what keyword retrieval looks for in the task sentence. Any number of
lines `wording: ...` say the summary in other words, and demonstrations show them too; lines `held-out: ...`
are kept from demonstrations, to see whether a model reads a skill or only knows it.
"""

import hashlib
import os
import re
import shutil
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sdar.errors import ConfigError, DataError, suggest
from sdar.runs.files import leaves
from sdar.settings.shipped import find_file

BUILTIN = Path(__file__).parent / "banks"
REQUIRED = ("name", "summary")
OPTIONAL = ("kind", "keywords")
REPEATED = ("wording", "held-out")


@dataclass(frozen=True, slots=True)
class Skill:
    """One file of a bank. Raises `DataError` for a field that is empty or could not be written back.

    >>> Skill("tidy", "", "put things away.", "1. Put things away.").is_general
    True
    """

    name: str
    kind: str
    summary: str
    text: str
    keywords: tuple[str, ...] = ()
    wordings: tuple[str, ...] = ()
    """The summary in other words."""
    held_out: tuple[str, ...] = ()
    """The same, in words that no demonstration shows."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", self.name):
            raise DataError(f"skill name '{self.name}' must be letters, digits, '_', '-' and '.'")
        for field, value in (("summary", self.summary), ("body", self.text)):
            if not value.strip():
                raise DataError(f"skill '{self.name}' has an empty {field}")
        lines = (self.kind, self.summary, *self.keywords, *self.wordings, *self.held_out)
        if any("\n" in line for line in lines):
            raise DataError(f"skill '{self.name}' has a kind, summary or keyword of more than one line")
        if any(part != part.strip() for part in (self.text, *lines)):
            raise DataError(f"skill '{self.name}' has space around its kind, summary, body or a keyword")
        if not all((*self.wordings, *self.held_out)):
            raise DataError(f"skill '{self.name}' has an empty wording")
        if any(not word or "," in word for word in self.keywords):
            raise DataError(f"skill '{self.name}' has a keyword that is empty or holds a comma")
        if self.keywords and self.is_general:
            raise DataError(f"skill '{self.name}' is general, so it is always retrieved: drop its keywords")

    @property
    def is_general(self) -> bool:
        """Whether the skill is for every kind of task."""
        return not self.kind

    def render(self) -> str:
        """The text of the skill's file; `parse` reads it back."""
        keywords = ", ".join(self.keywords)
        fields = [("name", self.name), ("kind", self.kind), ("summary", self.summary)]
        for key, texts in zip(REPEATED, (self.wordings, self.held_out), strict=True):
            fields += [(key, text) for text in texts]
        fields.append(("keywords", keywords))
        head = "".join(f"{key}: {value}\n" for key, value in fields if value)
        return f"---\n{head}---\n\n{self.text}\n"


def parse(source: str) -> Skill:
    """Read the text of a skill file. Raises `DataError` naming what is wrong with it."""
    matter = re.match(r"---[ \t]*\n(.*?)^---[ \t]*(?:\n|\Z)(.*)", source, re.DOTALL | re.MULTILINE)
    if not matter:
        raise DataError("does not start with front matter between two '---' lines")
    fields: dict[str, str] = {}
    repeated: dict[str, list[str]] = {key: [] for key in REPEATED}
    for line in filter(str.strip, matter[1].splitlines()):
        key, colon, value = (part.strip() for part in line.partition(":"))
        if not colon:
            raise DataError(f"front matter line '{line.strip()}' is not 'key: value'")
        if key in REPEATED:
            repeated[key].append(value)
            continue
        if key not in REQUIRED + OPTIONAL:
            raise DataError(f"unknown field '{key}': {suggest(key, REQUIRED + OPTIONAL + REPEATED)}")
        if key in fields:
            raise DataError(f"field '{key}' is given twice")
        fields[key] = value
    for key in REQUIRED:
        if not fields.get(key):
            raise DataError(f"field '{key}' is missing")
    keywords = tuple(word.strip() for word in fields["keywords"].split(",")) if fields.get("keywords") else ()
    return Skill(
        fields["name"],
        fields.get("kind", ""),
        fields["summary"],
        matter[2].strip(),
        keywords,
        tuple(repeated["wording"]),
        tuple(repeated["held-out"]),
    )


@dataclass(frozen=True, slots=True)
class SkillBank:
    """Skills by name, the general ones first. Raises `DataError` when empty or when a name occurs twice."""

    name: str
    skills: tuple[Skill, ...]

    def __post_init__(self) -> None:
        if not self.skills:
            raise DataError(f"skill bank '{self.name}' holds no skills")
        names = [skill.name for skill in self.skills]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice:
            raise DataError(f"skill bank '{self.name}' holds two skills named '{twice}'")
        object.__setattr__(self, "skills", tuple(sorted(self.skills, key=lambda s: (bool(s.kind), s.name))))

    @classmethod
    def load(cls, source: str | Path, kinds: Collection[str] = ()) -> "SkillBank":
        """Read a bank: the name of a built-in one, or a directory (`./alfworld` where both exist).

        With `kinds`, a file for any other kind is refused. Raises `ConfigError` when there is no such bank
        and `DataError`, naming the file, when a file is bad.
        """
        files = _files(source)
        return cls(files[0].resolve().parent.name, tuple(_read_all(files, kinds)))

    def save(self, directory: Path) -> None:
        """Write the bank to a new or empty directory; it appears whole or not at all."""
        if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
            raise DataError(f"{directory} is in use; save the skill bank to a new directory")
        partial = directory.with_name(f".{directory.name}.{os.getpid()}.partial")
        try:
            partial.mkdir(parents=True)
            for skill in self.skills:
                (partial / f"{skill.name}.md").write_text(skill.render(), encoding="utf-8")
            os.replace(partial, directory)
        except OSError as error:
            raise DataError(f"cannot write the skill bank to {directory}: {error.strerror}") from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The task kinds that have a skill, sorted."""
        return tuple(sorted({skill.kind for skill in self.skills} - {""}))

    @property
    def general(self) -> tuple[Skill, ...]:
        """The skills for every kind of task."""
        return self.of_kind("")

    @property
    def special(self) -> tuple[Skill, ...]:
        """The skills that are for one kind of task."""
        return tuple(skill for skill in self.skills if not skill.is_general)

    def of_kind(self, kind: str) -> tuple[Skill, ...]:
        """The skills written for `kind`; empty where there are none."""
        return tuple(skill for skill in self.skills if skill.kind == kind)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of everything in the bank."""
        return hashlib.sha256("\0".join(skill.render() for skill in self.skills).encode()).hexdigest()


def find_problems(source: str | Path, kinds: Collection[str] = ()) -> list[str]:
    """Everything that is wrong with a bank, file by file, and those of `kinds` that have no skill.

    Raises `ConfigError` when there is no such bank.
    """
    problems: list[str] = []
    found: list[Skill] = []
    for path in _files(source):
        try:
            found += _read_all([path], ())
        except DataError as error:
            problems.append(str(error))
    try:
        bank = SkillBank(str(source), tuple(found))
    except DataError as error:
        return [*problems, str(error)]
    missing = sorted(set(kinds) - set(bank.kinds))
    return problems + [f"no skill for task kind '{kind}'" for kind in missing]


def builtin_banks() -> tuple[str, ...]:
    """Names of the banks that ship with the package."""
    return tuple(sorted(path.name for path in BUILTIN.iterdir() if path.is_dir()))


def _files(source: str | Path) -> list[Path]:
    """The skill files of a built-in bank or a directory."""
    directory = BUILTIN / source if source in builtin_banks() else find_file(source)
    if not directory.is_dir():
        near = suggest(str(source), builtin_banks())
        raise ConfigError(f"unknown skill bank '{source}', and no such directory: {near}")
    files = sorted(directory.glob("*.md"))
    if out := next((file for file in files if leaves(directory, file)), None):
        raise DataError(f"{out} is a link to a file outside of the bank: put the file itself there")
    if not files:
        raise DataError(f"skill bank {directory} holds no .md files")
    return files


def _read_all(files: Iterable[Path], kinds: Collection[str]) -> Iterator[Skill]:
    """The skills of `files`; every complaint starts with the file's path."""
    homes: dict[str, Path] = {}
    for path in files:
        try:
            skill = parse(path.read_text(encoding="utf-8-sig"))
        except (DataError, UnicodeDecodeError) as error:
            raise DataError(f"{path}: {error}") from error
        if skill.name in homes:
            raise DataError(f"{path}: skill '{skill.name}' is also in {homes[skill.name].name}")
        if skill.kind and kinds and skill.kind not in kinds:
            raise DataError(f"{path}: unknown task kind '{skill.kind}': {suggest(skill.kind, kinds)}")
        homes[skill.name] = path
        yield skill
