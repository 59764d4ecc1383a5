"""The viewer reads what is new, once; sees what is no longer true; and reads nothing outside the run."""

import gzip
import json
from pathlib import Path

import pytest
from tests.viewed import add_panel, add_step, view_run

from sdar.errors import DataError
from sdar.runs.rundir import RunDir
from sdar.viewer.index import Index


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return view_run(tmp_path)


@pytest.fixture
def index(run: RunDir) -> Index:
    index = Index(run)
    index.refresh()
    return index


def test_rows_and_records(index: Index) -> None:
    assert [(row["step"], row["index"], row["place"]) for row in index.rows[:5]] == [
        (1, 0, 0),
        (1, 1, 1),
        (1, 2, 2),
        (1, 3, 3),
        (2, 0, 0),
    ]
    row = index.rows[1]
    assert (row["kind"], row["success"], row["reward"], row["turns"]) == ("cool", True, 10.0, 2)
    assert row["goal"] == "cool the apple of step 1"
    assert row["gap"] == pytest.approx(index.rows[0]["gap"])
    record = index.episode("training", 2, 3)
    assert (record["task"], record["index"]) == ("train/clean", 3)
    assert [line["step"] for line in index.lines] == [1, 2]
    assert index.lines[0]["loss"] is None


def test_runs_that_kept_the_first_episodes_without_saying_so(run: RunDir) -> None:
    lines = [json.loads(line) for line in gzip.decompress(run.episodes_file(2).read_bytes()).splitlines()]
    text = "".join(json.dumps({k: v for k, v in line.items() if k != "kept"}) + "\n" for line in lines * 2)
    run.episodes_file(2).write_bytes(gzip.compress(text.encode()))
    index = Index(run)
    index.refresh()
    assert [row["place"] for row in index.rows if row["step"] == 2] == [0, 1, 2, 3] + [None] * 4


def test_the_panel_and_later_evaluations(run: RunDir) -> None:
    add_panel(run, 0, won=(False, True, False))
    add_panel(run, 2, won=(True, True, False))
    later = run.path / "eval" / "p-step-000002-1x.json"
    later.write_bytes(run.eval_file(2).read_bytes())
    index = Index(run)
    index.refresh()
    rows = [row for row in index.rows if row["part"] != "training"]
    assert [(row["part"], row["step"], row["success"], row["place"]) for row in rows] == [
        ("p-step-000002-1x", 2, True, None),
        ("p-step-000002-1x", 2, True, None),
        ("p-step-000002-1x", 2, False, 0),
        ("panel", 0, False, 0),
        ("panel", 0, True, None),
        ("panel", 0, False, 1),
        ("panel", 2, True, None),
        ("panel", 2, True, None),
        ("panel", 2, False, 0),
    ]
    assert index.episode("panel", 0, 1)["task"] == "p/2"
    panel = index.panels[-1]
    assert (panel["part"], panel["step"], panel["tasks"]) == ("panel", 2, 3)
    assert panel["success"][0] == pytest.approx(2 / 3)
    run.truncate_after(1)
    index.refresh()
    assert [panel["step"] for panel in index.panels] == [2, 0], "a later evaluation stays"
    (run.path / "eval" / "step-000004.json").write_text('{"outcomes": [1]}')
    index.refresh()
    assert set(index.problems) == {"step-000004.json"}


def test_an_unknown_episode_is_refused(index: Index) -> None:
    with pytest.raises(DataError, match="no episodes of training of step 9"):
        index.episode("training", 9, 0)
    with pytest.raises(DataError, match="training of step 2 of run has 4"):
        index.episode("training", 2, 4)


def test_only_what_is_new_is_read(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    original = gzip.open
    monkeypatch.setattr(
        "gzip.open", lambda file, *a, **k: opened.append(Path(file).name) or original(file, *a, **k)
    )
    index.refresh()
    assert opened == []
    add_step(index.run, 3)
    index.refresh()
    assert opened == ["step-000003.jsonl.gz"], "the short records alone"
    assert (len(index.rows), len(index.lines), index.generation) == (12, 3, 0)


def test_a_half_written_line_of_metrics_waits(index: Index) -> None:
    with index.run.metrics_file.open("a") as file:
        file.write('{"step": 3, "a"')
        file.flush()
        index.refresh()
        assert len(index.lines) == 2
        file.write(": 1}\n")
    index.refresh()
    assert index.lines[2:] == [{"step": 3, "a": 1}]


def test_a_resumed_run_starts_a_new_generation(index: Index) -> None:
    index.run.truncate_after(1)
    index.refresh()
    assert index.generation > 0
    assert {row["step"] for row in index.rows} == {1}
    assert [line["step"] for line in index.lines] == [1]
    generation = index.generation
    add_step(index.run, 2)
    index.refresh()
    assert (len(index.rows), index.generation) == (8, generation)


def test_a_long_run_is_read_in_parts(tmp_path: Path) -> None:
    index = Index(view_run(tmp_path, steps=5))
    index.refresh(seconds=0.0)
    assert (index.waiting, len(index.rows)) == (4, 4)
    while index.waiting:
        index.refresh(seconds=0.0)
    assert len(index.rows) == 20


def test_a_run_of_format_1_is_read(run: RunDir) -> None:
    """It has no episodes files, and turns without texts of tokens and prompts."""
    for file in run.path.glob("trajectories/*.gz"):
        records = [json.loads(line) for line in gzip.decompress(file.read_bytes()).splitlines()]
        for record in records:
            for turn in record["turns"]:
                for name in ("pieces", "prompt", "teacher_prompt", "gate", "entropy"):
                    del turn[name]
        file.write_bytes(gzip.compress("".join(json.dumps(record) + "\n" for record in records).encode()))
        run.episodes_file(int(file.name[5:11])).unlink()
    (run.path / "meta.json").write_text(json.dumps(run.meta | {"format": 1}))
    index = Index(RunDir.open(run.path))
    index.refresh()
    assert len(index.rows) == 8
    row = index.rows[1]
    assert (row["turns"], row["invalid"], row["tokens"], row["skills"]) == (2, 0, 10, ["general", "cool"])
    assert index.problems == {}


@pytest.mark.parametrize(
    "broken",
    [b"not gzip", gzip.compress(b"{}")[:-9], gzip.compress(b"{}")[:10] + b"\xff" * 9],
    ids=["no gzip", "cut", "garbled"],  # not by content: that holds the time
)
def test_a_broken_file_is_reported_and_the_rest_shown(run: RunDir, broken: bytes) -> None:
    run.trajectories_file(1).write_bytes(broken)
    run.episodes_file(1).write_bytes(broken)
    with run.metrics_file.open("a") as file:
        file.write("not json\n")
    index = Index(run)
    index.refresh()
    assert {row["step"] for row in index.rows} == {2}
    assert set(index.problems) == {"step 1", "metrics"}
    with pytest.raises(DataError, match="training of step 1 of run cannot be read"):
        index.episode("training", 1, 0)


def test_links_that_lead_out_are_not_followed(run: RunDir, tmp_path: Path) -> None:
    secret = tmp_path / "secret.jsonl.gz"
    secret.write_bytes(run.trajectories_file(1).read_bytes())
    run.trajectories_file(1).unlink()
    run.trajectories_file(1).symlink_to(secret)
    run.episodes_file(1).unlink()
    run.episodes_file(1).symlink_to(secret)
    (tmp_path / "elsewhere.toml").write_text("secret = 1\n")
    run.config_file.unlink()
    run.config_file.symlink_to(tmp_path / "elsewhere.toml")
    index = Index(run)
    index.refresh()
    assert "not an ordinary file" in index.problems["step 1"]
    assert {row["step"] for row in index.rows} == {2}
    with pytest.raises(DataError, match="not an ordinary file"):
        index.episode("training", 1, 0)
    with pytest.raises(DataError, match="not an ordinary file"):
        index.settings()


def test_a_directory_that_leads_out_is_not_followed(run: RunDir, tmp_path: Path) -> None:
    (run.path / "trajectories").rename(tmp_path / "elsewhere")
    (run.path / "trajectories").symlink_to(tmp_path / "elsewhere")
    run.metrics_file.rename(tmp_path / "metrics")
    run.metrics_file.symlink_to(tmp_path / "metrics")
    index = Index(run)
    index.refresh()
    assert (index.rows, index.lines) == ([], [])
    assert set(index.problems) == {"step 1", "step 2", "metrics"}
