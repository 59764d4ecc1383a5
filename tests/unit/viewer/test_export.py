"""`sdar view --export`, and the command's errors; what the page does is in tests/e2e."""

import json
from pathlib import Path

import pytest
from tests.viewed import view_run

from sdar.cli import main
from sdar.runs.rundir import RunDir
from sdar.viewer.export import bundle, export
from sdar.viewer.library import Library


def test_the_command_writes_a_page_with_all_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    view_run(tmp_path, "a")
    out = tmp_path / "page"
    assert main(["view", "a", "--out", str(tmp_path), "--export", str(out)]) == 0
    assert capsys.readouterr().out == f"{out / 'index.html'}\n"
    assert {file.name for file in out.iterdir()} == {"index.html", "app.js", "style.css", "icon.svg", "data"}
    run = RunDir.open(tmp_path / "a").id[:8]
    assert len(list(out.glob(f"data/run-{run}-episode-training-*.js"))) == 8
    text = (out / "data" / f"run-{run}-episode-training-2-1.js").read_text()
    key, _, record = text.removeprefix("receive(").removesuffix(");\n").partition(", ")
    assert json.loads(key) == f"run/{run}/episode/training/2/1"
    assert json.loads(record)["task"] == "train/clean"
    assert 'type="module"' not in (out / "index.html").read_text()


def test_a_directory_with_files_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = view_run(tmp_path, "a")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "index.html").write_text("mine")
    assert main(["view", str(run.path), "--export", str(tmp_path / "mine")]) == 2
    assert "is not empty: give --export a new directory" in capsys.readouterr().err
    assert (tmp_path / "mine" / "index.html").read_text() == "mine"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("nothing --out {out}", "nothing is not a run directory"),
        ("--out {out}/none", "there is no run in"),
        ("a --out {out} --port many", "--port"),
        ("a --out {out} --port 70000 --no-open", "cannot listen on port 70000"),
        ("a --out {out} --prot 1", "did you mean --port?"),
    ],
)
def test_errors(args: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    view_run(tmp_path, "a")
    assert main(["view", *args.format(out=tmp_path).split()]) == 2
    assert message in capsys.readouterr().err


def test_text_cannot_leave_its_script(tmp_path: Path) -> None:
    """What is JSON is a string of JavaScript, whatever is in it; lines and files are ours."""
    run = view_run(tmp_path, "a", steps=0)
    run.log_metrics(1, {'"); alert(1); ("\u2028</script>': 1.0})
    export(Library([run]), tmp_path / "page")
    text = (tmp_path / "page" / "data" / f"run-{run.id[:8]}-metrics.js").read_text()
    assert len(text.splitlines()) == 1
    record = text.removeprefix(f'receive("run/{run.id[:8]}/metrics", ').removesuffix(");\n")
    assert '"); alert(1); ("\u2028</script>' in json.loads(record)["lines"][0]


def test_modules_are_joined_in_the_order_of_their_imports() -> None:
    modules = {
        "a.js": 'import { b } from "./b.js";\nconst own = b();\n',
        "b.js": "const own = 1;\nexport function b() { return own; }\nexport const c = 2;\n",
    }
    text = bundle(modules, "a.js")
    assert "export " not in text
    assert "import " not in text
    assert text.index('modules["b.js"] =') < text.index('modules["a.js"] =')
    assert "return { b, c };" in text
