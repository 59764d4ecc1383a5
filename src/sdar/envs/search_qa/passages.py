r"""Passages on disk: reading a corpus, and a store that is mapped into memory and read one passage at a time.

A corpus is a file with a JSON object in each line, `{"id": ..., "contents": "\"Title\"\ntext"}`, plain or
compressed (`.jsonl`, `.jsonl.gz`, `.jsonl.xz`): the format of wiki-18 as Search-R1 publishes it.
"""

import gzip
import io
import json
import lzma
import mmap
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, overload

from sdar.envs.search_qa.retrieval import Passage
from sdar.errors import DataError

SUFFIXES = (".jsonl", ".jsonl.gz", ".jsonl.xz")
_TEXTS, _ENDS = "passages.jsonl", "passages.ends.npy"


def find_corpus(directory: Path) -> Path | None:
    """The corpus of a directory: its `corpus.jsonl`, plain or compressed."""
    return next((path for end in SUFFIXES if (path := directory / f"corpus{end}").is_file()), None)


def choose_corpus(named: str, beside: Path | None) -> Path:
    """The named file, or else the one beside the questions. Raises `DataError` when it is not there."""
    path = Path(named).expanduser() if named else beside
    if path is None:
        raise DataError("there is no corpus: put corpus.jsonl.xz beside the questions, or name a file")
    if not path.is_file():
        raise DataError(f"there is no corpus {path}")
    return path


def read_corpus(path: Path, on_share: Callable[[float], None] | None = None) -> Iterator[Passage]:
    """The passages of a file, in its order. `on_share` is told now and then which share of it has been read.

    Raises:
        DataError: The file cannot be read or is damaged, or a line is not a passage.
    """
    number = 0
    try:
        with path.open("rb") as raw:
            size = max(1, path.stat().st_size)
            for number, line in enumerate(_lines(raw, path.suffix), 1):
                row = json.loads(line)
                yield Passage(str(row["id"]), row["contents"])
                if on_share and number % 1_000 == 0:
                    on_share(raw.tell() / size)
    except (OSError, EOFError, lzma.LZMAError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is damaged after line {number}: {type(error).__name__}: {error}") from error


def _lines(raw: IO[bytes], suffix: str) -> Iterable[bytes]:
    if suffix == ".gz":
        return gzip.GzipFile(fileobj=raw)
    return lzma.LZMAFile(raw) if suffix == ".xz" else raw


def write_passages(directory: Path, passages: Iterable[Passage]) -> Iterator[Passage]:
    """Write passages to a store as they go by; the store is complete when the iterator is used up."""
    ends, end = [], 0
    with (directory / _TEXTS).open("wb") as file:
        for passage in passages:
            line = json.dumps([passage.id, passage.contents], ensure_ascii=False).encode("utf-8", "replace")
            end += file.write(line + b"\n")
            ends.append(end)
            yield passage
    import numpy as np

    np.save(directory / _ENDS, np.array(ends, np.int64))


class PassageStore(Sequence[Passage]):
    """The passages that `write_passages` wrote, read from the mapped file when they are asked for."""

    def __init__(self, directory: Path) -> None:
        import numpy as np

        self._ends = np.load(directory / _ENDS, mmap_mode="r")
        with (directory / _TEXTS).open("rb") as file:
            empty = not file.seek(0, io.SEEK_END)
            self._texts = b"" if empty else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, index: int) -> Passage: ...
    @overload
    def __getitem__(self, index: slice) -> list[Passage]: ...
    def __getitem__(self, index: int | slice) -> Passage | list[Passage]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        place = range(len(self))[index]
        start = int(self._ends[place - 1]) if place else 0
        id, contents = json.loads(self._texts[start : int(self._ends[place])])
        return Passage(id, contents)
