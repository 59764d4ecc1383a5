"""A hook of mkdocs: the pages of all settings and of the Python names, out of the docstrings. Offline."""

import inspect
import sys
from collections.abc import Iterator
from dataclasses import MISSING, Field
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

import sdar
from sdar.recipe import RunConfig
from sdar.settings.config import is_table, registry_of, settings_of
from sdar.settings.help import field_docs, metavar
from sdar.settings.values import flag_words


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    for name, text in (("settings.md", settings_page()), ("api.md", api_page())):
        files.append(File.generated(config, name, content=text))
    return files


def settings_page() -> str:
    """Every setting of a run, table by table, with what it takes, its default and its docstring."""
    intro = (
        "# Settings\n\nEvery setting of a run, as `--train.steps 20` on the command line, or in a recipe:\n\n"
        "```toml\n[train]\nsteps = 20\n```\n\nWhere a table holds one of several classes, `name` says which "
        "(`--objective.name grpo`, or short `--objective grpo`). This page is made from the docstrings.\n"
    )
    return "\n".join([intro, *_table("", RunConfig, "")])


def _table(path: str, schema: type, title: str) -> Iterator[str]:
    """The settings of one class, then the tables in it."""
    docs = field_docs(schema)
    known = settings_of(schema)
    own = [(name, *each) for name, each in known.items() if not is_table(each[1])]
    if title:
        yield f"\n{title}\n"
        yield f"{(inspect.getdoc(schema) or '').partition(chr(10))[0]}\n"
    if own:
        yield "| setting | takes | default | |\n|---|---|---|---|"
    for name, field, hint in own:
        default = _default(field)
        words = docs.get(field.name, "").replace("|", "\\|")
        shown = f"`{default}`" if default else ""
        yield f"| `{path}{name}` | {metavar(hint).replace('|', ' or ')} | {shown} | {words} |"
    for name, (field, hint) in known.items():
        if not is_table(hint):
            continue
        if registry := registry_of(hint):
            yield f"\n## {path}{name}\n\n{docs.get(field.name, '')}\n"
            for choice in registry:
                yield from _table(f"{path}{name}.", registry[choice], f"### {path}{name} = {choice}")
        else:
            yield from _table(f"{path}{name}.", hint, f"## {path}{name}")


def _default(field: Field[Any]) -> str:
    """The default as on the command line; empty where there is none."""
    if field.default is not MISSING:
        return " ".join(flag_words(field.default))
    return " ".join(flag_words(field.default_factory())) if field.default_factory is not MISSING else ""


def api_page() -> str:
    """What `import sdar` offers: signatures, docstrings, and of classes their methods and fields."""
    parts = ["# Python names\n\nWhat `import sdar` offers, made from the docstrings.\n"]
    for name in sdar.__all__:
        item = getattr(sdar, name)
        parts += [f"## {name}\n", _signature(f"sdar.{name}", item), _text(item)]
        if inspect.isclass(item) and not issubclass(item, Exception):
            docs = field_docs(item)
            parts += [f"- `{field}`: {words}" for field, words in docs.items()] + [""]
            for method, value in vars(item).items():
                shown = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
                if method.startswith("_") or not inspect.isfunction(shown) or not shown.__doc__:
                    continue
                head = f"`{method}`\n" if isinstance(value, property) else _signature(method, shown)
                parts += [f"### {name}.{method}\n", head, _text(shown)]
    return "\n".join(parts)


def _signature(name: str, item: Any) -> str:
    """A call as it is written, in a block."""
    try:
        return f"```python\n{name}{inspect.signature(item)}\n```\n"
    except (TypeError, ValueError):  # an enumeration has none
        return f"```python\n{name}\n```\n"


def _text(item: Any) -> str:
    return f"{inspect.getdoc(item) or ''}\n"
