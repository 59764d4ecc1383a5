"""A study on a Ray cluster of two machines: the same results, and a lost machine's run done elsewhere.

Skipped without Ray, which is not among the development tools: pip install 'sdar[ray]'.
"""

import threading
import time
from pathlib import Path

import pytest
from tests.e2e.test_study import study, warm_model

from sdar.cli import main
from sdar.runs.rundir import RunDir, read_metrics
from sdar.study.plan import read_plan
from sdar.study.result import read_results

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'sdar[ray]'")
__all__ = ["study"]
TIMES = ("seconds", "machine", "versions", "commit")


def test_a_lost_machine_costs_nothing(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from ray.cluster_utils import Cluster

    model = warm_model(study, capsys)
    text = study.read_text().replace("seeds = [3]", "seeds = [3, 4]").replace('"*"', '["sdar"]')
    study.write_text(f'model = "{model}"\n' + text.replace("steps = 2,", "steps = 12,"))
    plan = read_plan(study)
    assert main(["study", str(study), "--runs", str(tmp_path / "here")]) == 0
    alone = read_results(plan.results)
    for file in plan.results.glob("*.json"):
        file.unlink()

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    lost = cluster.add_node(num_cpus=1)
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    runs = [RunDir(tmp_path / "there" / "toy" / f"{run.name}-{run.digest}") for run in plan.runs]

    def lose() -> None:
        while not all(run.metrics_file.is_file() and len(read_metrics(run)) > 1 for run in runs):
            time.sleep(0.05)
        cluster.remove_node(lost, allow_graceful=False)

    loser = threading.Thread(target=lose, daemon=True)
    loser.start()
    try:
        command = ["study", str(study), "--jobs", "2", "--runs", str(tmp_path / "there"), "--executor", "ray"]
        assert main(command) == 0
    finally:
        ray.shutdown()
        cluster.shutdown()
    loser.join(timeout=1)
    assert not loser.is_alive(), "the machine was lost while both runs worked"
    there = read_results(plan.results)
    assert [there[name] | dict.fromkeys(TIMES) for name in alone] == [
        result | dict.fromkeys(TIMES) for result in alone.values()
    ]
    again = [len((run.path / "segments.jsonl").read_text().splitlines()) for run in runs]
    assert sorted(again) == [1, 2], "one run was begun again, from its checkpoint"
