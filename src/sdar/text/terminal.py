"""Tables on a terminal: aligned, and within its width.

No number is ever split: heads and texts wrap, and a table that is too wide all the same goes on below, under
its first column.
"""

import io
from collections.abc import Iterator, Sequence
from dataclasses import replace

from rich.cells import cell_len
from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

from sdar.text.sheets import Column, Sheet

NO_EDGE = 1000
"""Columns of what is no terminal: there each row is one line."""
LEAST, MOST = 16, 40
"""Columns below which no text is squeezed; and of a long word above which it is broken."""
_GAP = 2


def as_tables(sheets: Sequence[Sheet], console: Console | None = None) -> list[str]:
    """One text for each sheet, as wide as the console where that is a terminal."""
    console = console or Console(file=io.StringIO())
    console.width = console.width if console.is_terminal else NO_EDGE
    return [as_table(sheet, console) for sheet in sheets]


def as_table(sheet: Sheet, console: Console) -> str:
    """Aligned columns within the console's width."""
    parts = [_render(part, console) for part in _split(sheet, console.width)]
    return "\n".join([*([_print(console, Text(sheet.title, "bold"))] if sheet.title else []), *parts])


def _split(sheet: Sheet, width: int) -> Iterator[Sheet]:
    """The sheet, or side by side parts of it that fit, each with the first column."""
    least = [_least(i, column, sheet) for i, column in enumerate(sheet.columns)]
    places, used = [0], least[0]
    for i in range(1, len(least)):
        if len(places) > 1 and used + _GAP + least[i] > width:
            yield _part(sheet, places)
            places, used = [0], least[0]
        places.append(i)
        used += _GAP + least[i]
    yield _part(sheet, places)


def _part(sheet: Sheet, places: Sequence[int]) -> Sheet:
    columns = [sheet.columns[i] for i in places]
    return replace(sheet, columns=columns, rows=[[row[i] for i in places] for row in sheet.rows])


def _least(place: int, column: Column, sheet: Sheet) -> int:
    """The width below which a column cannot go."""
    cells = [column.text(row[place]) for row in sheet.rows]
    head = _longest([column.name]) if sheet.has_head else 0
    if place == 0:
        return max(head, min(MOST, _longest(cells)))
    return min(LEAST, max(head, _longest(cells))) if column.is_text else max([head, *map(cell_len, cells)])


def _longest(texts: Sequence[str]) -> int:
    return max((cell_len(word) for text in texts for word in text.split()), default=0)


def _render(sheet: Sheet, console: Console) -> str:
    head, *rows = sheet.cells()
    widths = _widths(sheet, console.width)
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), show_header=sheet.has_head)
    for i, (column, width) in enumerate(zip(sheet.columns, widths, strict=True)):
        justify: JustifyMethod = "left" if i == 0 or column.is_text else "right"
        table.add_column(Text(head[i]), justify=justify, width=width, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    return _print(console, table)


def _widths(sheet: Sheet, width: int) -> list[int]:
    """Columns for each column: what it would like where there is room; texts share what is left else."""
    head, *rows = sheet.cells()
    shown = [head, *rows] if sheet.has_head else rows
    wanted = [max(cell_len(row[i]) for row in shown) for i in range(len(head))]
    if sum(wanted) + _GAP * (len(wanted) - 1) <= width:
        return wanted
    found = [_least(i, column, sheet) for i, column in enumerate(sheet.columns)]
    found[0] = min(found[0], width)
    for _ in range(width - sum(found) - _GAP * (len(found) - 1)):
        neediest = max(range(len(found)), key=lambda i: wanted[i] - found[i])
        found[neediest] += 1
    return found


def _print(console: Console, item: Table | Text) -> str:
    with console.capture() as captured:
        console.print(item)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())
