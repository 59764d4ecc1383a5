"""What the source must look like: layers, an algorithm-blind trainer, small files and functions."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from sdar.objectives import objectives

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "sdar"
FILES = sorted(SOURCE.rglob("*.py"))


def lint_imports(root: Path, source: Path) -> subprocess.CompletedProcess[str]:
    """In a process of its own, because import-linter reconfigures logging."""
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_layers() -> None:
    done = lint_imports(ROOT, ROOT / "src")
    assert done.returncode == 0, done.stdout


def test_a_broken_layer_is_seen(tmp_path: Path) -> None:
    """The contract for torch, on a package that breaks it."""
    package = tmp_path / "leaky"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "types.py").write_text("import torch\n")
    (tmp_path / "pyproject.toml").write_text(
        "[tool.importlinter]\nroot_package = 'leaky'\ninclude_external_packages = true\n"
        "[[tool.importlinter.contracts]]\nname = 'no torch'\ntype = 'forbidden'\n"
        "source_modules = ['leaky.types']\nforbidden_modules = ['torch']\n"
    )
    done = lint_imports(tmp_path, tmp_path)
    assert done.returncode == 1
    assert "leaky.types -> torch" in done.stdout


def test_the_trainer_names_no_objective() -> None:
    classes = {objectives[name].__name__ for name in objectives}
    for file in SOURCE.glob("trainer/*.py"):
        words = {node.id for node in ast.walk(parse(file)) if isinstance(node, ast.Name)}
        texts = {node.value for node in ast.walk(parse(file)) if isinstance(node, ast.Constant)}
        assert not (classes & words) | (set(objectives) & texts), file


def test_files_are_small() -> None:
    lengths = {file: len(file.read_text().splitlines()) for file in FILES}
    too_long = {str(file.relative_to(ROOT)): length for file, length in lengths.items() if length > 400}
    assert not too_long
    assert median(length for length in lengths.values() if length) < 200


def test_functions_are_small() -> None:
    too_long = [
        f"{file.relative_to(ROOT)}:{node.lineno} {node.name}"
        for file in FILES
        for node in functions(file)
        if (node.end_lineno or 0) - node.lineno >= 60
    ]
    assert not too_long


def parse(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def functions(file: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (n for n in ast.walk(parse(file)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))
