"""`sdar data`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sdar.commands.base import IS_MAIN, TableOptions, show
from sdar.errors import ConfigError, suggest
from sdar.settings.config import Layer
from sdar.settings.values import convert
from sdar.text.sheets import Column, Sheet

if TYPE_CHECKING:
    from sdar.data.sets import ImportReport

USAGE = "sdar data download NAME, or sdar data import NAME DIRECTORY"


@dataclass(frozen=True, kw_only=True)
class DataOptions(TableOptions):
    """Options of `sdar data`."""

    out: Path | None = None
    """Where the files go; `--env.data` (for smollm2: `--model.path`) takes this directory. By default in the
    data directory."""
    everything: bool = False
    """Download also what is large or rarely needed: alfworld's goal sentences by people, all 1.18 million
    products of webshop (5 GB), the corpus of search_qa (5 GB)."""
    base: str | None = None
    """Address to download from instead of the publisher's."""
    rules: str | None = None
    """Release of ALFWorld's rules to download: 2.1.1 or 2.1.2, the newest by default."""


class DataSet(NamedTuple):
    """How a data set is brought in from a directory, and from its publisher."""

    bring: Callable[..., "ImportReport"]
    download: Callable[..., "ImportReport"]


def data(words: list[str], options: DataOptions, flags: Layer) -> int:
    """Bring official data in, by download or from a directory; prints where they are, for `--env.data`.

    NAME is alfworld, webshop or search_qa; or smollm2, a small pretrained language model, for `--model.path`.
    """
    from sdar.runs.files import check_writable
    from sdar.runs.paths import data_dir
    from sdar.runs.progress import display

    known = data_sets()
    verb, name, source = read_words(words, known)
    chosen = download_options(verb, name, options)
    out = options.out or data_dir() / name
    if source is not None and source.resolve() == out.resolve():
        raise ConfigError(f"{source} cannot be imported into itself: choose another directory with --out")
    check_writable(out)
    with display(1, main=IS_MAIN) as shown:
        if source is not None:
            report = known[name].bring(source, out, lambda done, total: shown.phase("importing", done, total))
        else:
            report = known[name].download(
                out,
                on_progress=lambda done, total: shown.phase("MiB", done >> 20, max(done, total) >> 20),
                **chosen,
            )
    columns = (Column("what"), Column("count", "{:,}".format))
    counts = Sheet("counts", "", columns, [*report.counts.items()], has_head=False)
    show([counts], options.format, [*report.notes, str(out)])
    return 0


def data_sets() -> Mapping[str, DataSet]:
    """What can be brought in, by the name of its environment or model."""
    from sdar.data.alfworld_data import download_alfworld, import_alfworld
    from sdar.data.language_models import download_smollm2, import_smollm2
    from sdar.data.search_qa_data import download_search_qa, import_search_qa
    from sdar.data.webshop_data import download_webshop, import_webshop

    return {
        "alfworld": DataSet(import_alfworld, download_alfworld),
        "search_qa": DataSet(import_search_qa, download_search_qa),
        "smollm2": DataSet(import_smollm2, download_smollm2),
        "webshop": DataSet(import_webshop, download_webshop),
    }


def read_words(words: list[str], known: Mapping[str, DataSet]) -> tuple[str, str, Path | None]:
    """What to do, with which data set, and the directory to import. Raises `ConfigError`."""
    kinds = (("action", ("download", "import")), ("data set", known))
    for word, (what, choices) in zip(words, kinds, strict=False):
        if word not in choices:
            raise ConfigError(f"unknown {what} '{word}': {suggest(word, choices)} (usage: {USAGE})")
    if len(words) < 2 or len(words) != (2 if words[0] == "download" else 3):
        raise ConfigError(f"usage: {USAGE}")
    return words[0], words[1], Path(words[2]) if words[2:] else None


def download_options(verb: str, name: str, options: DataOptions) -> dict[str, Any]:
    """What the download is told beside its place. Raises `ConfigError` for an option that it cannot use."""
    from sdar.envs.alfworld.text import Rules

    given: dict[str, Any] = {"everything": options.everything or None, "base": options.base}
    given["rules"] = None if options.rules is None else convert(Rules, options.rules, "--rules")
    chosen = {option: value for option, value in given.items() if value is not None}
    for option in chosen:
        if verb != "download" or name == "smollm2" or (option == "rules" and name != "alfworld"):
            raise ConfigError(f"--{option} means nothing to sdar data {verb} {name}")
    return chosen
