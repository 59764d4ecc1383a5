"""What a person sees on a terminal of 80 columns: every table fits, and no number is split."""

import fcntl
import os
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from tests.unit.evaluation.test_grouping import GRPO, SDAR, make_run

import sdar
from sdar.cli import main

CODE = """
import sys
from sdar.cli import main
for words in sys.argv[1:]:
    main(words.split())
"""


def on_terminal(width: int, *commands: str, data: Path) -> list[str]:
    """The lines that these commands print on a terminal, without its colours."""
    leader, follower = os.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 50, width, 0, 0))
    env = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    env |= {"PYTHONPATH": str(Path(sdar.__file__).parents[1]), "TERM": "xterm", "SDAR_DATA": str(data)}
    process = subprocess.Popen([sys.executable, "-c", CODE, *commands], stdout=follower, env=env)
    os.close(follower)
    text = b""
    while True:
        try:
            text += (more := os.read(leader, 65536))
        except OSError:  # how Linux says that the other end is closed
            break
        if not more:
            break
    os.close(leader)
    assert process.wait() == 0
    return [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in text.decode().replace("\r", "").splitlines()]


@pytest.mark.parametrize("width", [80, 100])
def test_tables_fit(width: int, tmp_path: Path) -> None:
    out = tmp_path / "runs"
    for name, objective in (("alfworld-sdar-20261128-185026", SDAR), ("alfworld-grpo-20261128-185026", GRPO)):
        make_run(out, name, objective)
    both = " ".join(path.name for path in sorted(out.iterdir()))
    lines = on_terminal(
        width,
        f"compare {both} --out {out}",
        f"runs --out {out}",
        "list",
        "--help",
        "skills show alfworld",
        data=tmp_path,
    )
    prose = [line for line in lines if len(line) > width]
    assert all(re.search(r"\bp = |not played alike|experts' rows|\.png", line) for line in prose), prose
    text = "\n".join(lines)
    assert text.count("50.0 [29.9, 70.1]") >= 6, "success of both runs, by method and for all kinds; the list"
    assert re.search(r"^alfworld-sdar-20261128-185026  empty +6 +6 +50\.0 \[29\.9, 70\.1\] ", text, re.M)
    assert "reverse-kl" in text


def test_bash_completes_settings_recipes_and_values(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "bash"]) == 0
    asked = {"ev": "eval", "train --train.st": "--train.steps", "train alfworld/p": "alfworld/published"}
    asked |= {"train --device cu": "cuda", "list --format mark": "markdown"}
    lines = [capsys.readouterr().out]
    for words in asked:
        place = len(words.split())
        lines.append(f'COMP_WORDS=(sdar {words}) COMP_CWORD={place}; _shtab_sdar; echo "${{COMPREPLY[0]}}"')
    done = subprocess.run(["bash"], input="\n".join(lines), capture_output=True, text=True, check=True)
    assert done.stdout.split() == list(asked.values())
    assert main(["completion", "bsh"]) == 2
    assert "did you mean 'bash'?" in capsys.readouterr().err
