"""Puts a notebook with its outputs into the page that names it, when mkdocs builds the site."""

import re
from pathlib import Path
from typing import Any

from nbconvert import MarkdownExporter

HERE = Path(__file__).parent


def on_page_markdown(markdown: str, **_: Any) -> str:
    """A line `{notebook NAME.ipynb}` becomes the notebook."""
    return re.sub(r"^\{notebook (\w+\.ipynb)\}$", lambda m: _rendered(HERE / m[1]), markdown, flags=re.M)


def _rendered(file: Path) -> str:
    return str(MarkdownExporter().from_filename(str(file))[0])
