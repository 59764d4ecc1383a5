"""Brings questions and passages for Search-QA in: from files on this machine, or from the hub of Search-R1.

Both write packs (`train.jsonl.xz`, `test.jsonl.xz`) without training questions that are also test questions,
and put the corpus beside them. A source directory holds either the files of Search-R1 (`train.parquet`,
`test.parquet`), or the data sets one by one as research code tends to keep them, under the names in
`TEST_FILES` and `TRAIN_FILES`.
"""

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from sdar.data.download import download
from sdar.data.sets import ImportReport, Progress
from sdar.envs.search_qa.passages import find_corpus
from sdar.envs.search_qa.questions import PACK, distinct, read_rows, write_rows
from sdar.errors import DataError
from sdar.text.records import split_lines

HUB = "https://huggingface.co/datasets/PeterJinGo"
QUESTIONS = ("nq_hotpotqa_train/resolve/main/train.parquet", "nq_hotpotqa_train/resolve/main/test.parquet")
CORPUS = "wiki-18-corpus/resolve/main/wiki-18.jsonl.gz"
"""21 million passages of Wikipedia as of December 2018; 5 GB."""

TEST_FILES: dict[str, tuple[str, ...]] = {
    "nq": ("nq.json", "nq_pre.json"),
    "triviaqa": ("triviaqa.json", "triviaqa_pre.json"),
    "popqa": ("popqa.json", "popqa_pre.json"),
    "hotpotqa": ("hotpotqa.json", "hotpotqa_pre.json"),
    "2wikimultihopqa": ("2wiki.json", "2wiki_pre.json"),
    "musique": ("musique.json", "musique_pre.json"),
    "bamboogle": ("bamboogle.json", "bamboogle_pre.json"),
}
"""Set -> its test questions: the first of these files that is there. The others are for training."""
TRAIN_FILES: dict[str, tuple[str, ...]] = {
    "nq": ("NQ-open.train.jsonl", "NQ-open.dev.jsonl"),
    "popqa": ("popqa_1000.json",),
    "hotpotqa": ("hotpot_dev_v1_simplified.json", "hr_hotpotqa_train.json"),
}
"""Set -> its other files with training questions."""
_FOLDERS = (".", "QA_Datasets")
_ANSWERED = ("golden_answers", "answers", "answer", "possible_answers")


def import_search_qa(source: Path, target: Path, on_progress: Progress | None = None) -> ImportReport:
    """Pack the questions of `source` into `target`, and link or copy its corpus.

    Raises:
        DataError: There are no test questions in `source`, or a file is damaged.
    """
    test = list(_published(source, "test") or _files(_chosen(source)))
    if not test:
        files = ", ".join(names[0] for names in TEST_FILES.values())
        raise DataError(f"no test questions in {source}: it needs test.parquet, or files like {files}")
    train = list(_published(source, "train") or _files(_others(source)))
    kept = list(distinct(train, test))
    target.mkdir(parents=True, exist_ok=True)
    report = ImportReport()
    for done, (split, rows) in enumerate((("test", test), ("train", kept)), 1):
        part = target / f"{split}{PACK}.part"
        write_rows(part, rows)
        os.replace(part, target / f"{split}{PACK}")
        sets = Counter(str(row["set"]) for row in rows)
        report.counts |= {f"{split} questions of {name}": count for name, count in sets.items()}
        if on_progress:
            on_progress(done, 2)
    if left_out := len(train) - len(kept):
        report.notes.append(f"left out: {left_out} training questions, known from the test or repeated")
    corpus = _bring_corpus(source, target)
    report.notes.append(f"corpus: {corpus}" if corpus else "there is no corpus to search in")
    return report


def download_search_qa(
    target: Path,
    *,
    everything: bool = False,
    base: str = HUB,
    pause: float = 1.0,
    on_progress: Progress | None = None,
) -> ImportReport:
    """Download the questions of Search-R1 (with `everything`, its corpus too) and bring them into `target`.

    What arrives is kept in `target/.download` until the packs are in place, so a call that was cut continues.

    Raises:
        DataError: The download failed for good, or a file is damaged.
    """
    folder = target / ".download"
    for name in (*QUESTIONS, *([CORPUS] if everything else [])):
        file = name.rpartition("/")[2].replace("wiki-18", "corpus")
        download(f"{base}/{name}", folder / file, pause=pause, on_progress=on_progress)
    report = import_search_qa(folder, target)
    shutil.rmtree(folder)
    return report


def _published(source: Path, split: str) -> Iterator[Mapping[str, Any]] | None:
    """The rows of Search-R1's own file, if it is there."""
    path = source / f"{split}.parquet"
    return read_rows(path) if path.is_file() else None


def _chosen(source: Path) -> list[tuple[str, Path]]:
    """For each set, the file with its test questions."""
    found = ((kind, _find(source, names)) for kind, names in TEST_FILES.items())
    return [(kind, paths[0]) for kind, paths in found if paths]


def _others(source: Path) -> list[tuple[str, Path]]:
    """All files with questions that are not test questions."""
    training = [(kind, path) for kind, names in TRAIN_FILES.items() for path in _find(source, names)]
    return training + [
        (kind, path) for kind, names in TEST_FILES.items() for path in _find(source, names)[1:]
    ]


def _find(source: Path, names: Iterable[str]) -> list[Path]:
    return [path for name in names for folder in _FOLDERS if (path := source / folder / name).is_file()]


def _files(files: Iterable[tuple[str, Path]]) -> Iterator[Mapping[str, Any]]:
    for kind, path in files:
        try:
            text = path.read_text(encoding="utf-8-sig")
            rows = map(json.loads, split_lines(text)) if path.suffix == ".jsonl" else json.loads(text)
            for row in rows:
                yield _row(kind, row)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"the questions in {path} cannot be read: {type(error).__name__}: {error}"
            ) from error


def _row(kind: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """A question as packs have it, whatever the fields were called."""
    question = row["question"] if "question" in row else row["Question"]
    key = next((key for key in _ANSWERED if key in row), _ANSWERED[0])
    answers = json.loads(row[key]) if key == "possible_answers" else row[key]
    answers = [answers] if isinstance(answers, str) else list(map(str, answers))
    return {"set": kind, "question": question.strip(), "answers": answers}


def _bring_corpus(source: Path, target: Path) -> Path | None:
    """The corpus of `source` beside the packs: linked where that is possible, for it may be large."""
    found = find_corpus(source)
    if found is None:
        return find_corpus(target)
    place = target / found.name
    if not (place.exists() and place.samefile(found)):
        part = place.with_name(f"{place.name}.part")
        part.unlink(missing_ok=True)
        try:
            os.link(found, part)
        except OSError:
            shutil.copyfile(found, part)
        os.replace(part, place)
    return place
