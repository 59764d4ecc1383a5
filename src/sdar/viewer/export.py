"""The page as a directory of plain files, which opens from a disk or from any static server.

A page from a disk may load scripts, but neither modules nor data. So the modules are joined into one script,
and each answer of the library becomes a script that hands its object over.
"""

import json
import os
import re
import shutil
from pathlib import Path

from sdar.errors import ConfigError
from sdar.runs.files import storing, write_atomic
from sdar.viewer.library import Library
from sdar.viewer.server import assets

_IMPORT = re.compile(r'^import (\{[^}]*\}) from "\./([\w-]+\.js)";\n', re.M)
_EXPORT = re.compile(r"^export ((?:async )?(?:function|class|const) (\w+))", re.M)


def export(library: Library, out: Path) -> Path:
    """Write the page with all episodes into `out`, which must be new or empty; the page's path."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out} is not empty: give --export a new directory")
    partial = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        with storing(out):
            _write_page(library, partial)
            partial.replace(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return out / "index.html"


def _write_page(library: Library, out: Path) -> None:
    """Everything, into a directory that is nobody's yet: a full disk leaves no half export behind."""
    page = assets()
    html = page["index.html"].decode()
    html = html.replace('<html lang="en">', '<html lang="en" data-exported>')
    html = html.replace('<script type="module" src="app.js">', '<script defer src="app.js">')
    modules = {name: data.decode() for name, data in page.items() if name.endswith(".js")}
    write_atomic(out / "app.js", bundle(modules, "app.js"))
    for name in ("style.css", "icon.svg"):
        write_atomic(out / name, page[name])
    _write_data(library, out)
    write_atomic(out / "index.html", html)


def bundle(modules: dict[str, str], entry: str) -> str:
    """One classic script that does what the ES modules do; each is a function that returns its exports.

    Modules import names only from one another (`import { a, b } from "./c.js";` at the start of a line) and
    export declarations only.
    """
    ordered: list[str] = []

    def visit(name: str) -> None:
        if name not in ordered:
            for _, imported in _IMPORT.findall(modules[name]):
                visit(imported)
            ordered.append(name)

    visit(entry)
    parts = ['"use strict";', "const modules = {};"]
    for name in ordered:
        body = _IMPORT.sub(r'const \1 = modules["\2"];\n', modules[name])
        names = ", ".join(exported for _, exported in _EXPORT.findall(body))
        body = _EXPORT.sub(r"\1", body)
        parts.append(f'modules["{name}"] = (() => {{\n{body}\nreturn {{ {names} }};\n}})();')
    return "\n".join(parts) + "\n"


def _write_data(library: Library, out: Path) -> None:
    """Every answer of the library, each in a script of its own."""
    library.read()
    keys = ["runs", "state"]
    for run, index in library.indexes.items():
        keys += [f"run/{run}/{part}" for part in ("episodes", "metrics", "panels")]
        kept = (row for row in index.rows if row["place"] is not None)
        keys += [f"run/{run}/episode/{row['part']}/{row['step']}/{row['place']}" for row in kept]
    for key in keys:
        text = f"receive({json.dumps(key)}, {json.dumps(library.answer(key))});\n"
        file = out / "data" / f"{key.replace('/', '-')}.js"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
