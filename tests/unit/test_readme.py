"""The README's commands work as they stand."""

import re
import tomllib
from pathlib import Path

import pytest

from sdar.cli import main

ROOT = Path(__file__).parents[2]
COMMANDS = [
    line[4:].partition("#")[0].strip()
    for line in (ROOT / "README.md").read_text().splitlines()
    if line[:4] == " " * 4
]


def test_set_up_and_tests_are_one_line_each() -> None:
    assert "python3 dev.py install && .venv/bin/sdar train" in COMMANDS
    assert "python3 dev.py test" in COMMANDS
    assert "python3 dev.py test" in (ROOT / ".ci" / "run").read_text()


@pytest.mark.parametrize(
    "command", [line for line in COMMANDS if re.search(r"sdar train [^-]|--objective", line)]
)
def test_training_commands(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "my.toml").write_text("[optim]\nlr = 1.0\n")
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    monkeypatch.chdir(tmp_path)
    args = command.partition("sdar ")[2].split()
    assert main([*args, "--dry-run"]) == 0
    assert tomllib.loads(capsys.readouterr().out)["optim"]["lr"] < 1
