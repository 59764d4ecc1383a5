"""Writing files so that nothing is lost halfway, and the one place that says what a disk refused."""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sdar.errors import ConfigError, DataError, SdarError, StorageError

SEAL = "files.json"
"""In a sealed directory: file -> its SHA-256."""
_ADVICE = {
    errno.ENOSPC: "make room on that disk, then do the same again; a run goes on with --resume",
    errno.EDQUOT: "make room in your quota, then do the same again; a run goes on with --resume",
    errno.EROFS: "choose a place that can be written",
    errno.EACCES: "choose another place, or change the permissions",
    errno.EPERM: "choose another place, or change the permissions",
    errno.ENOENT: "it is not there, or was removed while it was used",
    errno.EISDIR: "a file was expected there: name another, or remove the directory",
    errno.ENOTDIR: "a directory was expected on the way: name another place, or remove the file",
}


def explain(error: OSError, path: Path | None = None) -> str:
    """One line about a refused read or write: the file, the reason, the remedy."""
    named = path or error.filename
    reason = error.strerror or str(error) or type(error).__name__
    advice = _ADVICE.get(error.errno or 0)
    return (f"{named}: " if named else "") + reason + (f": {advice}" if advice else "")


@contextmanager
def storing(path: Path) -> Iterator[None]:
    """Within the block an `OSError` becomes a `StorageError` that names `path`, or the file it has itself."""
    try:
        yield
    except OSError as error:
        raise StorageError(explain(error, Path(error.filename) if error.filename else path)) from error


def write_atomic(path: Path, data: bytes | str) -> None:
    """Write a file so that a reader sees the old one or the whole new one. Raises `StorageError`."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as file:
                file.write(data.encode() if isinstance(data, str) else data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(explain(error, path)) from error


def remove_leftovers(directory: Path) -> None:
    """Remove what `write_atomic` in processes that were killed has left in and below `directory`."""
    for file in directory.rglob(".*"):
        owner = file.suffix[1:]
        if owner.isdigit() and file.is_file() and not is_alive(int(owner)):
            file.unlink(missing_ok=True)


def check_writable(directory: Path) -> None:
    """Raise `ConfigError` unless files can be made in `directory`, which need not exist yet."""
    probe = directory / f".sdar.{os.getpid()}"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        try:
            probe.write_bytes(bytes(4096))
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot write to {directory}: {error.strerror}") from error


def read_json(path: Path, kind: type[SdarError] = DataError) -> dict[str, Any]:
    """The object in a JSON file. One that is gone, cut short or no object raises `kind` in one line."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise kind(explain(error, path)) from error
    except ValueError as error:
        raise kind(f"{path} is damaged ({_first_line(error)}): restore it from a copy") from error
    if not isinstance(found, dict):
        raise kind(f"{path} is damaged (it holds no object): restore it from a copy")
    return found


def leaves(directory: Path, file: Path) -> bool:
    """Whether `file`, by its name or as a link, lies outside of `directory`."""
    return not file.resolve().is_relative_to(directory.resolve())


# ---- directories that are whole or not there


def digests(root: Path, files: Iterable[Path]) -> dict[str, str]:
    """Path below `root` -> SHA-256 of each file, after its content is on the disk."""
    found = {}
    for file in files:
        with storing(file), file.open("rb") as opened:
            os.fsync(opened.fileno())
            found[file.relative_to(root).as_posix()] = hashlib.file_digest(opened, "sha256").hexdigest()
    return found


def find_damage(root: Path, known: Mapping[str, str]) -> str:
    """The first of the known files that is gone or changed, in words; '' when all are as they were."""
    for name, digest in known.items():
        file = root / name
        if leaves(root, file):
            return f"{name} is outside of it"
        try:
            with file.open("rb") as opened:
                if hashlib.file_digest(opened, "sha256").hexdigest() != digest:
                    return f"{name} is not what was written"
        except OSError as error:
            return f"{name}: {error.strerror}"
    return ""


def publish(partial: Path, place: Path) -> None:
    """Move a finished directory to its place, which is free; it survives a power cut from here on."""
    with storing(place):
        for directory in (partial, *(path for path in partial.rglob("*") if path.is_dir())):
            sync_directory(directory)
        partial.replace(place)
        sync_directory(place.parent)


def sync_directory(directory: Path) -> None:
    """Bring the names in a directory to the disk."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def is_sealed(place: Path) -> bool:
    """Whether `ensure_directory` has finished this directory and all of its files are as they were."""
    try:
        known = read_json(place / SEAL)
    except DataError:
        return False
    return not find_damage(place, known)


def ensure_directory(
    place: Path, make: Callable[[Path], None], on_wait: Callable[[str], None] | None = None
) -> Path:
    """`place`, which `make` fills unless it is there; of several processes one makes it and the others wait.

    A whole directory is never touched again; a damaged one is made anew. `on_wait` gets one line when
    another process is at work.
    """
    from filelock import FileLock, Timeout

    if is_sealed(place):
        return place
    with storing(place):
        place.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(place.with_name(f"{place.name}.lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            if on_wait:
                on_wait(f"waiting for another process that makes {place}")
            lock.acquire()
        try:
            if not is_sealed(place):
                _make(place, make)
        finally:
            lock.release()
    return place


def _make(place: Path, make: Callable[[Path], None]) -> None:
    """Fill `place` with the lock held: nobody else writes beside it."""
    for left in place.parent.glob(f"{place.name}.*.tmp"):
        shutil.rmtree(left)
    partial = place.with_name(f"{place.name}.{os.getpid()}.tmp")
    try:
        make(partial)
        files = sorted(path for path in partial.rglob("*") if path.is_file())
        write_atomic(partial / SEAL, json.dumps(digests(partial, files), indent=1) + "\n")
        if place.exists():
            place.rename(place.with_name(f"{place.name}.damaged.tmp"))
        publish(partial, place)
    finally:
        for left in place.parent.glob(f"{place.name}.*.tmp"):
            shutil.rmtree(left)


def is_alive(process: int) -> bool:
    """Whether there is such a process on this machine; one that died is there until its parent noticed."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]
