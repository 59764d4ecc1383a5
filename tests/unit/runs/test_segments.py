from pathlib import Path

from sdar.runs.rundir import RunDir
from sdar.runs.segments import describe_segments


def test_what_is_said_of_the_processes_of_a_run(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path, "r", "")
    run.begin_segment(0, "device = 'cpu'", 1, {"train.jsonl": 3}, threads=1)
    run.begin_segment(4, "device = 'cuda'", 2, {"train.jsonl": 3}, threads=8)
    unused, resumed = describe_segments(run)
    assert unused == "r did not use 3 bad records of train.jsonl"
    assert resumed.startswith("r was resumed after step 4 (")
    assert resumed.endswith("): device 'cpu' -> 'cuda', ranks 1 -> 2, threads 1 -> 8")
