"""Files appear whole, directories are made once, and what a disk refuses is one line."""

import errno
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from sdar.errors import CheckpointError, ConfigError, DataError, StorageError
from sdar.runs import files
from sdar.runs.files import (
    check_writable,
    ensure_directory,
    explain,
    is_sealed,
    read_json,
    remove_leftovers,
    storing,
    write_atomic,
)


def refuse(*args: object, **kwargs: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_is_named_and_the_old_file_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "result.json"
    write_atomic(file, "old")
    monkeypatch.setattr(files.os, "fsync", refuse)
    with pytest.raises(StorageError) as found:
        write_atomic(file, "new")
    assert str(found.value) == (
        f"{file}: No space left on device: make room on that disk, then do the same again; "
        "a run goes on with --resume"
    )
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_the_error_s_own_file_is_named_before_the_place() -> None:
    removed = r"^/nowhere/x: .*: it is not there, or was removed"
    with pytest.raises(StorageError, match=removed), storing(Path("other")):
        open("/nowhere/x").close()
    assert explain(ConnectionError("refused")) == "refused"


def test_leftovers_of_the_dead_go_and_those_of_the_living_stay(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    inside = tmp_path / "eval"
    inside.mkdir()
    gone, used, other = (
        inside / name for name in (f".a.json.{dead.pid}", f".b.json.{os.getpid()}", ".notes")
    )
    for file in (gone, used, other):
        file.touch()
    remove_leftovers(tmp_path)
    assert sorted(inside.iterdir()) == sorted([used, other])


@pytest.mark.parametrize(("text", "why"), [("{", "Expecting"), ("[]", "no object"), ("\0\0", "Expecting")])
def test_damaged_json_is_one_line(text: str, why: str, tmp_path: Path) -> None:
    file = tmp_path / "meta.json"
    file.write_text(text)
    with pytest.raises(CheckpointError, match=f"meta.json is damaged .*{why}.*: restore it") as found:
        read_json(file, CheckpointError)
    assert "\n" not in str(found.value)
    with pytest.raises(DataError, match=r"gone.json: No such file"):
        read_json(tmp_path / "gone.json")


def test_unwritable_places_are_found_before(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot write to"):
        check_writable(tmp_path / "file" / "below")


def test_many_makers_make_one_directory_that_is_never_replaced(tmp_path: Path) -> None:
    place, made, waited = tmp_path / "model", [], []

    def make(directory: Path) -> None:
        made.append(directory)
        time.sleep(0.2)
        directory.mkdir()
        (directory / "weights").write_text("w")

    def ensure() -> None:
        ensure_directory(place, make, waited.append)
        first.append(place.stat().st_ino)

    first: list[int] = []
    threads = [threading.Thread(target=ensure) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert len(waited) == 3
    assert len(set(first)) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "model.lock"]


@pytest.mark.parametrize("damage", ["cut", "gone", "unsealed"])
def test_a_damaged_directory_is_made_anew(damage: str, tmp_path: Path) -> None:
    place = tmp_path / "model"

    def make(directory: Path) -> None:
        (directory / "deep").mkdir(parents=True)
        (directory / "deep/weights").write_text("weights")

    ensure_directory(place, make)
    assert json.loads((place / files.SEAL).read_text()).keys() == {"deep/weights"}
    if damage == "cut":
        (place / "deep/weights").write_text("wei")
    else:
        (place / ("deep/weights" if damage == "gone" else files.SEAL)).unlink()
    assert not is_sealed(place)
    ensure_directory(place, make)
    assert is_sealed(place)
    assert (place / "deep/weights").read_text() == "weights"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "model.lock"]


def test_a_maker_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    def make(directory: Path) -> None:
        directory.mkdir()
        refuse()

    with pytest.raises(StorageError, match=r"model: No space left"):
        ensure_directory(tmp_path / "model", make)
    assert [path.name for path in tmp_path.iterdir()] == ["model.lock"]


def test_a_lock_of_a_dead_process_holds_nobody_up(tmp_path: Path) -> None:
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom sdar.runs.files import ensure_directory\n"
        "def make(directory):\n directory.mkdir(); os._exit(9)\n"
        "ensure_directory(Path(sys.argv[1]), make)"
    )
    died = subprocess.run([sys.executable, "-c", code, str(tmp_path / "model")])
    assert died.returncode == 9
    ensure_directory(tmp_path / "model", lambda directory: directory.mkdir())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "model.lock"]
