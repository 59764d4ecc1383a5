"""`sdar gap` on a model that knows nothing."""

import json
from pathlib import Path

import pytest
from tests.tiny import tiny_model, tiny_tokenizer

from sdar.cli import main


def test_an_untrained_model_has_nothing_to_teach(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tmp_path / "model"
    tiny_model(context_length=2048).save_pretrained(model)
    tiny_tokenizer().save_pretrained(model)
    flags = ["--limit", "6", "--turns", "2", "--rollout.context", "window", "--out", str(tmp_path)]
    assert main(["gap", str(model), *flags]) == 0
    out, err = capsys.readouterr()
    assert "this teacher has nothing to teach" in err
    kinds = [line.split()[0] for line in out.splitlines()[2:6]]
    assert kinds == ["right", "reworded", "wrong", "junk"]
    file = Path(out.splitlines()[-1])
    assert json.loads(file.read_text())["gaps"].keys() == set(kinds)
    assert file.with_suffix(".png").stat().st_size > 1000


def test_an_environment_without_chance_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    assert main(["gap", str(tmp_path), "--env", "toy", "--skills.retrieval", "all"]) == 2
    assert "the expert 'random'" in capsys.readouterr().err
