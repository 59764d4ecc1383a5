"""The tutorial's commands work in its order in an empty directory, and print what stands on the page."""

import re
import shlex
import sys
from pathlib import Path

import pytest

from sdar.cli import main
from sdar.envs.base import envs
from sdar.objectives.base import objectives

PAGE = Path(__file__).parents[2] / "docs" / "tutorial.md"
TOLD = re.compile(r"^    sdar ([^\n]+)\n\n```text\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"-[0-9a-f]{8}(?=\.json)|[-+]?\d[\d,.]*")


def lines(text: str) -> set[str]:
    """The lines of an output, whatever its numbers and the width of its columns are."""
    return {re.sub(r"\s+", " ", NUMBER.sub("#", line)).strip() for line in text.splitlines()}


def test_the_tutorial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SDAR_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr("sdar.text.records._LEFT_OUT", {})  # of other tests in this process
    own = [(registry, {name: registry[name] for name in registry._homes}) for registry in (envs, objectives)]
    for registry, table in own:  # nothing that other tests have registered
        monkeypatch.setattr(registry, "_table", dict(table))
    page = PAGE.read_text(encoding="utf-8")
    for name, code in re.findall(r"`(\w+\.py)`:\n\n```python\n(.*?)```", page, re.DOTALL):
        Path(name).write_text(code)
    steps = TOLD.findall(page)
    assert len(steps) >= 6
    for command, told in steps:
        try:
            assert main(shlex.split(command)) == 0, command
        finally:  # the next command knows nothing of this one's plugins
            for registry, table in own:
                registry._table.clear()
                registry._table.update(table)
            for name in [name for name in sys.modules if name.startswith("sdar_plugin_")]:
                del sys.modules[name]
        out, err = capsys.readouterr()
        assert lines(told) - lines(out + err) == set(), command
