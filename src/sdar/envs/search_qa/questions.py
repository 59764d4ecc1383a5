"""Questions with golden answers, and the files they are kept in.

A directory of questions holds `train` and `test`, each a `.jsonl.xz` or `.jsonl` pack (a JSON object a line:
`set`, `question`, `answers`) or a `.parquet` file in the format of Search-R1. The data set that a question
comes from is the kind of its task. A training question that is also in `test`, in whatever spelling, is left
out.
"""

import json
import logging
import lzma
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from sdar.envs.search_qa.scoring import normalize
from sdar.errors import DataError, suggest
from sdar.text.records import valid_records

if TYPE_CHECKING:
    from pydantic import BaseModel

SETS = ("nq", "triviaqa", "popqa", "hotpotqa", "2wikimultihopqa", "musique", "bamboogle")
"""The data sets of Search-R1, under its names for them."""
SPLITS = ("train", "test")
PACK = ".jsonl.xz"

_LOG = logging.getLogger(__name__)
_SUFFIXES = (PACK, ".jsonl", ".parquet")


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked. `kind` is the data set it comes from, or the kind of a generated question."""

    id: str
    kind: str
    text: str
    answers: tuple[str, ...]


def splits(directory: Path) -> tuple[str, ...]:
    """The splits that `directory` holds, the training split first."""
    return tuple(split for split in SPLITS if _find(directory, split))


def open_questions(directory: Path, split: str) -> tuple[Question, ...]:
    """The questions of a split, in the order of the file; of `train`, those that are not in `test`.

    Raises:
        DataError: There is no such split, or its file is damaged.
    """
    path = _find(directory, split)
    if path is None:
        raise DataError(
            f"no Search-QA split '{split}' in {directory}: {suggest(split, splits(directory))}; "
            "`sdar data import search_qa DIR` brings questions in"
        )
    other = _find(directory, "test") if split == "train" else None
    return _read(split, *((found, found.stat().st_mtime_ns) for found in (path, other) if found))


def read_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    """The rows of a pack or a Search-R1 file as `set`, `question` and `answers`.

    A bare text as `answers` is one answer. Rows that are something else, or have no answer and so cannot be
    won, are left out, counted in the log.

    Raises:
        DataError: The file is damaged, or no row of it is a question.
    """
    rows = _parquet(path) if path.suffix == ".parquet" else _lines(path)
    for row in valid_records(_row_model(), path, enumerate(rows, 1)):
        yield row.model_dump()


def _lines(path: Path) -> Iterator[str]:
    opener = lzma.open if path.suffix == ".xz" else open
    try:
        with opener(path, "rt", encoding="utf-8-sig", newline="\n") as lines:
            yield from filter(str.strip, lines)
    except (OSError, EOFError, lzma.LZMAError, UnicodeDecodeError) as error:
        raise DataError(f"the questions in {path} cannot be read: {type(error).__name__}: {error}") from error


@cache
def _row_model() -> type["BaseModel"]:
    """What a row must be; made when a file is read, so that settings do not wait for pydantic."""
    from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

    def whole(text: str) -> str:
        text.encode()  # halves of characters, which no tokenizer takes, raise a ValueError
        return text

    Text = Annotated[str, AfterValidator(whole)]

    def several(value: object) -> object:
        return [value] if isinstance(value, str) else list(value) if isinstance(value, tuple) else value

    class Row(BaseModel):
        model_config = ConfigDict(strict=True)
        set: Text
        question: Text
        answers: Annotated[list[Text], BeforeValidator(several), Field(min_length=1)]

    return Row


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write a pack and return how many questions it holds."""
    written = 0
    with lzma.open(path, "wt", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(dict(row), ensure_ascii=False) + "\n")
            written += 1
    return written


def distinct(
    rows: Iterable[Mapping[str, Any]], known: Iterable[Mapping[str, Any]] = ()
) -> Iterator[Mapping[str, Any]]:
    """The rows whose question, normalised, is neither in `known` nor in a row before."""
    seen = {normalize(row["question"]) for row in known}
    for row in rows:
        key = normalize(row["question"])
        if key not in seen:
            seen.add(key)
            yield row


def _find(directory: Path, split: str) -> Path | None:
    return next((path for end in _SUFFIXES if (path := directory / f"{split}{end}").is_file()), None)


def _parquet(path: Path) -> Iterator[dict[str, Any]]:
    try:
        from pyarrow import parquet
    except ImportError:
        raise DataError(f"reading {path} needs pyarrow: pip install 'sdar[retrieval]'") from None
    columns = ["question", "golden_answers", "data_source"]
    try:
        for batch in parquet.ParquetFile(path).iter_batches(columns=columns):
            for row in batch.to_pylist():
                yield {
                    "set": row["data_source"],
                    "question": row["question"],
                    "answers": row["golden_answers"],
                }
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"the questions in {path} cannot be read: {type(error).__name__}: {error}") from error


@lru_cache(maxsize=8)
def _read(split: str, *versions: tuple[Path, int]) -> tuple[Question, ...]:
    """The questions of the first file that are not in the second; each file is given with its time."""
    path, *others = (path for path, _ in versions)
    rows = list(read_rows(path))
    kept = list(distinct(rows, read_rows(others[0]))) if others else rows
    if len(kept) < len(rows):
        _LOG.info(
            "%s: left out %d of %d questions, known from the test questions or twice",
            path,
            len(rows) - len(kept),
            len(rows),
        )
    numbers: Counter[str] = Counter()
    questions = []
    for row in kept:
        id = f"{row['set']}/{split}/{numbers[row['set']]:06d}"
        numbers[row["set"]] += 1
        questions.append(Question(id, row["set"], row["question"].strip(), tuple(row["answers"])))
    return tuple(questions)
