"""Opens official games, from packs or from the official directory layout. Opening a split reads no game."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from sdar.envs.alfworld.game import Game, GameText
from sdar.envs.alfworld.index import Entry, Index
from sdar.envs.alfworld.official import open_directory, read_directory_game
from sdar.envs.alfworld.packs import SUFFIX, open_pack, read_pack_line
from sdar.envs.alfworld.problem import Kind
from sdar.envs.alfworld.text import Rules
from sdar.errors import DataError, suggest

SPLITS = ("train", "valid_seen", "valid_unseen")
_FOLDERS = ("json_2.1.1", "json_2.1.2", "json_2.1.3", ".")


@dataclass(frozen=True, slots=True)
class GameRef:
    """A game of a split that has been opened: small, picklable, read when it is played."""

    source: str
    id: str
    kind: Kind
    task: str

    def text(self) -> GameText:
        """Read the game.

        Raises:
            DataError: It is gone, damaged, or of no release that sdar knows.
        """
        source = Path(self.source)
        if source.is_dir():
            return read_directory_game(source.parent / self.id, self.id)
        index, places = _opened(self.source)
        if self.id not in places:
            raise DataError(f"there is no ALFWorld game {self.id} in {source}")
        return read_pack_line(index.text(places[self.id]))

    def game(self, rules: Rules | None = None) -> Game:
        """The game for the native engine, by `rules` or else by its own; kept for a while."""
        return _parsed(self, rules)


def splits(data: Path) -> tuple[str, ...]:
    """Names of the splits of official games in `data`, the training split first."""
    return tuple(name for name in SPLITS if _find(data, name))


def open_games(data: Path, split: str) -> tuple[GameRef, ...]:
    """The games of a split in order of id, from `data/SPLIT.jsonl.xz` or `data/json_2.1.1/SPLIT/`.

    Raises:
        DataError: There is no such split in `data`, or it is damaged.
    """
    source = _find(data, split)
    if source is None:
        raise DataError(
            f"no ALFWorld split '{split}' in {data}: {suggest(split, splits(data))}; "
            "`sdar data download alfworld` or `sdar data import alfworld DIR` brings the official games in"
        )
    if source.is_dir():
        index = open_directory(source)
    else:
        _opened.cache_clear()  # the pack may have been replaced since
        index, _ = _opened(str(source))
    return tuple(GameRef(str(source), entry.id, Kind(entry.kind), entry.task) for entry in index.entries)


def _find(data: Path, split: str) -> Path | None:
    pack = data / f"{split}{SUFFIX}"
    if pack.is_file():
        return pack
    return next((data / folder / split for folder in _FOLDERS if (data / folder / split).is_dir()), None)


@lru_cache(maxsize=16)
def _opened(source: str) -> tuple[Index, dict[str, Entry]]:
    if not Path(source).is_file():
        raise DataError(f"the ALFWorld games of {source} are gone")
    index = open_pack(Path(source))
    return index, {entry.id: entry for entry in index.entries}


@lru_cache(maxsize=1024)
def _parsed(ref: GameRef, rules: Rules | None) -> Game:
    return ref.text().parse(rules)
