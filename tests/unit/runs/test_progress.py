"""Progress: bars on a terminal, lines elsewhere, silence on other ranks."""

import io

import pytest
from rich.console import Console

from sdar.runs import progress
from sdar.runs.progress import Lines, Live, Silent, display


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(progress, "monotonic", lambda: now[0])
    return now


def test_lines_for_a_pipe(clock: list[float]) -> None:
    out = io.StringIO()
    with display(10, console=Console(file=out)) as shown:
        assert isinstance(shown, Lines)
        shown.step(0, {"eval/success": 0.25})
        for step in (1, 2):
            clock[0] += 3
            shown.phase("rollout", 5, 64, 2)
            shown.step(step, {"rollout/success": 0.5, "objective/loss": -0.125})
    assert out.getvalue().splitlines() == [
        "step 0/10  panel 25.0 %",
        "step 1/10  success 50.0 %  loss -0.1250  about 27 s left",
        "step 2/10  success 50.0 %  loss -0.1250  about 24 s left",
    ]


def test_a_long_phase_speaks_now_and_then(clock: list[float]) -> None:
    out = io.StringIO()
    shown = Lines(Console(file=out), 10)
    for done in range(0, 40):
        shown.phase("warm start", done, 40)
        clock[0] += 1
    assert out.getvalue().splitlines() == [
        "warm start: 10/40, about 30 s left",
        "warm start: 20/40, about 20 s left",
        "warm start: 30/40, about 10 s left",
    ]


def test_bars_on_a_terminal() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=140)
    with display(10, console=console) as shown:
        assert isinstance(shown, Live)
        shown.phase("rollout", 32, 64, 8)
        shown._bars.refresh()
        shown.step(3, {"rollout/success": 0.5, "eval/success": 0.25})
        shown.message("hello [bold]")
    text = out.getvalue()
    assert "rollout" in text
    assert "32/64" in text
    assert "25 % of them succeeded" in text
    assert "3/10" in text
    assert "panel 25.0 %" in text
    assert "hello [bold]" in text


def test_other_ranks_are_silent(capsys: pytest.CaptureFixture[str]) -> None:
    with display(10, main=False) as shown:
        assert isinstance(shown, Silent)
        shown.phase("rollout", 1, 2)
        shown.step(1, {"rollout/success": 0.5})
        shown.message("hello")
    assert capsys.readouterr() == ("", "")
