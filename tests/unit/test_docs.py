"""Every command in README, CONTRIBUTING and docs/ works as it stands, and the site builds.

Commands are lines of indented or fenced blocks that start with a program, and `sdar ...` in running text.
They are run, dry-run, or read by the real command line; a program that is not known here fails.
"""

import ast
import os
import re
import shlex
import sys
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

import sdar
from sdar.cli import main
from sdar.commands import COMMANDS
from sdar.envs.base import envs
from sdar.objectives.base import objectives
from sdar.objectives.oracles import oracles
from sdar.recipe import load_config
from sdar.settings.config import Layer
from sdar.settings.shipped import read_recipes

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = [page for page in PAGES if page.name != "tutorial.md"]  # test_tutorial runs all of it
PROGRAMS = "sdar|python3?|torchrun|pip|bash|source|tensorboard|wandb|mlflow|mkdocs|ssh"
PROGRAM = re.compile(rf"(\w+=\S+ )*(\S*/)?({PROGRAMS})\b")

NOT_RUN = {
    "source .venv/bin/activate": "changes the shell",
    "tensorboard --logdir": "serves until it is stopped",
    "mlflow ui": "serves until it is stopped, and needs the whole of mlflow",
    "mkdocs serve": "serves until it is stopped",
    "mkdocs build --strict": "test_the_site_builds does it",
    "ssh -N -L": "needs another machine",
    "wandb sync": "needs an account",
    "sdar check env openenv": "needs a server; tests/unit/envs/test_openenv.py does it",
    "sdar check env verifiers": "needs the package; tests/unit/envs/test_verifiers.py does it",
}
EXECUTED = ("list", "check", "doctor", "skills show")
"""Commands that are cheap enough to be run."""
MEANT = {
    "objective NAME": "objective grpo",
    "objective.name NAME": "objective.name grpo",
    "env NAME": "env toy",
    "FILE": "examples/my_objective.py",
    "SEED": "0",
}
"""What stands for the placeholders that are read before anything is done."""
ELSEWHERE = ("PATH", "DIRECTORY", "HOST", "my_skills", "../shared", "smollm2")
"""What stands for data that are not here: a command that names them is only read."""


def commands(page: Path) -> Iterator[tuple[str, bool]]:
    """The commands of a page, one program each, and whether they stand in running text."""
    fence, text = "", page.read_text(encoding="utf-8").replace("\\\n", " ")
    for line in text.splitlines():
        if line.startswith("```"):
            fence = "" if fence else line
            continue
        if not fence:
            yield from ((span, True) for span in re.findall(r"`(sdar [^`]+)`", line))
        indented = line.startswith("    ") and not fence
        if indented or (fence and not fence.startswith(("```python", "```toml"))):
            for part in line.strip().split(" && "):
                if PROGRAM.match(part):
                    yield shlex.join(shlex.split(part, comments=True)), False


FOUND = [
    pytest.param(*found, id=f"{page.stem}: {found[0]}")
    for page in PAGES
    for found in dict.fromkeys(commands(page))
]


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty directory with what the commands name; what their plugins register is taken back."""
    for name in ("examples", "benchmarks", "studies", "dev.py", "src"):
        if (ROOT / name).exists():
            (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "my.toml").write_text("[optim]\nlr = 1.0\n")
    tables = [f"[{env}]\nfirst = 'a'\nlater = 'b'\n" for env in ("alfworld", "webshop", "search_qa")]
    (tmp_path / "published-prompts.toml").write_text("".join(tables))
    monkeypatch.chdir(tmp_path)
    for registry in (envs, objectives):
        for known in registry:
            registry[known]  # what is found lazily is imported, so that it is kept
    tables = [registry._table for registry in (envs, objectives, oracles)]
    kept = [dict(table) for table in tables]
    yield
    for table, old in zip(tables, kept, strict=True):
        table.clear()
        table.update(old)
    for name in [name for name in sys.modules if name.startswith("sdar_plugin_")]:
        del sys.modules[name]


@pytest.mark.parametrize(("command", "in_text"), FOUND)
def test_command(command: str, in_text: bool, desk: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for placeholder, example in MEANT.items():
        command = command.replace(placeholder, example)
    words = shlex.split(command)
    while "=" in words[0]:
        words = words[1:]
    program = Path(words[0]).name
    if any(" ".join(words).startswith(known) for known in NOT_RUN):
        return
    if program == "sdar":
        check_sdar(words[1:], in_text, monkeypatch)
    elif program == "torchrun":
        check_torchrun(words[1:], monkeypatch)
    elif program.startswith("python"):
        check_script(words[1:])
    elif words[:2] == ["pip", "install"]:
        check_extras(words[2:])
    else:
        pytest.fail(f"nothing here knows how to check: {command}")


def check_sdar(words: Sequence[str], in_text: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run it, dry-run it, or have its command line read; in running text it may lack words."""
    name = words[0]
    if "--help" in words or (" ".join(words).startswith(EXECUTED) and not in_text):
        assert main(words) == 0
    elif name == "train" and "--resume" not in words and not in_text:
        if any(placeholder in word for word in words for placeholder in ELSEWHERE):
            monkeypatch.setattr("sdar.build.checks.check", lambda config: None)
        assert main([*words, *(["--dry-run"] if "--dry-run" not in words else [])]) == 0
    else:
        assert name in COMMANDS
        command = COMMANDS[name]

        def read(words: list[str], options: Any, flags: Layer) -> int:
            """What a command does first: read its words, recipes and flags."""
            spaced = "".join(f"{word} " for word in words)
            assert in_text or re.fullmatch(word_pattern(command.usage), spaced), command.usage
            recipes = [] if in_text else read_recipes(command.recipes(words))
            if command.settings:
                load_config([*recipes, flags], also=[field.name for field in fields(command.options)])
            return 0

        monkeypatch.setitem(COMMANDS, name, replace(command, run=read))  # type: ignore[arg-type]
        assert main(words) == 0


def word_pattern(usage: str) -> str:
    """What the positional words must look like, each followed by a space.

    `(a | b)` is one of several, `[WORD]` may be missing, `[WORD ...]` also repeated, `...` is any words.
    """
    pattern = ""
    for token in re.findall(r"\[.*?\]|\(.*?\)|\S+", usage):
        if token == "...":
            return pattern + r"(\S+ )*"
        choices = token.strip("[]()").replace("...", "").split("|")
        found = "|".join(re.sub("[A-Z]+", r"\\S+", choice.strip().replace(".", r"\.")) for choice in choices)
        pattern += f"(({found}) ){('*' if '...' in token else '?') if token[0] == '[' else ''}"
    return pattern


def check_torchrun(words: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """torchrun's own parser reads its part, and it starts sdar with a command that works."""
    from torch.distributed.run import get_args_parser

    args = get_args_parser().parse_args(words)
    assert args.module
    assert args.training_script == "sdar"
    check_sdar(args.training_script_args, False, monkeypatch)


def check_script(words: Sequence[str]) -> None:
    """The script exists and takes these flags."""
    if words[0] == "-m":  # a module of the repository, run from its root
        words = [f"{words[1].replace('.', '/')}.py", *words[2:]]
    script = Path(words[0])
    source = (ROOT / script).read_text(encoding="utf-8")
    if script.name == "dev.py":
        assert f'["{words[1]}"]' in source
        return
    constants = {node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant)}
    assert {word for word in words[1:] if word.startswith("--")} <= constants


def check_extras(words: Sequence[str]) -> None:
    """What is installed is sdar with an extra that it has."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for word in words:
        match = re.fullmatch(r"sdar\[(\w+)\]", word)
        assert match, word
        assert match[1] in extras


def test_set_up_and_tests_are_one_line_each() -> None:
    readme = (ROOT / "README.md").read_text()
    assert "    python3 dev.py install && .venv/bin/sdar train\n" in readme
    assert "    python3 dev.py test\n" in readme
    assert "python3 dev.py test" in (ROOT / ".ci" / "run").read_text()


def test_the_site_builds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Strictly, and its pages load nothing from the network."""
    monkeypatch.setitem(os.environ, "NO_MKDOCS_2_WARNING", "1")
    from mkdocs.commands.build import build
    from mkdocs.config import load_config as read_site

    monkeypatch.chdir(ROOT)
    build(read_site(str(ROOT / "mkdocs.yml"), site_dir=str(tmp_path)))
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > 10
    for example in ("objective", "env"):
        name = re.findall(r"class (\w+)", (ROOT / "examples" / f"my_{example}.py").read_text())[0]
        shown = next(tmp_path.glob(f"add_{example}*/index.html")).read_text()
        assert name in shown, f"the page does not include examples/my_{example}.py"
    reference = (tmp_path / "settings" / "index.html").read_text(encoding="utf-8")
    for words in ("objective.clip_low", "The ratio is clipped below", "objective = sdar", "eval.record"):
        assert words in reference, words
    notebook = (tmp_path / "first_run" / "index.html").read_text(encoding="utf-8")
    assert "tasks_per_step" in notebook, "the page shows the notebook"
    names = (tmp_path / "api" / "index.html").read_text(encoding="utf-8")
    assert [name for name in sdar.__all__ if f'id="{name.lower()}"' not in names] == []
    for page in pages:
        html = page.read_text(encoding="utf-8")
        loaded = re.findall(r'<(?:script|img|iframe)[^>]*src="?([^" >]+)', html)
        loaded += re.findall(r'<link[^>]*rel="?(?:stylesheet|preconnect|icon)[^>]*href="?([^" >]+)', html)
        assert [address for address in loaded if "//" in address] == [], page
