"""Brings the official ALFWorld games in: from a directory in the official layout, or from the release pages.

Both write packs (`SPLIT.jsonl.xz`), which are a fiftieth of the size and open in a second.
"""

import json
import os
import re
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sdar.data.download import download
from sdar.data.sets import ImportReport, Progress
from sdar.envs.alfworld.games import GameRef, open_games, splits
from sdar.envs.alfworld.official import GAME, read_annotations
from sdar.envs.alfworld.packs import SUFFIX, write_pack
from sdar.envs.alfworld.text import Rules
from sdar.errors import DataError

RELEASES = "https://github.com/alfworld/alfworld/releases/download"
GAMES = {Rules.V2_1_1: "0.2.2/json_2.1.1_tw-pddl.zip", Rules.V2_1_2: "0.4.2/json_2.1.3_tw-pddl.zip"}
"""The games of each release of the rules. Their publisher gives no checksums."""
ANNOTATIONS = "0.2.2/json_2.1.1_json.zip"
"""Goal sentences by people, for all releases of the rules."""

_MEMBER = re.compile(
    r"(?:[^/]+/)*?(train|valid_seen|valid_unseen)/([\w.-]+)/([\w.-]+)/(game\.tw-pddl|traj_data\.json)"
)


def import_alfworld(source: Path, target: Path, on_progress: Progress | None = None) -> ImportReport:
    """Pack the games of `source` (official layout) into `target`, a file a split; a whole split or nothing.

    Raises:
        DataError: There are no games in the official layout in `source`.
    """
    report = ImportReport()
    found = [split for split in splits(source) if not (source / f"{split}{SUFFIX}").is_file()]
    if not found:
        raise DataError(
            f"no games in the official layout (json_2.1.1/train/<task>/<trial>/{GAME}) in {source}"
        )
    target.mkdir(parents=True, exist_ok=True)
    for split in found:
        games = open_games(source, split)
        part = target / f"{split}{SUFFIX}.part"
        report.counts[f"games in {split}"] = write_pack(part, _rows(games, report, on_progress))
        os.replace(part, target / f"{split}{SUFFIX}")
    return report


def download_alfworld(
    target: Path,
    rules: Rules = Rules.V2_1_2,
    *,
    everything: bool = False,
    base: str = RELEASES,
    sha256: Mapping[str, str] | None = None,
    pause: float = 1.0,
    on_progress: Progress | None = None,
) -> ImportReport:
    """Download the official games of a release of the rules and pack them into `target`.

    `everything` adds the goal sentences by people.
    What arrives is kept in `target/.download` until the packs are in place, so a call that was cut continues.
    Archives are checked against `sha256` (by file name, optional) and against the checksums inside of them;
    `source.json` records where the packs came from.

    Raises:
        DataError: The download failed for good, or an archive is damaged or holds no games.
    """
    folder = target / ".download"
    known = sha256 or {}
    sources: list[dict[str, Any]] = []
    archives = []
    for name in (GAMES[Rules(rules)], *([ANNOTATIONS] if everything else [])):
        url, archive = f"{base}/{name}", folder / name.rpartition("/")[2]
        digest = download(
            url, archive, sha256=known.get(archive.name, ""), pause=pause, on_progress=on_progress
        )
        sources.append({"url": url, "sha256": digest, "bytes": archive.stat().st_size})
        archives.append(archive)
    with tempfile.TemporaryDirectory(dir=folder) as unpacked:
        for archive in archives:
            _unpack(archive, Path(unpacked))
        report = import_alfworld(Path(unpacked), target)
    part = target / "source.json.part"
    part.write_text(json.dumps({"sources": sources, "counts": report.counts}, indent=2) + "\n")
    os.replace(part, target / "source.json")
    for archive in archives:
        archive.unlink()
    folder.rmdir()
    return report


def _rows(
    games: tuple[GameRef, ...], report: ImportReport, on_progress: Progress | None
) -> Iterator[dict[str, Any]]:
    for done, ref in enumerate(games, 1):
        try:
            game = ref.text()
        except DataError as error:
            report.notes.append(f"left out: {error}")
            continue
        people = read_annotations(Path(ref.source).parent / ref.id)
        yield {
            "id": game.id, "task_type": game.kind.value, "task": game.task, **people,
            "rules": game.rules.value, "pddl_problem": game.problem,
        }  # fmt: skip
        if on_progress:
            on_progress(done, len(games))


def _unpack(archive: Path, target: Path) -> None:
    """Unpack the files of games, and nothing else, to `target/SPLIT/TASK/TRIAL/`."""
    try:
        with zipfile.ZipFile(archive) as file:
            for member in file.namelist():
                match = _MEMBER.fullmatch(member)
                if match is None or ".." in match.groups():
                    continue
                path = target.joinpath(*match.groups())
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(file.read(member))
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        archive.unlink()
        raise DataError(
            f"the downloaded archive {archive.name} is damaged ({error}): download it again"
        ) from None
