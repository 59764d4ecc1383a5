"""The commit that a run notes, and the places that name the version of the package."""

import re
import subprocess
from pathlib import Path

import sdar
from sdar.runs.rundir import RunDir
from sdar.runs.versions import commit, versions

ROOT = Path(__file__).parents[3]


def git(directory: Path, *words: str) -> str:
    command = ["git", "-C", str(directory), "-c", "user.name=a", "-c", "user.email=a@b.c", *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_the_commit_of_a_checkout_and_its_changes(tmp_path: Path) -> None:
    package = tmp_path / "pkg"
    package.mkdir()
    (package / "__init__.py").touch()
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "one")
    assert commit(package) == git(tmp_path, "rev-parse", "HEAD")[:12]
    (package / "__init__.py").write_text("x = 1\n")
    assert commit(package) == git(tmp_path, "rev-parse", "HEAD")[:12] + "-dirty"


def test_another_repository_around_an_installation_says_nothing(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    installed = tmp_path / "venv" / "sdar"
    installed.mkdir(parents=True)
    (installed / "__init__.py").touch()
    assert commit(installed) == ""


def test_a_run_notes_commit_and_versions(tmp_path: Path) -> None:
    meta = RunDir.create(tmp_path, "run", "").meta
    assert meta["commit"] == commit()
    assert meta["versions"] == versions()
    assert meta["versions"]["sdar"] == sdar.__version__


def test_one_version_everywhere() -> None:
    version = sdar.__version__
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
    assert re.search(rf"^## (Unreleased: )?{re.escape(version)}\b", (ROOT / "CHANGELOG.md").read_text(), re.M)
