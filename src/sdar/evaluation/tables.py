"""Tables of results: what rows and columns there are, and how rates and their intervals look. No torch."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sdar.evaluation.compare import Comparison, Methods, success
from sdar.evaluation.results import EvalResult, Interval, difference
from sdar.text.sheets import Column, Sheet

References = Mapping[str, EvalResult]
"""Expert -> its result on the panel."""
_SUCCESS = ("success", "success_low", "success_high", "success_macro")


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
    return Sheet("methods", title, columns, rows)


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
    return Sheet("kinds", "success by kind of task, %", columns, rows)


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
    return Sheet(
        "gain", f"success on {before.panel}, {before.samples} x each task, 95 % intervals", columns, rows
    )


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
    return Sheet("skills", title, columns, [row(result) for result in results])


def pair_sheet(comparisons: Sequence[Comparison]) -> Sheet:
    """One row for each pair of methods."""
    columns = [
        Column("pair"),
        Column("difference, points", points),
        Column("p", "{:.2g}".format),
        Column("p, Holm", "{:.2g}".format),
        Column("test", is_text=True),
    ]
    rows = [(f"{c.a} - {c.b}", c.difference, c.p, c.p_holm, c.test) for c in comparisons]
    return Sheet("pairs", "differences in success", columns, rows)


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
