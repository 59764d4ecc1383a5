"""The run directory: what is written can be read back, whole, after any crash."""

import json
import math
from pathlib import Path

import pytest

from sdar.errors import CheckpointError, ConfigError, StorageError
from sdar.runs.files import check_writable, write_atomic
from sdar.runs.records import Notes
from sdar.runs.rundir import (
    FORMAT,
    RunDir,
    find_run,
    read_episodes,
    read_evals,
    read_metrics,
    read_trajectories,
    trajectory_steps,
)
from sdar.types import (
    Completion,
    ContextMode,
    EndReason,
    Message,
    Observation,
    StopReason,
    Task,
    Trajectory,
    Turn,
)


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir.create(tmp_path, "toy", "seed = 1\n")


def make_turn(text: str, tokens: tuple[int, ...]) -> Turn:
    return Turn(
        observation=Observation("a hall", goal="leave"),
        messages=(Message("user", "a hall ☃"),),
        prompt=(1, 2),
        completion=Completion(tokens, tuple(-0.123456789 * token for token in tokens), StopReason.STOP),
        text=text,
        action=text,
        reward=1.0,
        valid=True,
        metrics={"score": 0.25},
    )


TRAJECTORY = Trajectory(
    task=Task("train/0", "heat"),
    index=3,
    context=ContextMode.TRANSCRIPT,
    turns=(make_turn("look", (5, 6)), make_turn("go", (7,))),
    success=True,
    end=EndReason.DONE,
)


def test_create_and_open(run: RunDir) -> None:
    again = RunDir.open(run.path)
    assert again.config_file.read_text() == "seed = 1\n"
    assert again.meta["format"] == FORMAT
    assert again.id != RunDir.create(run.path.parent, "other", "").id
    assert {"python", "numpy"} <= set(again.meta["versions"])
    assert again.meta["command"]


def test_names_are_unique_unless_exact(tmp_path: Path) -> None:
    names = [RunDir.create(tmp_path, "toy", "").path.name for _ in range(3)]
    assert names == ["toy", "toy-2", "toy-3"]
    with pytest.raises(ConfigError, match="exists: choose another --name"):
        RunDir.create(tmp_path, "toy", "", exact=True)


def test_metrics_are_appended_and_read_back(run: RunDir) -> None:
    run.log_metrics(1, {"a": 0.5, "b": math.nan})
    run.log_metrics(2, {"a": 1})
    first, second = read_metrics(run)
    assert first["a"] == 0.5
    assert math.isnan(first["b"])
    assert second == {"step": 2, "a": 1}
    assert all(json.loads(line) for line in run.metrics_file.read_text().splitlines())
    assert "NaN" not in run.metrics_file.read_text()


def test_a_line_cut_short_is_left_out(run: RunDir) -> None:
    run.log_metrics(1, {"a": 0.5})
    with run.metrics_file.open("a") as file:
        file.write('{"step": 2, "a"')
    assert [line["step"] for line in read_metrics(run)] == [1]
    run.truncate_after(1)
    run.log_metrics(2, {"a": 0.25})
    assert [line["step"] for line in read_metrics(run)] == [1, 2]


def test_truncate_forgets_everything_later(run: RunDir) -> None:
    for step in (1, 2, 3):
        run.log_metrics(step, {"a": math.inf})
        run.write_trajectories(step, [TRAJECTORY])
        run.write_episodes(step, [TRAJECTORY], [()], [math.nan])
        run.write_eval(step, {"panel": "p"})
    before = run.metrics_file.read_text().splitlines()
    run.truncate_after(2)
    assert run.metrics_file.read_text().splitlines() == before[:2]
    assert trajectory_steps(run) == [1, 2]
    assert list(read_evals(run)) == [1, 2]
    assert [episode["step"] for episode in read_episodes(run)] == [1, 2]


NOTES = Notes(
    streams={"gap": [0.1, 0.2, math.nan]},
    skills=["heat things"],
    pieces=[["lo", "ok"], ["go"]],
    teacher_prompts=["skills, a hall", ""],
)


def test_trajectories_with_notes(run: RunDir) -> None:
    run.write_trajectories(4, [TRAJECTORY], [NOTES])
    [record] = read_trajectories(run, 4)
    assert (record["task"], record["kind"], record["index"], record["goal"]) == (
        "train/0",
        "heat",
        3,
        "leave",
    )
    assert (record["success"], record["reward"], record["end"]) == (True, 2.0, "done")
    assert record["skills"] == ["heat things"]
    assert [turn["metrics"] for turn in record["turns"]] == [{"score": 0.25}] * 2
    assert [turn["gap"] for turn in record["turns"]] == [[0.1, 0.2], [None]]
    assert [turn["tokens"] for turn in record["turns"]] == [[5, 6], [7]]
    assert [turn["pieces"] for turn in record["turns"]] == [["lo", "ok"], ["go"]]
    assert record["turns"][0]["teacher_prompt"] == "skills, a hall"
    assert "prompt" not in record["turns"][0]
    assert record["turns"][0]["logp"] == [-0.617284, -0.740741]
    assert record["turns"][1]["messages"] == [{"role": "user", "content": "a hall ☃"}]


def test_every_episode_has_a_short_record(run: RunDir) -> None:
    run.write_episodes(10, [TRAJECTORY, TRAJECTORY], [("heat", "general"), ()], [0.123456789, math.nan])
    run.write_episodes(9, [TRAJECTORY], [()], [math.nan])
    earlier, taught, untaught = read_episodes(run)
    assert (earlier["step"], taught["step"]) == (9, 10)
    assert taught == {
        "step": 10,
        "task": "train/0",
        "kind": "heat",
        "index": 3,
        "goal": "leave",
        "success": True,
        "reward": 2.0,
        "end": "done",
        "turns": 2,
        "invalid": 0,
        "tokens": 3,
        "metrics": {"score": 0.5},
        "skills": ["heat", "general"],
        "gap": 0.123457,
        "kept": None,
    }
    assert (untaught["skills"], untaught["gap"]) == ([], None)


def test_trajectories_are_the_same_bytes_each_time(run: RunDir) -> None:
    run.write_trajectories(1, [TRAJECTORY])
    first = run.trajectories_file(1).read_bytes()
    run.write_trajectories(1, [TRAJECTORY])
    assert run.trajectories_file(1).read_bytes() == first


def test_a_stream_of_the_wrong_length_is_refused(run: RunDir) -> None:
    with pytest.raises(ValueError, match="need 3 numbers"):
        run.write_trajectories(1, [TRAJECTORY], [Notes(streams={"gap": [0.1, 0.2]})])


def test_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "file"
    write_atomic(target, "old")
    monkeypatch.setattr("os.fsync", lambda fd: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(StorageError, match="disk full"):
        write_atomic(target, "new")
    assert target.read_text() == "old"


def test_find_run(tmp_path: Path) -> None:
    first, second = (RunDir.create(tmp_path, name, "") for name in ("b", "a"))
    assert find_run("latest", tmp_path) == second
    assert find_run("b", tmp_path) == first
    assert find_run(str(first.path), tmp_path / "elsewhere") == first
    with pytest.raises(CheckpointError, match="not a run directory"):
        find_run("c", tmp_path)
    with pytest.raises(CheckpointError, match="there is no run"):
        find_run("latest", tmp_path / "none")


def test_a_newer_format_is_refused(run: RunDir) -> None:
    write_atomic(run.path / "meta.json", json.dumps({"format": FORMAT + 1}))
    with pytest.raises(CheckpointError, match=f"format {FORMAT + 1}; this sdar reads up to {FORMAT}: update"):
        RunDir.open(run.path)


def test_unwritable_directory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot write to"):
        check_writable(tmp_path / "file" / "runs")
    with pytest.raises(ConfigError, match="cannot write to"):
        RunDir.create(tmp_path / "file", "toy", "")
    check_writable(tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == []
