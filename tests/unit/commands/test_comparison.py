"""`sdar compare` from the command line: tables, sentences, references, curves, refusals."""

import csv
import io
from pathlib import Path

import pytest
from matplotlib.image import imread
from tests.outcomes import result_of
from tests.unit.evaluation.test_grouping import GRPO, SDAR, make_run

from sdar.cli import main
from sdar.envs.toy import ToySpec
from sdar.evaluation.references import references
from sdar.runs.rundir import RunDir


@pytest.fixture
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SDAR_DATA", str(tmp_path / "data"))
    for seed, won in enumerate((16, 17, 18)):
        make_run(tmp_path, f"sdar-{seed}", SDAR, seed=seed, won=won)
        make_run(tmp_path, f"grpo-{seed}", GRPO, seed=seed, won=won - 10)
    return tmp_path


def compare(out: Path, *words: str) -> int:
    return main(["compare", *words, "--out", str(out)])


ALL = [f"{name}-{seed}" for name in ("sdar", "grpo") for seed in range(3)]


def test_tables_sentence_and_picture(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare(out, *ALL) == 0
    text = capsys.readouterr().out
    assert "\nsdar is better than grpo by 50.0 points [" in text
    assert "on 20 tasks, 3 seeds each" in text
    assert "no experts' rows: " in text, "the panel of these results is not one of the corridor's"
    [row] = [line.split() for line in text.splitlines() if line.startswith("sdar  ")][:1]
    assert row[:3] == ["sdar", "3", "85.0"]
    assert row[-2:] == ["100", "0.5"], "tokens and minutes of one run"
    picture = Path(text.splitlines()[-1])
    assert picture == out / "comparison.png"
    assert imread(picture).shape[1] == 1200


def test_formats_and_output(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare(out, *ALL, "--format", "csv", "--show", "methods", "--curves", str(out / "c.svg")) == 0
    told = capsys.readouterr()
    rows = list(csv.DictReader(io.StringIO(told.out)))
    assert [(row["method"], row["seeds"]) for row in rows] == [("sdar", "3"), ("grpo", "3")]
    assert (out / "c.svg").read_text().startswith("<?xml")
    assert told.err.splitlines()[-1] == str(out / "c.svg"), "what reads a table gets a table alone"
    assert compare(out, *ALL, "--format", "markdown", "--output", str(out / "t.md")) == 0
    assert "| sdar | 3 | 85.0 [" in (out / "t.md").read_text()
    assert "\n- sdar is better" in (out / "t.md").read_text()


def test_experts_are_rows(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = ToySpec()
    for seed, name in enumerate(("one", "two")):
        run = RunDir.create(out, name, f'[env]\nname = "toy"\n[optim]\nwarmup_steps = {seed}\n')
        run.write_eval(1, references(spec, spec.panel("held_out"))["walker"].to_json())
    assert compare(out, "one", "two") == 0
    text = capsys.readouterr().out
    assert [line.split()[0] for line in text.partition("\nmethod")[2].splitlines()[1:4]] == [
        "one",
        "two",
        "walker",
    ]
    assert "the data do not tell one from two: 0.0 points [0.0, 0.0], p = 1, on 4 tasks" in text


def test_baseline_by_a_run(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare(out, "sdar-0", "sdar-1", "grpo-0", "--baseline", "grpo-0", "--show", "pairs") == 0
    assert "sdar - grpo" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["sdar-0"], "takes two or more runs"),
        (["sdar-0", "grpo-0", "--format", "latx"], "--format must be one of table, json"),
        (["sdar-0", "grpo-0", "--show", "pears"], "--show: unknown 'pears': did you mean 'pairs'?"),
        (["sdar-0", "grpo-0", "--curves", "c.pdf"], "does not end in .png or .svg"),
        (["sdar-0", "grpo-0", "--baseline", "gppo-0"], "unknown baseline 'gppo-0': did you mean 'grpo-0'?"),
        (["sdar-0", "other"], "different panels cannot be compared"),
    ],
)
def test_refusals(out: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    RunDir.create(out, "other", "").write_eval(6, result_of([[1]] * 4, panel="q").to_json())
    assert compare(out, *words) == 2
    assert message in capsys.readouterr().err
