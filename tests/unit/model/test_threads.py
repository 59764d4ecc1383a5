"""Torch takes no more threads than a container's quota, unless told how many."""

from pathlib import Path

import pytest
import torch

from sdar.model import threads
from sdar.model.threads import cpu_quota, limit_threads


def test_the_smallest_quota_of_the_groups_counts(tmp_path: Path) -> None:
    process, groups = tmp_path / "cgroup", tmp_path / "groups"
    assert cpu_quota(process, groups) is None, "no control groups, as on other systems"
    inner = groups / "a" / "b"
    inner.mkdir(parents=True)
    process.write_text("0::/a/b\n")
    (inner / "cpu.max").write_text("max 100000\n")
    assert cpu_quota(process, groups) is None
    (groups / "a" / "cpu.max").write_text("250000 100000\n")
    assert cpu_quota(process, groups) == 2.5
    old = groups / "cpu"
    old.mkdir()
    process.write_text("4:memory:/x\n1:cpu:/\n0::/a/b\n")
    (old / "cpu.cfs_period_us").write_text("100000\n")
    (old / "cpu.cfs_quota_us").write_text("-1\n")
    assert cpu_quota(process, groups) == 2.5
    (old / "cpu.cfs_quota_us").write_text("150000\n")
    assert cpu_quota(process, groups) == 1.5


def test_threads_are_only_taken_away(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in threads.CHOSEN:
        monkeypatch.delenv(name, raising=False)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        for quota, expected in ((None, 3), (8.0, 3), (2.5, 2), (0.5, 1)):
            torch.set_num_threads(3)
            monkeypatch.setattr(threads, "cpu_quota", lambda quota=quota: quota)
            assert limit_threads() == torch.get_num_threads() == expected
        torch.set_num_threads(3)
        monkeypatch.setenv("OMP_NUM_THREADS", "3")
        assert limit_threads() == torch.get_num_threads() == 3, "the user's word is kept"
    finally:
        torch.set_num_threads(before)
