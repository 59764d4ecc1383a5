"""Writing files so that nothing is lost halfway."""

import os
from pathlib import Path

from sdar.errors import ConfigError


def write_atomic(path: Path, data: bytes | str) -> None:
    """Write a file so that a reader sees the old one or the whole new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("wb") as file:
        file.write(data.encode() if isinstance(data, str) else data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def check_writable(directory: Path) -> None:
    """Raise `ConfigError` unless files can be made in `directory`, which need not exist yet."""
    probe = directory / f".sdar-{os.getpid()}"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ConfigError(f"cannot write to {directory}: {error.strerror}") from error
