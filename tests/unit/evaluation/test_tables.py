"""What tables of results say."""

import csv
import io

import pytest
from tests.outcomes import result_of

from sdar.errors import ConfigError
from sdar.evaluation.compare import compare
from sdar.evaluation.tables import (
    gain_sheet,
    kind_sheet,
    method_sheet,
    pair_sheet,
    short,
)
from sdar.text.sheets import Column, Format, Sheet, as_csv, write

HALF = result_of([[i % 2, 1] for i in range(20)])
"""A rate of 75 %, pass@2 of 100 %, kinds of 5 and 15 tasks."""
NONE = result_of([[0]] * 20)
METHODS = {"sdar": [HALF, HALF], "grpo": [NONE]}


def lines(sheet: Sheet) -> list[list[str]]:
    return [line.split() for line in write([sheet], Format.TABLE).splitlines()]


def test_methods_and_references_are_rows() -> None:
    cost = Column("wall time, min", short)
    text = lines(method_sheet(METHODS, {"random": NONE}, {"sdar": {cost: 12.34}}))
    assert text[0] == ["p:", "20", "tasks,", "95", "%", "intervals"]
    assert " ".join(text[1]) == (
        "method seeds success, % mean of kinds, % reward turns tokens invalid, % truncated, % pass@2, % "
        "wall time, min"
    )
    assert text[2][:3] == ["sdar", "2", "75.0"]
    assert text[2][-7:] == ["0.75", "2", "9", "50.0", "25.0", "100.0", "12.3"]
    assert text[3][:4] == ["grpo", "1", "0.0", "[0.0,"]
    assert text[4][:2] == ["random", "0.0"], "an expert has no seeds"


def test_kinds_are_rows() -> None:
    text = lines(kind_sheet(METHODS, {"random": NONE}))
    assert [row[:2] for row in text[2:]] == [["cool", "15"], ["heat", "5"], ["all", "20"], ["mean", "of"]]
    assert (text[2][2], text[3][2], text[4][2]) == ("76.7", "70.0", "75.0")
    assert text[5][3:] == ["73.3", "0.0", "0.0"]


def test_gain_is_paired() -> None:
    before, after = (result_of([[i < won] for i in range(20)]) for won in (4, 10))
    text = lines(gain_sheet(before, after, {"random": NONE}))
    assert text[-2][:3] == ["all", "20", "20.0"]
    assert "+30.0" in text[-2]
    assert text[-1] == ["mean", "of", "kinds", "40.0", "66.7", "+26.7", "0.0"]
    with pytest.raises(ConfigError, match="different panels"):
        gain_sheet(before, result_of([[1]] * 20, panel="q"), {})


def test_pairs() -> None:
    [row] = pair_sheet(compare(METHODS)).rows
    assert (row[0], row[1].value) == ("sdar - grpo", 0.75)


def test_csv_has_bare_numbers() -> None:
    head, row, *_ = csv.reader(io.StringIO(as_csv(method_sheet(METHODS, {}))))
    assert head[:5] == ["method", "seeds", "success", "success low", "success high"]
    assert dict(zip(head, row, strict=True))["success"] == "0.75"
    assert float(dict(zip(head, row, strict=True))["invalid"]) == 0.5
    *_, macro = csv.reader(io.StringIO(as_csv(kind_sheet(METHODS, {}))))
    assert macro[:2] + macro[3:5] == ["mean of kinds", "", "", ""]
