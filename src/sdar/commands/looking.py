"""`sdar list`, `sdar check` and `sdar doctor`."""

import importlib.util
import os
import platform
import sys
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from sdar.commands.base import (
    FAIL,
    Findings,
    TableOptions,
    configure,
    findings_sheet,
    first_line,
    runs_dir,
    show,
    source_of,
)
from sdar.errors import ConfigError, suggest
from sdar.settings.config import Layer
from sdar.settings.shipped import about, recipes
from sdar.text.sheets import Column, Sheet

if TYPE_CHECKING:
    from sdar.objectives.check import Report
    from sdar.recipe import RunConfig


def show_list(words: list[str], options: TableOptions, flags: Layer) -> int:
    """List what can be chosen by name: objectives, environments, panels, skill banks and more."""
    groups = catalogue(configure([], flags))
    for word in words:
        if word not in groups:
            raise ConfigError(f"nothing is listed under '{word}': {suggest(word, groups)}")
    columns = (Column("name", "  {}".format), Column("about", is_text=True), Column("source", is_text=True))
    listed = {group: [(name, *texts) for name, texts in groups[group]().items()] for group in words or groups}
    sheets = [Sheet(group, group, columns, rows, has_head=False) for group, rows in listed.items()]
    show(sheets, options.format)
    return 0


Rows = dict[str, tuple[str, str]]
"""Name -> one line and its source."""


TABLES = {
    "objectives": ["sdar.objectives.base"],
    "envs": ["sdar.envs.base"],
    "retrievers": ["sdar.skills.retrieval:retrievals", "sdar.envs.search_qa.spec:retrievers"],
    "teachers": ["sdar.trainer.teachers"],
    "engines": ["sdar.rollout.engines.settings"],
    "stages": ["sdar.rollout.stages"],
    "views": ["sdar.rollout.views:views.write"],
    "gates": ["sdar.ops.gates"],
    "divergences": ["sdar.ops.divergences:divergences.distance"],
    "ratios": ["sdar.ops.ratios"],
    "reductions": ["sdar.ops.reduce"],
    "estimators": ["sdar.objectives.advantages"],
    "statistics": ["sdar.objectives.advantages"],
    "trackers": ["sdar.runs.trackers"],
}
"""Group -> the modules of its registries; `module:registry.part` where the registry is not called like the
group, or where a part of each entry has the docstring."""


def catalogue(config: "RunConfig") -> dict[str, Callable[[], Rows]]:
    """What can be chosen, by group; each is gathered when asked for."""
    env = config.env
    groups: dict[str, Callable[[], Rows]] = {
        "recipes": lambda: {name: (about(file), "") for name, file in recipes().items()},
        "panels": lambda: {name: (f"{len(env.panel(name).tasks)} tasks", "") for name in env.panels()},
        "banks": banks,
    }
    return groups | {group: partial(registered, group) for group in TABLES}


def banks() -> Rows:
    """The banks of the package."""
    from sdar.skills.bank import SkillBank, builtin_banks

    return {name: (f"{len(SkillBank.load(name).skills)} skills", "") for name in builtin_banks()}


def registered(group: str) -> Rows:
    """What the docstrings of a group's registered things say."""
    found: Rows = {}
    for place in TABLES[group]:
        module, _, name = place.partition(":")
        table, _, part = (name or group).partition(".")
        registry = getattr(import_module(module), table)
        found |= rows({key: getattr(registry[key], part) if part else registry[key] for key in registry})
    return found


def rows(table: Mapping[str, Any]) -> Rows:
    """What the docstrings of registered things say."""
    return {name: (first_line(table[name]), source_of(table[name])) for name in table}


def check(words: list[str], options: TableOptions, flags: Layer) -> int:
    """Run the conformance battery on an objective, an environment or a rollout engine.

    For one of your own: sdar check objective NAME --plugins my_objective.py
    """
    if len(words) != 2 or words[0] not in ("env", "objective", "engine"):
        raise ConfigError("usage: sdar check env NAME, sdar check objective NAME, or sdar check engine NAME")
    chosen = {words[0]: {"name": words[1]}}
    layer = Layer("sdar check", {"rollout": chosen} if words[0] == "engine" else chosen)
    config = configure([layer], flags)
    if words[0] == "env":
        found = check_env(config)
    elif words[0] == "engine":
        found = check_engine(config)
    else:
        found = check_objective(config, words[1])
    failed = any(status == FAIL for status, _ in found)
    verdict = f"{words[0]} {words[1]} {'breaks its contract' if failed else 'keeps its contract'}"
    show([findings_sheet(found)], options.format, [verdict])
    return 1 if failed else 0


def check_env(config: "RunConfig") -> Findings:
    """Every broken rule."""
    from sdar.envs.check import find_problems

    return [(FAIL, problem) for problem in find_problems(config.env)]


def check_objective(config: "RunConfig", name: str) -> Findings:
    """What the battery found."""
    from sdar.objectives.check import check_named

    return findings(check_named(name, config.objective))


def check_engine(config: "RunConfig") -> Findings:
    """What the battery found."""
    config.rollout.engine.require()
    config.rollout.engine.check_split(1, {})
    from transformers.utils import logging

    from sdar.rollout.engines.check import check_engine as battery

    logging.disable_progress_bar()
    return findings(battery(config.rollout.engine, config.device))


def findings(report: "Report") -> Findings:
    """Status and text of every finding."""
    return [(f.status.upper(), f.check + (f": {f.detail}" if f.detail else "")) for f in report]


def doctor(words: list[str], options: TableOptions, flags: Layer) -> int:
    """Show what this machine has: Python, torch, devices, cores, directories, optional packages."""
    import torch

    from sdar.model.threads import limit_threads
    from sdar.runs.files import check_writable
    from sdar.runs.paths import data_dir
    from sdar.runs.versions import versions

    rows: dict[str, str] = {f"version of {name}": found for name, found in versions().items()}
    rows["machine"] = f"{platform.platform()}, {os.cpu_count()} cores, torch takes {limit_threads()} threads"
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    rows["GPUs"] = ", ".join(names) or "none: use --device cpu"
    healthy = sys.version_info >= (3, 11)
    for label, directory in (("data directory", data_dir()), ("run directory", runs_dir(flags))):
        try:
            check_writable(directory)
            rows[label] = f"{directory}, writable"
        except ConfigError as error:
            rows[label], healthy = str(error), False
    real = importlib.util.find_spec("textworld") and importlib.util.find_spec("alfworld")
    rows["official ALFWorld engine"] = "installed" if real else "not installed: pip install 'sdar[textworld]'"
    columns = (Column("what"), Column("found", is_text=True))
    show([Sheet("machine", "", columns, [*rows.items()], has_head=False)], options.format)
    return 0 if healthy else 1
