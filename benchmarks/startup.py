"""CPU seconds until the command line has answered: python benchmarks/startup.py

Each command is a process of its own; the figures are medians. `import torch` is what they must not wait for.
"""

import json
import resource
import subprocess
import sys
from pathlib import Path
from statistics import median

RESULT = Path(__file__).parent / "results" / "startup.json"
REPEATS = 9
COMMANDS = {
    "--help": 0,
    "train --help": 0,
    "eval --help": 0,
    "train --dry-run": 0,
    "list objectives": 0,
    "list panels": 0,
    "train --optim.lrr 1": 2,
    "train nowhere.toml": 2,
}


def cpu_seconds(args: list[str], status: int) -> float:
    """User and system time of one process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, *args], capture_output=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == status, done.stderr.decode()
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Take turns, so that a busy moment meets them all."""
    calls = {f"sdar {words}": (["-m", "sdar", *words.split()], status) for words, status in COMMANDS.items()}
    calls |= {f"import {name}": (["-c", f"import {name}"], 0) for name in ("sdar", "numpy", "torch")}
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(REPEATS):
        for name, call in calls.items():
            seconds[name].append(cpu_seconds(*call))
    found = {name: round(median(values), 3) for name, values in seconds.items()}
    RESULT.write_text(json.dumps({"repeats": REPEATS, "cpu_seconds": found}, indent=1) + "\n")
    slowest = max((name for name in found if name.startswith("sdar ")), key=found.__getitem__)
    torch = found["import torch"]
    print(f"the slowest answer is {slowest}: {found[slowest]:.2f} s of CPU; import torch alone {torch:.2f} s")


if __name__ == "__main__":
    main()
