"""Tables of values, and how they are written: for a terminal, as JSON, CSV, Markdown or LaTeX. No torch.

A sheet holds values; how they look is decided when it is written. JSON and CSV have the bare numbers, rates
as shares of 1 and an interval (a named tuple, its value first) in its parts; the other formats show what
people read. `sdar.text.terminal` fits them to a terminal.
"""

import csv
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console


class Format(StrEnum):
    """How tables are written."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    MARKDOWN = "markdown"
    LATEX = "latex"


@dataclass(frozen=True)
class Column:
    """Its head, and how a value looks."""

    name: str
    show: Callable[[Any], str] = str
    is_text: bool = False
    """Words, which stand on the left and may wrap."""

    def text(self, value: Any) -> str:
        """A cell; nothing where there is no value."""
        return "" if value is None else self.show(value)

    @property
    def plain(self) -> str:
        """The head beside bare numbers, which have no unit.

        >>> Column("success, %").plain
        'success'
        """
        return self.name.replace(", %", "").replace(", points", "")


@dataclass(frozen=True)
class Sheet:
    """A table of values; the first column is text."""

    name: str
    """What programs call it."""
    title: str
    """The line above it; empty for none."""
    columns: Sequence[Column]
    rows: Sequence[Sequence[Any]]
    has_head: bool = True
    """Whether people need the heads to read it."""

    def cells(self) -> list[list[str]]:
        """The head and all rows as people read them."""
        head = [column.name for column in self.columns]
        return [head, *([c.text(v) for c, v in zip(self.columns, row, strict=True)] for row in self.rows)]


def write(
    sheets: Sequence[Sheet], format: Format, lines: Sequence[str] = (), console: "Console | None" = None
) -> str:
    """All sheets in one text, and the lines that people read below them.

    JSON is one object: the rows of each sheet under its name, and the lines under `notes`. CSV and LaTeX have
    no place for the lines. A console that is a terminal decides the width of tables.
    """
    if format is Format.JSON:
        return json.dumps({sheet.name: _records(sheet) for sheet in sheets} | {"notes": list(lines)})
    if format is Format.TABLE:
        from sdar.text.terminal import as_tables

        texts = as_tables([sheet for sheet in sheets if sheet.rows], console)
    else:
        texts = [_WRITERS[format](sheet) for sheet in sheets if sheet.rows]
    mark = {Format.TABLE: "", Format.MARKDOWN: "- "}.get(format)
    if lines and mark is not None:
        texts.append("\n".join(mark + line for line in lines))
    apart = format is not Format.TABLE or all(sheet.has_head for sheet in sheets)
    return ("\n\n" if apart else "\n").join(texts)


# ---- for programs and papers


def _spread(value: Any) -> dict[str, Any]:
    """The parts of a value by the ending of their head: an interval has three."""
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        first, *rest = value._fields
        return {"": getattr(value, first)} | {f" {name}": getattr(value, name) for name in rest}
    return {"": value}


def _records(sheet: Sheet) -> list[dict[str, Any]]:
    """One object a row; what is not known is null."""
    rows = [zip(sheet.columns, row, strict=True) for row in sheet.rows]
    return [
        {c.plain + end: _bare(v) for c, value in row for end, v in _spread(value).items()} for row in rows
    ]


def _bare(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def as_csv(sheet: Sheet) -> str:
    """Bare numbers with a head, no title."""
    ends: list[list[str]] = []
    for i in range(len(sheet.columns)):
        ends.append(max(([*_spread(row[i])] for row in sheet.rows), key=len, default=[""]))
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([c.plain + end for c, parts in zip(sheet.columns, ends, strict=True) for end in parts])
    for row in sheet.rows:
        found = [(_spread(value), parts) for value, parts in zip(row, ends, strict=True)]
        writer.writerow([spread.get(end) for spread, parts in found for end in parts])
    return file.getvalue().rstrip("\n")


def as_markdown(sheet: Sheet) -> str:
    """A pipe table under its title."""
    head, *rows = ([cell.replace("|", "\\|") for cell in row] for row in sheet.cells())
    rule = ["---" if i == 0 or column.is_text else "---:" for i, column in enumerate(sheet.columns)]
    title = [f"**{sheet.title}**", ""] if sheet.title else []
    return "\n".join([*title, *(f"| {' | '.join(row)} |" for row in (head, rule, *rows))])


_LATEX = str.maketrans(
    {c: f"\\{c}" for c in "&%$#_{}"} | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}"}
)


def as_latex(sheet: Sheet) -> str:
    """A booktabs table; the title is a comment."""
    head, *rows = ([cell.translate(_LATEX) for cell in row] for row in sheet.cells())
    sides = ["l" if i == 0 or column.is_text else "r" for i, column in enumerate(sheet.columns)]
    line = " & ".join
    return "\n".join(
        [
            f"% {sheet.title or sheet.name}",
            rf"\begin{{tabular}}{{{''.join(sides)}}}",
            r"\toprule",
            rf"{line(head)} \\",
            r"\midrule",
            *(rf"{line(row)} \\" for row in rows),
            r"\bottomrule",
            r"\end{tabular}",
        ]
    )


_WRITERS: Mapping[Format, Callable[[Sheet], str]] = {
    Format.CSV: as_csv,
    Format.MARKDOWN: as_markdown,
    Format.LATEX: as_latex,
}
