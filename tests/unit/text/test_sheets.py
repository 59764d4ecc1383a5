"""Tables: every format says the same, and on a terminal nothing is cut or split."""

import csv
import io
import json
import math
from typing import NamedTuple

import pytest
from rich.console import Console

from sdar.text.sheets import Column, Format, Sheet, write


class Range(NamedTuple):
    value: float
    low: float
    high: float


def show(rate: Range) -> str:
    return f"{rate.value:.1f} [{rate.low:.1f}, {rate.high:.1f}]"


SHEET = Sheet(
    "rates",
    "a title",
    [Column("a|b"), Column("x_1, %", show), Column("words", is_text=True), Column("n", "{:,}".format)],
    [("m&m", Range(0.5, 0.25, 0.75), "some long words " * 4, 1234), ("n", None, "few", math.nan)],
)


def on_terminal(sheet: Sheet, width: int) -> list[str]:
    console = Console(width=width, force_terminal=True, color_system=None, file=io.StringIO())
    return write([sheet], Format.TABLE, console=console).splitlines()


def test_markdown_and_latex_escape_their_markup() -> None:
    text = write([SHEET], Format.MARKDOWN, ["one line"]).splitlines()
    assert text[:4] == ["**a title**", "", "| a\\|b | x_1, % | words | n |", "| --- | ---: | --- | ---: |"]
    assert text[4].startswith("| m&m | 0.5 [0.2, 0.8] | some")
    assert text[-1] == "- one line"
    latex = write([SHEET], Format.LATEX, ["one line"])
    assert r"a|b & x\_1, \% & words & n \\" in latex
    assert r"\begin{tabular}{lrlr}" in latex
    assert "one line" not in latex


def test_csv_and_json_have_bare_numbers() -> None:
    first, second = csv.DictReader(io.StringIO(write([SHEET], Format.CSV)))
    assert (first["x_1"], first["x_1 low"], first["n"]) == ("0.5", "0.25", "1234")
    assert (second["x_1"], second["x_1 low"]) == ("", "")
    found = json.loads(write([SHEET], Format.JSON, ["one line"]))
    assert found["notes"] == ["one line"]
    assert found["rates"][0] | {"words": ""} == {
        "a|b": "m&m", "x_1": 0.5, "x_1 low": 0.25, "x_1 high": 0.75, "words": "", "n": 1234,
    }  # fmt: skip
    assert found["rates"][1]["n"] is None


@pytest.mark.parametrize("width", [20, 30, 47, 60, 100])
def test_a_terminal_never_splits_a_number(width: int) -> None:
    lines = on_terminal(SHEET, width)
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    assert "0.5 [0.2, 0.8]" in text
    assert "1,234" in text
    assert text.count("long") == 4, "no word is lost either"


def test_a_table_that_is_too_wide_goes_on_under_its_first_column() -> None:
    wide = Sheet("w", "", [Column("name"), *(Column(f"c{i}") for i in range(9))], [("row", *[12345] * 9)])
    lines = on_terminal(wide, 30)
    assert [line.split()[0] for line in lines] == ["name", "row"] * 3
    assert " ".join(lines).split().count("12345") == 9


def test_what_is_no_terminal_has_no_edge() -> None:
    [_, _, row, _] = write([SHEET], Format.TABLE).splitlines()
    assert row.endswith("some long words   1,234")


def test_brackets_are_no_markup() -> None:
    sheet = Sheet("s", "[bold]t[/bold]", [Column("a")], [("[red]x",)])
    assert on_terminal(sheet, 80) == ["[bold]t[/bold]", "a", "[red]x"]
