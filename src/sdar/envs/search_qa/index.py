"""Indexes of a corpus, built once and kept in the data directory.

An index is a directory named after what it was made from. It is built beside its place and moved there when
it is whole; a lock lets the processes of a machine wait for the one that builds.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from sdar.envs.search_qa.passages import read_corpus, write_passages
from sdar.envs.search_qa.retrieval import Passage
from sdar.runs.paths import data_dir

FORMAT = 1


def open_index(
    kind: str, corpus: Path, settings: object, build: Callable[[Iterable[Passage], Path], None]
) -> Path:
    """The directory of the index of `corpus`, built if it is not there.

    `build` gets the passages, which go into a `PassageStore` in the directory by themselves, and the
    directory for everything else. An index made from another version of the file, or with other `settings`,
    is another index.

    Raises:
        DataError: The corpus is damaged or empty.
    """
    stat = corpus.stat()
    made_from = [FORMAT, kind, repr(settings), str(corpus.resolve()), stat.st_size, stat.st_mtime_ns]
    name = hashlib.sha256(json.dumps(made_from).encode()).hexdigest()[:16]
    place = data_dir() / "search_qa" / f"{kind}-{name}"
    if not place.is_dir():
        place.parent.mkdir(parents=True, exist_ok=True)
        from filelock import FileLock

        with FileLock(f"{place}.lock"):
            if not place.is_dir():
                _build(corpus, place, build)
    return place


def _build(corpus: Path, place: Path, build: Callable[[Iterable[Passage], Path], None]) -> None:
    from sdar.runs.progress import display

    partial = place.with_name(f".{place.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        with display(1) as shown:
            title = f"indexing {corpus.name}"
            passages = read_corpus(corpus, lambda share: shown.phase(title, int(100 * share), 100))
            build(write_passages(partial, passages), partial)
        (partial / "source.txt").write_text(f"{corpus.resolve()}\n", encoding="utf-8")
        os.replace(partial, place)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
