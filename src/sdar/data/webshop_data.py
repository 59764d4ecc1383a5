"""Brings the official WebShop files in: from a directory, or from where their authors keep them.

Both write the product files without what the shop never reads (pictures, sellers, ...), and tag the nouns of
the titles where spaCy is installed.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sdar.data.download import download
from sdar.data.sets import ImportReport, Progress
from sdar.envs.webshop.catalogue import open_catalogue, read_json
from sdar.envs.webshop.goals import Goals
from sdar.envs.webshop.nouns import installed_model, write_noun_table
from sdar.errors import DataError
from sdar.runs.files import write_atomic

DRIVE = "https://drive.usercontent.google.com/download?export=download&confirm=t&id="
SMALL = {
    "items_shuffle_1000.json": "1EgHdxQ_YxqIQlvvq5iKlCrkEKR6-j0Ib",
    "items_ins_v2_1000.json": "1IduG0xl544V_A_jv3tHXC0kyFi7PnyBu",
}
"""The products of published agents: file name -> where WebShop's authors keep it."""
ALL = {
    "items_shuffle.json": "1A2whVgOO0euk5O13n2iYDM0bQRkkRduB",
    "items_ins_v2.json": "1s2j6NgHljiZzQNL3veZaAiyW_qDEgBNi",
}
"""All 1.18 million products; 5.2 GB, and many times that in memory."""
HUMAN = {"items_human_ins.json": "14Kb5SPBk_jfdLZ_CDBNitW98QLDlKR5O"}
"""Instructions by people."""

_READ = (
    "asin", "name", "full_description", "small_description", "pricing", "product_category", "category",
    "query",
)  # fmt: skip
_BY_HAND = "get it with a browser and use `sdar data import webshop DIRECTORY`"


def import_webshop(source: Path, target: Path, on_progress: Progress | None = None) -> ImportReport:
    """Bring every pair of product files in `source`, and instructions by people, into `target`.

    Raises:
        DataError: The files are missing or damaged.
    """
    pairs = [path for path in sorted(source.glob("items_shuffle*.json")) if _partner(path).is_file()]
    if not pairs:
        raise DataError(f"no items_shuffle*.json with its items_ins_v2*.json in {source}")
    target.mkdir(parents=True, exist_ok=True)
    titles: set[str] = set()
    for done, path in enumerate(pairs, 1):
        items = [_slim(item) for item in read_json(path, list)]
        titles.update(item["name"] for item in items)
        _write(target / path.name, items)
        _write(target / _partner(path).name, read_json(_partner(path), dict))
        if on_progress:
            on_progress(done, len(pairs))
    for path in sorted(source.glob("items_human_ins*.json"))[:1]:
        _write(target / "items_human_ins.json", read_json(path, dict))
    if installed_model():
        write_noun_table(titles, target)
    return _report(target, min(pairs, key=lambda path: path.stat().st_size).stem)


def download_webshop(
    target: Path,
    *,
    everything: bool = False,
    base: str = DRIVE,
    pause: float = 1.0,
    on_progress: Progress | None = None,
) -> ImportReport:
    """Download the 1,000 products (or `everything`) and people's instructions, and bring them into `target`.

    What arrives is kept in `target/.download` until it is in place, so a call that was cut continues;
    `source.json` records where the files came from.

    Raises:
        DataError: The download failed for good, or what arrived is not what it should be.
    """
    folder = target / ".download"
    sources = []
    for name, key in ((ALL if everything else SMALL) | HUMAN).items():
        path = folder / name
        digest = download(f"{base}{key}", path, pause=pause, on_progress=on_progress)
        try:
            read_json(path, list if name.startswith("items_shuffle") else dict)
        except DataError:
            path.unlink()
            raise DataError(f"what {base}{key} sends is not {name}: {_BY_HAND}") from None
        sources.append({"file": name, "url": f"{base}{key}", "sha256": digest})
    report = import_webshop(folder, target)
    _write(target / "source.json", {"sources": sources, "counts": report.counts})
    shutil.rmtree(folder)
    return report


def _partner(path: Path) -> Path:
    """The file with the attributes of a file of products."""
    return path.with_name(path.name.replace("items_shuffle", "items_ins_v2"))


def _slim(item: Mapping[str, Any]) -> dict[str, Any]:
    """What the shop reads of a product."""
    try:
        options = item["customization_options"] or {}
        values = {
            name: None if content is None else [{"value": value["value"]} for value in content]
            for name, content in options.items()
        }
        return {name: item[name] for name in _READ if name in item} | {"customization_options": values}
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"a product is not as WebShop's files have it: {error!r}") from error


def _report(directory: Path, stem: str) -> ImportReport:
    """Count what the catalogue finds, which also proves that it can be read."""
    open_catalogue.cache_clear()
    number = stem.rpartition("_")[2]
    catalogue = open_catalogue(directory, int(number) if number.isdigit() else 0)
    goals, human = Goals(catalogue, 0), Goals(catalogue, 0, human=True)
    tagger = installed_model()
    nouns = f"tagged with spaCy's {tagger}" if tagger else "guessed, because spaCy's English model is missing"
    counts = {"products": len(catalogue), "goals": len(goals), "goals by people": len(human)}
    return ImportReport(counts, [f"the nouns of the titles are {nouns}"])


def _write(path: Path, content: object) -> None:
    write_atomic(path, json.dumps(content, ensure_ascii=False))
