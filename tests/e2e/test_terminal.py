"""A real terminal, of 80 and 100 columns: what is printed fits, and no number is split."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def in_terminal(words: list[str], columns: int, cwd: Path) -> list[str]:
    """The lines that a command shows in a terminal so wide."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    env = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR", "CI")}
    command = [sys.executable, "-m", "sdar", *words]
    with subprocess.Popen(
        command, stdin=its, stdout=its, stderr=its, cwd=cwd, env={**env, "TERM": "xterm"}
    ) as process:
        os.close(its)
        shown = b""
        while True:
            try:
                part = os.read(ours, 4096)
            except OSError:  # how Linux says that the other side is closed
                break
            if not part:
                break
            shown += part
    os.close(ours)
    assert process.returncode == 0, shown.decode()
    lines = COLOURS.sub("", shown.decode()).replace("\r\n", "\n").split("\n")
    return [line.rstrip("\r").rpartition("\r")[2] for line in lines]  # progress is drawn over itself


@pytest.mark.parametrize("columns", [80, 100])
def test_a_table_fits_and_splits_no_number(columns: int, tmp_path: Path) -> None:
    play = ["eval", "walker", "--env", "toy", "--samples", "2"]
    lines = in_terminal(play, columns, tmp_path)
    wide = [line for line in lines if len(line) > columns and not line.endswith(".json")]
    assert wide == [], "all fits but a path, which is one piece"
    rows = [line for line in lines if line.startswith("walker")]
    assert rows
    assert re.search(r"100\.0 \[[\d.]+, 100\.0\]", rows[0]), rows


def test_a_reader_that_leaves_is_no_error(tmp_path: Path) -> None:
    command = f"{sys.executable} -m sdar list; echo status $? >&2"
    script = f"({command}) | head -1"
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout
    assert "Traceback" not in done.stderr
    assert "Error" not in done.stderr
