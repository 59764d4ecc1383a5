"""The list of runs, and that nothing but a run nobody trains is ever deleted."""

import shutil
from pathlib import Path

import pytest
from tests.outcomes import result_of
from tests.unit.evaluation.test_grouping import SDAR, make_run

from sdar.cli import main
from sdar.errors import CheckpointError, SdarError
from sdar.runs.rundir import RunDir
from sdar.runs.shelf import State, find_runs, look, remove


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A finished run, one in the middle, one of a study that never began, and things that are no runs."""
    out = tmp_path / "runs"
    for name, saved in (("done", 6), ("half", 3), ("study/empty", 0)):
        run = make_run(out / Path(name).parent, Path(name).name, SDAR)
        if saved:
            (run.checkpoints / f"step-{saved:06d}").mkdir(parents=True)
    (out / "eval").mkdir()
    (out / "eval" / "a.json").write_text("{}")
    (out / "link").symlink_to(out / "done")
    return out


def states(out: Path) -> dict[str, State]:
    return {one.name: one.state for one in (look(path, out) for path in find_runs(out))}


def test_states_of_runs(out: Path) -> None:
    expected = {"done": State.FINISHED, "half": State.STOPPED, "study/empty": State.EMPTY}
    assert states(out) == expected
    with RunDir(out / "half").hold():
        assert states(out) == expected | {"half": State.RUNNING}
    assert states(out) == expected
    assert look(out / "done", out).bytes == sum(f.stat().st_size for f in (out / "done").rglob("*.*"))


def test_the_list(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", "--out", str(out)]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows[1][:6] == ["done", "finished", "6", "6", "50.0", "[29.9,"]
    assert [row[0] for row in rows[1:]] == ["done", "half", "study/empty"]


def test_clean_asks(out: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["runs", "clean", "--out", str(out)]) == 2
    assert "nobody can be asked here" in capsys.readouterr().err
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    for answer, status in (("", 1), ("n", 1), ("yes", 0)):
        monkeypatch.setattr("builtins.input", lambda question, answer=answer: answer)
        assert main(["runs", "clean", "--out", str(out)]) == status
        assert (out / "study" / "empty").exists() is bool(status)
    assert set(states(out)) == {"done", "half"}
    assert main(["runs", "clean", "done", "--yes", "--out", str(out)]) == 0
    assert not (out / "done").exists()
    assert (out / "eval" / "a.json").exists()


def test_only_runs_that_nobody_trains_are_deleted(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = RunDir(out / "done")
    with run.hold(), pytest.raises(CheckpointError, match="being trained by another process"):
        remove(run)
    for path, message in ((out / "eval", "not a run directory"), (out / "link", "is a link")):
        with pytest.raises(CheckpointError, match=message):
            remove(RunDir(path))
    shutil.copytree(out / "half", run.path / "mine")
    with pytest.raises(CheckpointError, match="no part of a run"):
        remove(run)
    shutil.rmtree(run.path / "mine")
    monkeypatch.chdir(run.checkpoints)
    with pytest.raises(SdarError, match="the directory you are in"):
        remove(run)
    assert run.path.exists()


def test_an_unreadable_run_is_said(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (out / "half" / "meta.json").write_text("{}")
    RunDir(out / "done").write_eval(6, result_of([[1]]).to_json())
    assert main(["runs", "--out", str(out)]) == 0
    assert "left out: " in capsys.readouterr().out
