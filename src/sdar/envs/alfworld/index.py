"""An index of a store of games, kept in the user's cache so that it is built once.

The cached file is one line of JSON (format, stamp, entries, faults) followed by the entries' compressed
texts. It is rebuilt when the stamp of the store has changed, and written atomically.
"""

import hashlib
import json
import mmap
import os
import tempfile
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from platformdirs import user_cache_dir

from sdar.errors import DataError, some
from sdar.text.records import leave_out

FORMAT = 3


class Entry(NamedTuple):
    """A game in a store: what a task needs, and where the game's compressed text is."""

    id: str
    kind: str
    task: str
    offset: int = 0
    length: int = 0


@dataclass(frozen=True)
class Index:
    """The entries of a store in order of id, their compressed texts, and why games were left out."""

    entries: tuple[Entry, ...]
    texts: bytes | mmap.mmap
    faults: tuple[str, ...] = ()

    def text(self, entry: Entry) -> bytes:
        """The stored text of an entry.

        Raises:
            DataError: The cached file is damaged.
        """
        try:
            return zlib.decompress(self.texts[entry.offset : entry.offset + entry.length])
        except zlib.error as error:
            raise DataError(
                f"the cached text of {entry.id} is damaged ({error}): delete {_folder()}"
            ) from None


def open_index(store: Path, stamp: Any, build: Callable[[], Iterable[tuple[Entry, bytes] | str]]) -> Index:
    """The index of `store`, from the cache if it was made for this `stamp` (JSON), else from `build`.

    `build` yields entries without a place, each with the text to keep, and for a game that must be left out
    a sentence that says why.
    """
    cached = _folder() / (hashlib.sha256(str(store.resolve()).encode()).hexdigest()[:24] + ".games")
    index = _read(cached, stamp)
    if index is None:
        index = _collect(build())
        _write(cached, stamp, index)
    return index


def check_usable(store: Path, index: Index) -> Index:
    """The index, after the games that were left out have been noted. `DataError` where no game is left."""
    count = len(index.faults)
    line = f"{count} games cannot be read: {some(index.faults)}"
    if count and not index.entries:
        raise DataError(f"{store}: {line}")
    leave_out(store, count, f"{line}; they are left out")
    return index


def _folder() -> Path:
    return Path(user_cache_dir("sdar")) / "alfworld"


def _collect(games: Iterable[tuple[Entry, bytes] | str]) -> Index:
    entries, texts, faults, offset = [], [], [], 0
    for game in games:
        if isinstance(game, str):
            faults.append(game)
            continue
        entry, text = game
        texts.append(zlib.compress(text, 1) if text else b"")
        entries.append(entry._replace(offset=offset, length=len(texts[-1])))
        offset += len(texts[-1])
    entries.sort()
    for first, second in pairwise(entries):
        if first.id == second.id:
            raise DataError(f"game {first.id} is there twice")
    return Index(tuple(entries), b"".join(texts), tuple(faults))


def _read(cached: Path, stamp: Any) -> Index | None:
    try:
        with cached.open("rb") as file:
            head = json.loads(file.readline())
            if head["format"] != FORMAT or head["stamp"] != stamp:
                return None
            start = file.tell()
            texts = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    entries = tuple(
        Entry(id, kind, task, start + at, length) for id, kind, task, at, length in head["entries"]
    )
    return Index(entries, texts, tuple(head["faults"]))


def _write(cached: Path, stamp: Any, index: Index) -> None:
    """Keep the index for the next process. A cache that cannot be written costs time and nothing else."""
    kept = {"format": FORMAT, "stamp": stamp, "entries": index.entries, "faults": index.faults}
    head = json.dumps(kept).encode()
    try:
        cached.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=cached.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(head + b"\n" + index.texts)
            os.replace(name, cached)
        except OSError:
            os.unlink(name)
    except OSError:
        return
