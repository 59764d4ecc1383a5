"""What a person sees while a run goes on: bars on a terminal, plain lines elsewhere, nothing on other ranks.

All three take the same calls as `sdar.trainer.loop.Progress`.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from time import monotonic

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

_QUIET: ContextVar[bool] = ContextVar("quiet", default=False)
QUIET_S = 10.0
"""Seconds between two plain lines of the same phase."""


class Silent:
    """Shows nothing: for ranks other than the first."""

    def phase(self, name: str, done: int, total: int, successes: int = 0) -> None:
        """Nothing."""

    def step(self, step: int, metrics: Mapping[str, float]) -> None:
        """Nothing."""

    def message(self, text: str) -> None:
        """Nothing."""


class Lines:
    """A line for each training step, and one now and then within a long phase."""

    def __init__(self, console: Console, steps: int) -> None:
        self._console, self._steps = console, steps
        self._started: tuple[float, int] | None = None
        self._phase, self._phase_start, self._spoken = "", 0.0, 0.0

    def phase(self, name: str, done: int, total: int, successes: int = 0) -> None:
        """A line when the phase has been silent for a while."""
        now = monotonic()
        if name != self._phase:
            self._phase, self._phase_start, self._spoken = name, now, now
        if now - self._spoken < QUIET_S or not done:
            return
        self._spoken = now
        left = (now - self._phase_start) * (total - done) / done
        note = f", {successes} succeeded" if successes else ""
        self.message(f"{name}: {done}/{total}{note}, about {left:.0f} s left")

    def step(self, step: int, metrics: Mapping[str, float]) -> None:
        """A line with the numbers that matter and the time left."""
        now = monotonic()
        self._phase = ""
        self._started = self._started or (now, step)
        parts = [f"step {step}/{self._steps}", *headlines(metrics)]
        if step > self._started[1]:
            left = (now - self._started[0]) / (step - self._started[1]) * (self._steps - step)
            parts.append(f"about {left:.0f} s left")
        self.message("  ".join(parts))

    def message(self, text: str) -> None:
        """The line itself."""
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)


class Live:
    """A bar for the run and one below it for what goes on inside the step."""

    def __init__(self, bars: Bars, steps: int) -> None:
        self._bars, self._steps = bars, steps
        self._run = bars.add_task("training", total=steps, note="", visible=False)
        self._phase = bars.add_task("", total=1, note="", visible=False)
        self._name = ""

    def phase(self, name: str, done: int, total: int, successes: int = 0) -> None:
        """Move the lower bar."""
        if name != self._name:
            self._name = name
            self._bars.reset(self._phase, description=name, visible=True)
        note = f"{100 * successes / done:.0f} % of them succeeded" if successes else ""
        self._bars.update(self._phase, completed=done, total=total, note=note)

    def step(self, step: int, metrics: Mapping[str, float]) -> None:
        """Move the upper bar; evaluations are written above it."""
        note = "  ".join(headlines(metrics))
        self._bars.update(self._run, completed=step, visible=True, note=note)
        if "eval/success" in metrics:
            self.message(f"step {step}/{self._steps}  {note}")

    def message(self, text: str) -> None:
        """A line above the bars."""
        self._bars.console.print(text, highlight=False, markup=False)


Display = Silent | Lines | Live


@contextmanager
def quietly() -> Iterator[None]:
    """Within the block nothing is shown of what goes on."""
    before = _QUIET.set(True)
    try:
        yield
    finally:
        _QUIET.reset(before)


@contextmanager
def display(steps: int, *, main: bool = True, console: Console | None = None) -> Iterator[Display]:
    """Bars for a terminal, lines for a file or a pipe, nothing unless `main` and nothing `quietly`."""
    console = console or Console(stderr=True)
    if not main or _QUIET.get():
        yield Silent()
    elif not console.is_terminal:
        yield Lines(console, steps)
    else:
        columns = (
            TextColumn("{task.description:<12}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with Bars(*columns, console=console, transient=True) as bars:
            yield Live(bars, steps)


def headlines(metrics: Mapping[str, float]) -> list[str]:
    """The few numbers worth a place on a line; what failed in an environment is always one of them.

    >>> headlines({"rollout/success": 0.5, "optim/skipped": 0, "rollout/failed_searches": 0.25})
    ['success 50.0 %', '0.25 failed searches an episode']
    """
    shown = []
    if "rollout/success" in metrics:
        shown.append(f"success {100 * metrics['rollout/success']:.1f} %")
    if "eval/success" in metrics:
        shown.append(f"panel {100 * metrics['eval/success']:.1f} %")
    if "objective/loss" in metrics:
        shown.append(f"loss {metrics['objective/loss']:+.4f}")
    for name, value in metrics.items():
        if name.startswith("rollout/failed_") and value:
            shown.append(f"{value:.2g} {name.removeprefix('rollout/').replace('_', ' ')} an episode")
    if metrics.get("rollout/overlong"):
        shown.append(f"{metrics['rollout/overlong']:.0f} tasks left out (too long)")
    if metrics.get("optim/skipped"):
        shown.append(f"{metrics['optim/skipped']:.0f} updates skipped (not finite)")
    if "time/step_s" in metrics:
        shown.append(f"{metrics['time/step_s']:.1f} s")
    return shown
