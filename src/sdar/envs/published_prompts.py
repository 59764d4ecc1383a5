"""Reads the prompt templates out of a checkout of the published code (arXiv 2605.15155).

They are the plain texts that a few modules assign to names. The modules are parsed and never imported or run.
Nothing outside the checkout is read, no link out of it is followed, and what is no such text is an error.
"""

import ast
import warnings
from collections.abc import Mapping
from pathlib import Path

from sdar.envs.prompt_files import LARGEST, Templates
from sdar.errors import DataError, suggest
from sdar.runs.files import explain, leaves

FOLDER = Path("agent_system", "environments", "prompts")
MODULES: Mapping[str, tuple[str, str, str]] = {
    "alfworld": ("alfworld.py", "ALFWORLD_TEMPLATE_NO_HIS", "ALFWORLD_TEMPLATE"),
    "webshop": ("webshop.py", "WEBSHOP_TEMPLATE_NO_HIS", "WEBSHOP_TEMPLATE"),
    "search_qa": ("search.py", "SEARCH_TEMPLATE_NO_HIS", "SEARCH_TEMPLATE"),
}
"""Environment -> module, and the names of the templates without and with history."""


def import_prompts(checkout: Path) -> dict[str, Templates]:
    """The templates of every environment. Raises `DataError` that names the file and what it lacks."""
    if not checkout.is_dir():
        raise DataError(f"{checkout} is no directory: name the top of a checkout of the published code")
    found = {}
    for env, (module, *names) in MODULES.items():
        file = checkout / FOLDER / module
        texts = _texts(checkout, file)
        missing = next((name for name in names if name not in texts), None)
        if missing:
            near = suggest(missing, texts, f"it is no {FOLDER / module} as published")
            raise DataError(f"{file} assigns no text to {missing}: {near}")
        first, later = (texts[name] for name in names)
        found[env] = Templates.of(env, {"first": first, "later": later}, str(file))
    return found


def _texts(checkout: Path, file: Path) -> dict[str, str]:
    """Name -> the plain text that a module assigns to it at its top level, the last one if there are more."""
    texts: dict[str, str] = {}
    try:
        for node in _parse(_read(checkout, file)).body:
            if not isinstance(node, ast.Assign | ast.AnnAssign):
                continue
            value = node.value.value if isinstance(node.value, ast.Constant) else None
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                if isinstance(target, ast.Name):
                    texts.pop(target.id, None)
                    if isinstance(value, str):
                        value.encode()  # half of a pair of surrogates is no text, and a ValueError
                        texts[target.id] = value
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise DataError(f"{file} cannot be parsed as Python: {reason}") from error
    return texts


def _parse(source: bytes) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(source.decode("utf-8-sig"))


def _read(checkout: Path, file: Path) -> bytes:
    """The bytes of an ordinary file inside the checkout, which is not too large."""
    try:
        if not file.is_file():
            raise DataError(f"{file} is not there: name the top of a checkout, in which {FOLDER} is")
        if leaves(checkout, file):
            raise DataError(f"{file} is a link to a file outside of {checkout}: put the file itself there")
        with file.open("rb") as opened:
            source = opened.read(LARGEST + 1)
    except OSError as error:
        raise DataError(explain(error, file)) from error
    if len(source) > LARGEST:
        raise DataError(f"{file} has more than {LARGEST:,} bytes, which no module with prompts has")
    return source
