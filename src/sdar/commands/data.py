"""`sdar data`."""

from dataclasses import dataclass
from pathlib import Path

from sdar.commands.base import IS_MAIN, say
from sdar.config import Layer
from sdar.errors import ConfigError
from sdar.values import convert


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """Options of `sdar data`."""

    out: Path | None = None
    """Where the packs go; `--env.data` takes this directory. By default in the data directory."""
    rules: str | None = None
    """Release of the rules to download: 2.1.1 or 2.1.2, the newest by default."""


def data(words: list[str], options: DataOptions, flags: Layer) -> int:
    """Bring the official ALFWorld games in: from the release pages, or from a directory in their layout.

    Both make packs, a file for each split, which `--env.data` reads.
    """
    from sdar.data.alfworld_data import download_alfworld, import_alfworld
    from sdar.envs.alfworld.text import Rules
    from sdar.paths import data_dir
    from sdar.progress import display
    from sdar.runlog import check_writable

    if words[1:2] != ["alfworld"] or (words[0], len(words)) not in (("download", 2), ("import", 3)):
        raise ConfigError("usage: sdar data download alfworld, or sdar data import alfworld DIRECTORY")
    out = options.out or data_dir() / "alfworld"
    check_writable(out)
    with display(1, main=IS_MAIN) as shown:
        if words[0] == "import":
            report = import_alfworld(
                Path(words[2]), out, lambda done, total: shown.phase("packing", done, total)
            )
        else:
            rules = Rules.V2_1_2 if options.rules is None else convert(Rules, options.rules, "--rules")
            report = download_alfworld(
                out,
                rules,
                on_progress=lambda done, total: shown.phase("MiB", done >> 20, max(done, total) >> 20),
            )
    for refused in report.refused:
        say(f"left out: {refused}")
    say(", ".join(f"{split}: {games} games" for split, games in report.games.items()))
    say(str(out))
    return 0
