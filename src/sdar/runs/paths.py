"""Where sdar keeps what it downloads or builds once: `$SDAR_DATA`, or the platform's cache directory."""

import os
from pathlib import Path

from platformdirs import user_cache_dir


def data_dir() -> Path:
    """The data directory; not created here."""
    return Path(os.environ.get("SDAR_DATA") or user_cache_dir("sdar"))
