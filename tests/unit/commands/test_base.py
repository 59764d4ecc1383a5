"""What a model on the command line can be."""

from pathlib import Path

import pytest

from sdar.build.find import find_model
from sdar.errors import CheckpointError


def test_a_name_on_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings, model, place = find_model("Qwen/Qwen2.5-3B-Instruct", None, Path("runs"))
    assert settings.values == {"model": {"path": "Qwen/Qwen2.5-3B-Instruct"}}
    assert str(model) == "Qwen/Qwen2.5-3B-Instruct"
    assert place == Path("runs/eval/Qwen-Qwen2.5-3B-Instruct")


@pytest.mark.parametrize("target", ["runs/nothing", "nothing", "./Qwen/nothing", "/Qwen/nothing"])
def test_a_path_that_is_not_there_is_no_name_on_the_hub(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "runs").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match="is not a run directory"):
        find_model(target, None, Path("runs"))
