"""What a disk or a user did to the files of a run: one line that names the file, and the run can go on."""

import gzip
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.tiny import tiny_model, tiny_tokenizer

from sdar.cli import main
from sdar.runs.rundir import RunDir
from sdar.runs.segments import describe_segments

SMALL = [
    *("--objective", "grpo", "--train.eval-every", "0", "--rollout.tasks-per-step", "2"),
    *("--rollout.group-size", "2", "--rollout.max-tokens", "4", "--env.max-turns", "2"),
    *("--checkpoint.every", "1", "--eval.tasks", "4", "--trackers", "tensorboard"),
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model")
    tiny_model().save_pretrained(path)
    tiny_tokenizer().save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def trained(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SDAR_DATA", str(out / "data"))
        assert (
            main(
                [
                    "train",
                    *SMALL,
                    "--model.path",
                    str(model),
                    "--train.steps",
                    "2",
                    "--out",
                    str(out),
                    "--name",
                    "r",
                ]
            )
            == 0
        )
    return out / "r"


@pytest.fixture
def run(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The trained run, moved to another place."""
    monkeypatch.setenv("SDAR_DATA", str(tmp_path / "data"))
    return Path(shutil.copytree(trained, tmp_path / "moved" / "r"))


def error_of(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line of a command that is refused."""
    capsys.readouterr()
    assert main(words) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    return lines[0]


def test_a_moved_run_goes_on_where_it_is_and_keeps_its_segments(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "--resume", str(run), "--train.steps", "3"]) == 0
    assert RunDir.open(run).settings["train"]["steps"] == 3
    assert RunDir.open(run).settings["out"] == str(run.parent)
    segments = RunDir.open(run).segments
    assert [segment["after"] for segment in segments] == [0, 2]
    assert [segment["settings"]["train"]["steps"] for segment in segments] == [2, 3]
    assert segments[1]["versions"]["torch"]
    line = describe_segments(RunDir.open(run))[0]
    assert line.startswith("r was resumed after step 2 (")
    assert "train.steps 2 -> 3" in line
    capsys.readouterr()
    assert main(["train", "--resume", str(run)]) == 0
    assert f"{run} is already finished, with 3 steps" in capsys.readouterr().out
    assert "has done 3 steps, and train.steps is 1" in error_of(
        ["train", "--resume", str(run), "--train.steps", "1"], capsys
    )


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--optim.lr", "1e-9"], "optim.lr was 0.0004 and would be 1e-09; only train.steps, device,"),
        (["--train.seed", "9"], "train.seed was 0 and would be 9;"),
        (["--env", "webshop"], "env.name was 'alfworld' and would be 'webshop'; only"),
        (["--objective", "sdar"], "objective.name was 'grpo' and would be 'sdar'; only"),
    ],
)
def test_other_settings_are_refused_by_name(
    flags: list[str], named: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {file: file.read_bytes() for file in run.glob("*.*") if file.is_file()}
    assert named in error_of(["train", "--resume", str(run), "--train.steps", "3", *flags], capsys)
    assert {file: file.read_bytes() for file in run.glob("*.*") if file.is_file()} == before


def test_a_second_process_on_a_run_is_refused(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    resume = ["train", "--resume", str(run), "--train.steps", "3"]
    with RunDir.open(run).hold():
        assert f"{run} is being trained by another process" in error_of(resume, capsys)
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom sdar.runs.rundir import RunDir\n"
        "RunDir(Path(sys.argv[1])).hold().__enter__()\nos._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(run)]).returncode == 9
    with RunDir.open(run).hold():
        pass


def cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


DAMAGES = {
    "meta.json": (lambda run: cut(run / "meta.json"), "train"),
    "config.toml": (lambda run: (run / "config.toml").write_text("[train\n"), "train"),
    "metrics.jsonl, line 4, is damaged": (
        lambda run: (run / "metrics.jsonl").open("ab").write(b"\0" * 50 + b"\n"),
        "train",
    ),
    "eval/step-000002.json": (lambda run: cut(run / "eval/step-000002.json"), "compare"),
    "checkpoints/step-000002 is damaged: model/": (
        lambda run: cut(run / "checkpoints/step-000002/model/model.safetensors"),
        "eval",
    ),
    "episodes/step-000001.jsonl.gz is damaged": (
        lambda run: cut(run / "episodes/step-000001.jsonl.gz"),
        "skills",
    ),
}


@pytest.mark.parametrize("named", DAMAGES)
def test_a_damaged_file_is_named_in_one_line(
    named: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damage, command = DAMAGES[named]
    damage(run)
    words = {
        "train": ["train", "--resume", str(run), "--train.steps", "3"],
        "compare": ["compare", str(run), str(run)],
        "eval": ["eval", str(run)],
        "skills": ["skills", "stats", str(run)],
    }[command]
    assert named in error_of(words, capsys)


def test_a_damaged_checkpoint_gives_way_and_the_run_ends_as_before(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut(next((run / "checkpoints/step-000002/state").glob("*.distcp")))
    whole = gzip.decompress((run / "episodes/step-000002.jsonl.gz").read_bytes())
    assert main(["train", "--resume", str(run)]) == 0
    told = capsys.readouterr().err
    assert "step-000002 is damaged: state/__0_0.distcp is not what was written" in told
    assert "put aside as step-000002.damaged, going on from step-000001" in told
    assert gzip.decompress((run / "episodes/step-000002.jsonl.gz").read_bytes()) == whole
    assert (run / "checkpoints/step-000002/state.json").is_file()


def test_metrics_that_lost_lines_are_said_and_the_run_goes_on(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = run / "metrics.jsonl"
    whole = file.read_bytes()
    os.truncate(file, whole.index(b"\n") + 9)
    assert main(["train", "--resume", str(run), "--train.steps", "3"]) == 0
    assert (
        f"{file} was damaged: it lacks 2 of the steps up to 2, the first of them step 1; they stay out"
        in (capsys.readouterr().err)
    )
    assert [line["step"] for line in RunDir.open(run).metrics()] == [0, 3]


def test_checkpoints_may_lie_on_another_disk(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other disk"
    shutil.move(run / "checkpoints", other)
    (run / "checkpoints").symlink_to(other)
    assert main(["train", "--resume", str(run), "--train.steps", "3"]) == 0
    assert (other / "step-000003/model/model.safetensors").is_file()
    assert main(["eval", str(run), "--limit", "2"]) == 0
    (other / "run").write_text("another run")
    assert "holds " in error_of(["eval", str(run)], capsys)
    assert "this one has another run" in error_of(["train", "--resume", str(run)], capsys)


def test_a_dry_run_of_a_run_shows_its_settings_without_its_data(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = run / "config.toml"
    text = config.read_text()
    assert 'data = ""' in text
    config.write_text(text.replace('data = ""', f'data = "{tmp_path / "gone"}"'))
    capsys.readouterr()
    assert main(["train", "--resume", str(run), "--dry-run"]) == 0
    shown = capsys.readouterr()
    assert 'name = "alfworld"' in shown.out
    assert "warning: this run cannot go on here: no ALFWorld games in" in shown.err
    assert "no ALFWorld games in" in error_of(["train", "--resume", str(run), "--train.steps", "3"], capsys)


def test_eval_finds_out_that_it_cannot_write_before_it_plays(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(run / "eval")
    (run / "eval").write_text("a file in the way")
    assert f"cannot write to {run / 'eval'}" in error_of(["eval", str(run)], capsys)


def test_ascii_output_shows_numbers_of_other_characters() -> None:
    code = (
        "from sdar.cli import main; main([]); print('\\u00e9\\ud800'); raise SystemExit(main(['caf\\u00e9']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONIOENCODING": "ascii"}, capture_output=True
    )
    assert done.returncode == 2
    assert b"\\xe9\\ud800" in done.stdout
    assert b"unknown command 'caf\\xe9'" in done.stderr


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    if (
        os.geteuid()
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(place)]).returncode
    ):
        pytest.skip("a small disk needs the right to mount one")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_loses_nothing(
    small_disk: Path, model: Path, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ballast = small_disk / "ballast"
    copy = Path(
        shutil.copytree(run, small_disk / "r", ignore=shutil.ignore_patterns("tensorboard", "step-000001"))
    )
    left = shutil.disk_usage(small_disk).free
    ballast.write_bytes(bytes(max(0, left - 200_000)))
    message = error_of(["train", "--resume", str(copy), "--train.steps", "3"], capsys)
    assert str(copy) in message
    assert "o space left on device" in message or "make room on that disk" in message
    assert "make room on that disk" in message
    assert sorted(path.name for path in (copy / "checkpoints").iterdir()) == ["run", "step-000002"]
    ballast.unlink()
    assert main(["train", "--resume", str(copy), "--train.steps", "3"]) == 0
