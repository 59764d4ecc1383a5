"""Tables of results, as text for the terminal, Markdown, CSV or LaTeX. No torch.

A sheet holds values; how they look is decided when it is written. CSV has the bare numbers, rates as shares
of 1 and an interval in three columns; the other formats show percent.
"""

import csv
import io
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sdar.evaluation.compare import Comparison, Methods, success
from sdar.evaluation.results import EvalResult, Interval, difference

References = Mapping[str, EvalResult]
"""Expert -> its result on the panel."""
_SUCCESS = ("success", "success_low", "success_high", "success_macro")


@dataclass(frozen=True)
class Column:
    """Its head, and how a value looks."""

    name: str
    show: Callable[[Any], str] = str

    def text(self, value: Any) -> str:
        """A cell; nothing where there is no value."""
        return "" if value is None else self.show(value)


@dataclass(frozen=True)
class Sheet:
    """A table of values; the first column is text."""

    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Any]]

    def cells(self) -> list[list[str]]:
        """The head and all rows as people read them."""
        head = [column.name for column in self.columns]
        return [head, *([c.text(v) for c, v in zip(self.columns, row, strict=True)] for row in self.rows)]


# ---- what there is to show


def method_sheet(
    methods: Methods, references: References, extra: Mapping[str, Mapping[Column, float]] | None = None
) -> Sheet:
    """One row for each method, then one for each reference; `extra`: further columns of a method."""
    first = next(iter(methods.values()))[0]
    summaries = {label: mean_summary(results) for label, results in methods.items()}
    names = [name for name in dict.fromkeys(itertools.chain(*summaries.values())) if name not in _SUCCESS]
    passes = sorted({k for results in methods.values() for k in results[0].pass_at_k if k > 1})
    more = list(dict.fromkeys(column for columns in (extra or {}).values() for column in columns))
    columns = [
        Column("method"),
        Column("seeds"),
        Column("success, %", percent),
        Column("mean of kinds, %", percent),
        *(
            Column(f"{name}, %", percent) if name in EvalResult.SHARES else Column(name, short)
            for name in names
        ),
        *(Column(f"pass@{k}, %", percent) for k in passes),
        *more,
    ]

    def row(label: str, results: Sequence[EvalResult], seeds: int | None) -> list[Any]:
        values = mean_summary(results)
        at = [_mean([result.pass_at_k.get(k) for result in results]) for k in passes]
        own = (extra or {}).get(label, {})
        rest = [*(values.get(name) for name in names), *at, *(own.get(column) for column in more)]
        return [label, seeds, success(results), values["success_macro"], *rest]

    rows = [row(label, results, len(results)) for label, results in methods.items()]
    rows += [row(label, [result], None) for label, result in references.items()]
    title = f"{first.panel}: {len(first.outcomes)} tasks, 95 % intervals"
    return Sheet(title, columns, rows)


def kind_sheet(methods: Methods, references: References) -> Sheet:
    """Success by kind of task: one row for each kind, one column for each method and reference."""
    found = {**methods, **{name: [result] for name, result in references.items()}}
    first = next(iter(methods.values()))[0]
    columns = [Column("task kind"), Column("tasks"), *(Column(name, percent) for name in found)]
    rows: list[list[Any]] = []
    for kind in first.by_kind:
        parts = [[result.of_kind(kind) for result in results] for results in found.values()]
        rows.append([kind, len(parts[0][0].outcomes), *map(success, parts)])
    rows.append(["all", len(first.outcomes), *map(success, found.values())])
    means = [mean_summary(results)["success_macro"] for results in found.values()]
    rows.append(["mean of kinds", None, *means])
    return Sheet("success by kind of task, %", columns, rows)


def gain_sheet(before: EvalResult, after: EvalResult, references: References) -> Sheet:
    """What training brought, by kind of task and over all, paired task by task; the references beside it."""
    columns = [
        Column("task kind"),
        Column("tasks"),
        Column("before, %", percent),
        Column("trained, %", percent),
        Column("gain, points", points),
        *(Column(f"{name}, %", percent) for name in references),
    ]
    every = [before, after, *references.values()]

    def row(name: str, parts: Sequence[EvalResult]) -> list[Any]:
        old, new, *others = parts
        rates = [other.success.value for other in others]
        return [name, len(old.outcomes), old.success, new.success, difference(old, new), *rates]

    rows = [row(kind, [result.of_kind(kind) for result in every]) for kind in before.by_kind]
    means = [result.macro for result in every]
    rows += [row("all", every), ["mean of kinds", None, *means[:2], means[1] - means[0], *means[2:]]]
    return Sheet(f"success on {before.panel}, {before.samples} x each task, 95 % intervals", columns, rows)


def content_sheet(results: Sequence[EvalResult]) -> Sheet:
    """What the content of skills is worth: success with each kind of them in the prompt, paired with none."""
    plain = next(result for result in results if not result.skills)
    columns = [
        Column("skills in the prompt"),
        Column("success, %", percent),
        Column("more than without, points", points),
        Column("turns", short),
        Column("invalid, %", percent),
    ]

    def row(result: EvalResult) -> list[Any]:
        gain = difference(plain, result) if result.skills else None
        summary = result.summary
        content = result.skills.partition(" ")[2] or result.skills or "none"
        return [content, result.success, gain, summary["turns"], summary["invalid"]]

    title = f"{plain.panel}: {len(plain.outcomes)} tasks, {plain.samples} x each, 95 % intervals"
    return Sheet(title, columns, [row(result) for result in results])


def pair_sheet(comparisons: Sequence[Comparison]) -> Sheet:
    """One row for each pair of methods."""
    columns = [
        Column("pair"),
        Column("difference, points", points),
        Column("p", "{:.2g}".format),
        Column("p, Holm", "{:.2g}".format),
        Column("test"),
    ]
    rows = [(f"{c.a} - {c.b}", c.difference, c.p, c.p_holm, c.test) for c in comparisons]
    return Sheet("differences in success", columns, rows)


def mean_summary(results: Sequence[EvalResult]) -> dict[str, float]:
    """The summaries of all seeds, averaged."""
    names = results[0].summary
    return {name: float(np.mean([result.summary[name] for result in results])) for name in names}


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if len(known) == len(values) else None


# ---- how values look


def percent(rate: Interval | float) -> str:
    """A rate, with its interval where it has one."""
    if not isinstance(rate, Interval):
        return f"{100 * rate:.1f}"
    return f"{100 * rate.value:.1f} [{100 * rate.low:.1f}, {100 * rate.high:.1f}]"


def points(gain: Interval | float) -> str:
    """A difference of rates, with its interval where it has one."""
    if not isinstance(gain, Interval):
        return f"{100 * gain:+.1f}"
    return f"{100 * gain.value:+.1f} [{100 * gain.low:+.1f}, {100 * gain.high:+.1f}]"


def short(value: float) -> str:
    """A number with three digits; large ones whole.

    >>> short(0.12345), short(1234567.8)
    ('0.123', '1,234,568')
    """
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


# ---- how sheets are written


def as_text(sheet: Sheet) -> str:
    """Aligned columns."""
    cells = sheet.cells()
    widths = [max(len(row[i]) for row in cells) for i in range(len(sheet.columns))]
    lines = [
        "  ".join(cell.rjust(width) if i else cell.ljust(width) for i, (cell, width) in enumerate(pairs))
        for pairs in (list(zip(row, widths, strict=True)) for row in cells)
    ]
    return "\n".join(line.rstrip() for line in [sheet.title, *lines])


def as_markdown(sheet: Sheet) -> str:
    """A pipe table under its title."""
    head, *rows = ([cell.replace("|", "\\|") for cell in row] for row in sheet.cells())
    rule = ["---", *("---:" for _ in head[1:])]
    return "\n".join([f"**{sheet.title}**", "", *(f"| {' | '.join(row)} |" for row in (head, rule, *rows))])


def as_csv(sheet: Sheet) -> str:
    """Bare numbers with a head, no title."""
    spread = [any(isinstance(row[i], Interval) for row in sheet.rows) for i in range(len(sheet.columns))]
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    head = [column.name.replace(", %", "").replace(", points", "") for column in sheet.columns]
    ends = ("", " low", " high")
    writer.writerow(
        [n + end for n, wide in zip(head, spread, strict=True) for end in ends[: 3 if wide else 1]]
    )
    for row in sheet.rows:
        parts = [
            value if isinstance(value, Interval) else [value, None, None][: 3 if wide else 1]
            for value, wide in zip(row, spread, strict=True)
        ]
        writer.writerow([part for values in parts for part in values])
    return file.getvalue().rstrip("\n")


_LATEX = str.maketrans(
    {c: f"\\{c}" for c in "&%$#_{}"} | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}"}
)


def as_latex(sheet: Sheet) -> str:
    """A booktabs table; the title is a comment."""
    head, *rows = ([cell.translate(_LATEX) for cell in row] for row in sheet.cells())
    line = " & ".join
    return "\n".join(
        [
            f"% {sheet.title}",
            rf"\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}",
            r"\toprule",
            rf"{line(head)} \\",
            r"\midrule",
            *(rf"{line(row)} \\" for row in rows),
            r"\bottomrule",
            r"\end{tabular}",
        ]
    )


WRITERS: Mapping[str, Callable[[Sheet], str]] = {
    "terminal": as_text,
    "markdown": as_markdown,
    "csv": as_csv,
    "latex": as_latex,
}
