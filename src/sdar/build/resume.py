"""What may be different when a run goes on, and whether there is anything left to do. No torch."""

from collections.abc import Iterator

from sdar.errors import CheckpointError, ConfigError
from sdar.recipe import RunConfig
from sdar.runs.checkpoints import check_whole, latest, step_of
from sdar.runs.rundir import RunDir
from sdar.settings.config import to_table
from sdar.settings.values import by_path

FREE = ("train.steps", "device", "trackers", "out", "plugins")
"""Settings that another process may choose anew: how long, where, and who is told."""


def check_changes(run: RunDir, before: RunConfig, now: RunConfig) -> None:
    """Raise `ConfigError` that names the settings which may not change within a run."""
    changed = [f"{name} was {old!r} and would be {new!r}" for name, old, new in changes(before, now)]
    if changed:
        raise ConfigError(
            f"a resumed run keeps its settings: {'; '.join(changed)}; only {', '.join(FREE)} may change: "
            f"leave it out, or start another run with: sdar train {run.config_file}"
        )


def changes(before: RunConfig, now: RunConfig) -> Iterator[tuple[str, object, object]]:
    """Name, old and new value of each setting that differs and is not free."""
    old, new = dict(by_path(to_table(before))), dict(by_path(to_table(now)))
    names = [name for name in dict.fromkeys([*old, *new]) if old.get(name) != new.get(name)]
    others = tuple(name.removesuffix("name") for name in names if name.endswith(".name"))
    for name in names:
        # Of another environment or objective, all settings differ: its name says enough.
        if name not in FREE and (name.endswith(".name") or not name.startswith(others)):
            yield name, old.get(name), new.get(name)


def is_finished(run: RunDir, config: RunConfig) -> bool:
    """Whether all steps are done and the last checkpoint is whole.

    Raises `ConfigError` when more steps are done than are asked for.
    """
    newest = latest(run.checkpoints)
    if newest is None or step_of(newest) < config.train.steps:
        return False
    if step_of(newest) > config.train.steps:
        raise ConfigError(
            f"{run.path} has done {step_of(newest)} steps, and train.steps is {config.train.steps}: "
            "ask for more"
        )
    try:
        check_whole(newest)
    except CheckpointError:
        return False
    return True
