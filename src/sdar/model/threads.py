"""How many threads torch takes on a CPU."""

import os
from collections.abc import Iterator
from pathlib import Path

import torch

PROC, CGROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")
CHOSEN = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""Variables with which a user, or `torchrun`, says it."""


def limit_threads() -> int:
    """Keep torch's threads within the CPU time that this process may have; how many there are.

    torch takes one for each physical core that it may run on, and knows no quota: in a container with 2 of 64
    cores its 64 threads would mostly wait for one another. Nothing changes where a variable in `CHOSEN` is
    set. How many there are decides the last bits of a result, so the load of the moment does not count.
    """
    have = torch.get_num_threads()
    allowed = None if any(os.environ.get(name) for name in CHOSEN) else cpu_quota()
    if allowed is not None and allowed < have:
        have = max(1, int(allowed))
        torch.set_num_threads(have)
    return have


def cpu_quota(process: Path = PROC, groups: Path = CGROUPS) -> float | None:
    """Cores' worth of time that the control groups of this process leave it; None: as many as there are."""
    limits = [limit for folder in _folders(process, groups) if (limit := _limit(folder)) is not None]
    return min(limits, default=None)


def _folders(process: Path, groups: Path) -> Iterator[Path]:
    """Of each of its groups and of those around them, of version 2 and of the old controller."""
    if not process.is_file():
        return
    for line in process.read_text().splitlines():
        _, names, path = line.split(":", 2)
        if names == "" or "cpu" in names.split(","):
            home = groups / names
            for part in (Path(path.lstrip("/")), *Path(path.lstrip("/")).parents):
                yield home / part


def _limit(folder: Path) -> float | None:
    """The quota of one group, in cores."""
    new, old = folder / "cpu.max", folder / "cpu.cfs_quota_us"
    if new.is_file():
        quota, _, period = new.read_text().strip().partition(" ")
    elif old.is_file():
        quota, period = old.read_text().strip(), (folder / "cpu.cfs_period_us").read_text()
    else:
        return None
    return None if quota in ("max", "-1") else int(quota) / int(period)
