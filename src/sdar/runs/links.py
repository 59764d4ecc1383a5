"""Links in a run: those out of it are refused, but for a directory of checkpoints that is its own."""

from pathlib import Path

from sdar.errors import CheckpointError
from sdar.runs.files import leaves

OWNER = "run"
"""In `checkpoints`: a file with the id of the run that they belong to."""


def check_links(run: Path, id: str) -> None:
    """Raise `CheckpointError` for a link out of a run's directory.

    `checkpoints` may be a link to a directory on another disk, if that holds the run's id: then whoever made
    it let this run write there. Nothing within may lead out again.
    """
    places = [run]
    if (run / "checkpoints").is_symlink() and leaves(run, run / "checkpoints"):
        check_owner(run / "checkpoints", id)
        places.append((run / "checkpoints").resolve())
    for place in places:
        for file in place.rglob("*"):
            if file.is_symlink() and leaves(place, file) and file != run / "checkpoints":
                raise CheckpointError(f"{file} is a link out of the run: put what it points to there")


def check_owner(link: Path, id: str) -> None:
    """Raise `CheckpointError` unless a linked directory holds the run's id."""
    try:
        owner = (link / OWNER).read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        owner = ""
    if owner != id:
        raise CheckpointError(
            f"{link} is a link out of the run: it may lead to a directory with a file `{OWNER}` that holds "
            f"{id}, which sdar puts there; this one has {owner[:40] or 'none'}"
        )
