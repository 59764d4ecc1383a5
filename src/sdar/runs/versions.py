"""Which code made a run: the commit of the package, and versions of what decides its numbers. No torch."""

import json
import platform
import subprocess
from importlib.metadata import Distribution, PackageNotFoundError, version
from pathlib import Path

import sdar

PACKAGES = ("torch", "transformers", "tokenizers", "peft", "numpy", "scipy", "alfworld", "textworld")
HOME = Path(sdar.__file__).parent


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide a run's numbers; absent ones are left out."""
    found = {"python": platform.python_version(), "sdar": sdar.__version__}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def commit(home: Path = HOME) -> str:
    """The commit of the package's checkout, with `-dirty` when files differ; empty where none is known.

    Of a package that pip installed from a repository's address it is the one that pip noted (PEP 610). The
    repository of a project that merely holds an installation says nothing.
    """
    tracked = ["git", "-C", str(home), "ls-files", "--error-unmatch", "__init__.py"]
    command = ["git", "-C", str(home), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        subprocess.run(tracked, capture_output=True, check=True)
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return _noted()


def _noted() -> str:
    try:
        noted = json.loads(Distribution.from_name("sdar").read_text("direct_url.json") or "{}")
    except PackageNotFoundError:
        return ""
    return str(noted.get("vcs_info", {}).get("commit_id", ""))[:12]
