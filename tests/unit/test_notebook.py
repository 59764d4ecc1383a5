"""The notebook of the documentation runs, and has the kinds of output that it is committed with."""

from pathlib import Path
from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat", reason="needs the tools for development")
from nbclient import NotebookClient  # noqa: E402

FILE = Path(__file__).parents[2] / "docs" / "first_run.ipynb"


def outputs(notebook: Any) -> list[list[str]]:
    """The kinds of output of every cell of code."""
    return [[out.output_type for out in cell.outputs] for cell in notebook.cells if cell.cell_type == "code"]


def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDAR_DATA", str(tmp_path / "data"))
    committed, fresh = (nbformat.read(FILE, as_version=4) for _ in range(2))
    NotebookClient(fresh, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert outputs(fresh) == outputs(committed)
    assert all(outputs(committed)[1:]), "it is committed with its outputs"
    assert "optim.lr must be a number" in fresh.cells[-1].outputs[0].text
