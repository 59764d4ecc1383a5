"""`sdar compare`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sdar.commands.base import TableOptions, configure, show
from sdar.errors import ConfigError, SdarError, suggest
from sdar.settings.config import Layer
from sdar.text.sheets import Column, Format, write

if TYPE_CHECKING:
    from sdar.evaluation.grouping import Entry
    from sdar.evaluation.results import EvalResult

SHEETS = ("differences", "methods", "kinds", "pairs")


@dataclass(frozen=True, kw_only=True)
class CompareOptions(TableOptions):
    """Options of `sdar compare`."""

    baseline: str = ""
    """Test every method against this one (its label or one of its runs) and not every pair."""
    show: tuple[str, ...] = SHEETS
    """Which tables: differences (besides the method), methods, kinds, pairs."""
    output: Path | None = None
    """Write the tables to this file and not to the terminal."""
    curves: Path | None = None
    """Picture of the learning curves (.png or .svg); by default comparison.png among the runs."""
    out: Path = Path("runs")
    """Where runs are looked for by name."""


def compare(words: list[str], options: CompareOptions, flags: Layer) -> int:
    """Put runs or results side by side: success with intervals, what differs surely, cost, learning curves.

    What differs besides the method comes first; across budgets there is no verdict.
    Each RUN is a run (a path, a name, or latest), of which the last evaluation counts, or a JSON file written
    by sdar eval. Runs that differ only in their seed make one method, and so do those with one label
    (LABEL=RUN). All must be on the same panel.
    """
    from sdar.evaluation.compare import compare as compare_methods
    from sdar.evaluation.fairness import difference_sheet, unfair
    from sdar.evaluation.grouping import group, read_entry
    from sdar.evaluation.tables import kind_sheet, method_sheet, pair_sheet
    from sdar.runs.files import write_atomic
    from sdar.runs.segments import describe_segments as segments_of

    check_options(words, options)
    groups = group([read_entry(word, options.out) for word in words])
    methods = {label: [entry.result for entry in entries] for label, entries in groups.items()}
    pairs = compare_methods(methods, label_of(options.baseline, groups), unfair(groups))
    players, notes = experts(next(iter(groups.values()))[0])
    notes += [
        line for each in groups.values() for entry in each if entry.run for line in segments_of(entry.run)
    ]
    sheets = {
        "differences": lambda: difference_sheet(groups),
        "methods": lambda: method_sheet(methods, players, {label: cost(groups[label]) for label in groups}),
        "kinds": lambda: kind_sheet(methods, players),
        "pairs": lambda: pair_sheet(pairs),
    }
    chosen = [sheets[name]() for name in options.show]
    lines = [*(pair.sentence for pair in pairs), *notes]
    picture = draw(groups, options.curves or options.out / "comparison.png")
    if options.output is None:
        show(chosen, options.format, [*lines, *picture])
    else:
        write_atomic(options.output, write(chosen, options.format, lines) + "\n")
        show([], Format.TABLE, [str(options.output), *picture])
    return 0


def check_options(words: Sequence[str], options: CompareOptions) -> None:
    """Raise `ConfigError` for what cannot be done, before anything is read."""
    if len(words) < 2:
        raise ConfigError("sdar compare takes two or more runs or results")
    for name in options.show:
        if name not in SHEETS:
            raise ConfigError(f"--show: unknown '{name}': {suggest(name, SHEETS)}")
    if options.curves and options.curves.suffix not in (".png", ".svg"):
        raise ConfigError(f"--curves: {options.curves} does not end in .png or .svg")


def label_of(name: str, groups: Mapping[str, Sequence["Entry"]]) -> str:
    """The method that `name` is the label or a run of; `name` itself where there is none."""
    return next((label for label in groups if name in [label, *(e.name for e in groups[label])]), name)


def experts(entry: "Entry") -> tuple[dict[str, "EvalResult"], list[str]]:
    """The reference rows of the entry's environment and panel, or why there are none."""
    from sdar.evaluation.references import references

    own = {key: value for key, value in entry.settings.items() if key.startswith("env.")}
    try:
        config = configure([Layer(entry.name, nested(own))], Layer("--", {}))
        panel = config.env.find_panel(entry.result.panel)
        if panel.fingerprint != entry.result.fingerprint:
            return {}, [f"no experts' rows: {panel.name} is another panel on this machine"]
        return references(config.env, panel), []
    except SdarError as error:
        return {}, [f"no experts' rows: {error}"]


def nested(settings: Mapping[str, object]) -> dict[str, object]:
    """Flat settings as the tables that they came from."""
    tables: dict[str, object] = {}
    for key, value in settings.items():
        *path, leaf = key.split(".")
        table = tables
        for part in path:
            table = table.setdefault(part, {})  # type: ignore[assignment]
        table[leaf] = value
    return tables


def cost(entries: Sequence["Entry"]) -> dict[Column, float]:
    """What a method's runs took on average, by their metrics; nothing for results that are no runs."""
    from sdar.evaluation.tables import short
    from sdar.runs.rundir import read_metrics

    runs = [read_metrics(entry.run) for entry in entries if entry.run is not None]
    if len(runs) < len(entries):
        return {}

    def mean(name: str) -> float:
        return sum(line.get(name, 0.0) for lines in runs for line in lines) / len(runs)

    return {
        Column("sampled tokens", short): mean("rollout/tokens"),
        Column("training, min", short): mean("time/step_s") / 60,
    }


def draw(groups: Mapping[str, Sequence["Entry"]], path: Path) -> list[str]:
    """Draw the learning curves of the runs, if there are some; where, in a line."""
    from sdar.evaluation.curves import draw_comparison, results

    curves = {label: [results(e.run) for e in entries if e.run] for label, entries in groups.items()}
    found = {label: runs for label, runs in curves.items() if runs}
    return [str(draw_comparison(found, path))] if found else []
