"""`sdar runs`."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sdar.commands.base import TableOptions, say, show
from sdar.errors import CheckpointError, ConfigError, suggest
from sdar.settings.config import Layer
from sdar.text.sheets import Column, Sheet

if TYPE_CHECKING:
    from sdar.runs.shelf import Shelved

USAGE = "sdar runs, or sdar runs clean [RUN ...]"


@dataclass(frozen=True, kw_only=True)
class RunsOptions(TableOptions):
    """Options of `sdar runs`."""

    yes: bool = False
    """Clean up without asking."""
    out: Path = Path("runs")
    """Where runs are looked for."""


def runs(words: list[str], options: RunsOptions, flags: Layer) -> int:
    """List the runs: what each is doing, its last result, its size on disk; `clean` deletes some.

    clean RUN ...: delete these, after asking. clean alone: those that are empty, which stopped before their
    first checkpoint. A run that is being trained stays, and so does all that is no run.
    """
    from sdar.runs.rundir import find_run
    from sdar.runs.shelf import State, find_runs, look, remove

    if words[:1] not in ([], ["clean"]):
        raise ConfigError(f"sdar runs cannot '{words[0]}': {suggest(words[0], ['clean'])} (usage: {USAGE})")
    paths = [find_run(word, options.out).path for word in words[1:]] or [*find_runs(options.out)]
    found, lines = [], []
    for path in paths:
        try:
            found.append(look(path, options.out))
        except CheckpointError as error:
            if words[1:]:
                raise
            lines.append(f"left out: {error}")
    if not words:
        lines += [] if found else [f"there is no run in {options.out}"]
        show([sheet(found)], options.format, lines)
        return 0
    chosen = [one for one in found if words[1:] or one.state is State.EMPTY]
    if not chosen:
        say(f"nothing to clean up: no run in {options.out} is empty; name those to delete")
        return 0
    show([sheet(chosen)], options.format, lines)
    total = size(sum(one.bytes for one in chosen))
    if not options.yes and not agreed(f"Delete {len(chosen)} of the runs above, {total}, for good? [y/N] "):
        say("nothing was deleted")
        return 1
    for one in chosen:
        remove(one.run)
        say(f"deleted {one.run.path}")
    return 0


def sheet(found: Sequence["Shelved"]) -> Sheet:
    """The list."""
    from sdar.evaluation.results import EvalResult
    from sdar.evaluation.tables import percent

    columns = (
        Column("run"),
        Column("state", is_text=True),
        Column("step"),
        Column("of"),
        Column("success, %", percent),
        Column("size", size),
    )
    rows = [
        (
            one.name,
            str(one.state),
            one.step,
            one.steps,
            EvalResult.from_json(one.result).success if one.result else None,
            one.bytes,
        )
        for one in found
    ]
    return Sheet("runs", "", columns, rows)


def agreed(question: str) -> bool:
    """Whether the user says yes. Raises `ConfigError` where nobody can be asked."""
    if not sys.stdin.isatty():
        raise ConfigError("nobody can be asked here: --yes deletes without asking")
    return input(question).strip().lower() in ("y", "yes")


def size(count: int) -> str:
    """Bytes for people.

    >>> size(999), size(2_500_000)
    ('1 kB', '2.5 MB')
    """
    kilo = count / 1000
    if kilo < 1000:
        return f"{kilo:.0f} kB"
    return f"{kilo / 1000:.1f} MB" if kilo < 1e6 else f"{kilo / 1e6:.1f} GB"
