"""The experts of an environment as reference rows: played once, and again when the environment changes."""

from pathlib import Path

import pytest

from sdar.envs.toy import ToySpec
from sdar.evaluation import references as module
from sdar.evaluation.evaluate import evaluate
from sdar.evaluation.references import references


def test_played_once_for_an_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDAR_DATA", str(tmp_path))
    played: list[str] = []

    def counted(panel, collector, config):  # type: ignore[no-untyped-def]
        played.append(collector.expert)
        return evaluate(panel, collector, config)

    monkeypatch.setattr(module, "evaluate", counted)
    spec, short = ToySpec(), ToySpec(max_turns=4)
    first = references(spec, spec.panel("held_out"))
    assert first == references(spec, spec.panel("held_out"))
    assert played == ["walker"]
    assert first["walker"].success.value == 1
    assert references(short, short.panel("held_out"))["walker"].success.value == 0.5
    assert played == ["walker", "walker"]


@pytest.mark.parametrize("text", ["", "[]", '{"walker": {"panel"', '{"walker": {}}'])
def test_a_damaged_file_is_made_anew(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDAR_DATA", str(tmp_path))
    spec = ToySpec()
    first = references(spec, spec.panel("held_out"))
    file = next(tmp_path.glob("references/*.json"))
    whole = file.read_text()
    file.write_text(text)
    assert references(spec, spec.panel("held_out")) == first
    assert file.read_text() == whole
