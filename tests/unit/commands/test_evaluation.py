"""Under which name a result is kept."""

from pathlib import Path

import pytest

from sdar.cli import main


def results(out: Path, capsys: pytest.CaptureFixture[str], *words: str) -> Path:
    assert main(["eval", "planner", "--limit", "4", "--out", str(out), *words]) == 0
    return Path(capsys.readouterr().out.splitlines()[-1])


def test_results_of_different_settings_never_share_a_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = results(tmp_path, capsys)
    kept = first.read_bytes()
    others = [
        results(tmp_path, capsys, *words)
        for words in (["--env.max-turns", "7"], ["--env.prompt", "full"], ["--rollout.max-tokens", "9"])
    ]
    assert len({first, *others}) == 4
    assert first.read_bytes() == kept
    assert results(tmp_path, capsys) == first
    assert len(list(first.parent.glob("*.json"))) == 4
    assert results(tmp_path / "elsewhere", capsys).name == first.name
