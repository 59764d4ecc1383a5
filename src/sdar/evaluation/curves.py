"""Learning curves as pictures: of one run, and of several methods side by side. Reads run directories."""

import io
from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sdar.evaluation.compare import success
from sdar.evaluation.gap import Gaps
from sdar.evaluation.results import EvalResult
from sdar.rollout.probes import Answer
from sdar.runs.files import write_atomic
from sdar.runs.rundir import RunDir, read_evals, read_metrics

INK, MUTED, GRID = "#1f2933", "#7b8794", "#e4e7eb"
TRAIN, PANEL, GAP, GATE = "#e09f3e", "#0b5394", "#b45309", "#2f7d4f"
COLOURS = ("#0b5394", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#b45309", "#7b8794", "#b0a000")
"""Of methods; colour-blind readers can tell them apart."""
Curve = tuple[np.ndarray, np.ndarray]


def results(run: RunDir) -> dict[int, EvalResult]:
    """Step -> result on the fixed panel."""
    return {step: EvalResult.from_json(data) for step, data in read_evals(run).items()}


def curve(lines: Sequence[dict[str, float]], name: str) -> Curve:
    """Steps and values of a metric, where it was logged and finite."""
    points = [(line["step"], line[name]) for line in lines if np.isfinite(line.get(name, np.nan))]
    steps, values = zip(*points, strict=True) if points else ((), ())
    return np.asarray(steps, float), np.asarray(values, float)


def smooth(values: np.ndarray, span: int = 5) -> np.ndarray:
    """Centred moving average that is shorter at the ends."""
    kernel = np.ones(min(span, len(values)))
    ones = np.convolve(np.ones(len(values)), kernel, mode="same")
    return np.convolve(values, kernel, mode="same") / ones


def draw_learning_curve(run: RunDir) -> Path:
    """Draw success over training, and the gap and gate of objectives that have them; the picture's path."""
    lines, evals = read_metrics(run), results(run)
    gap = curve(lines, "teacher/gap_mean")
    gate = curve(lines, next((name for line in lines for name in line if name.endswith("/gate_mean")), ""))
    small = [(c, label, ink) for c, label, ink in ((gap, "gap", GAP), (gate, "gate", GATE)) if len(c[0])]
    figure = Figure(figsize=(8, 4.6 + (1.7 if small else 0)), dpi=150, layout="constrained")
    grid = figure.add_gridspec(2 if small else 1, max(1, len(small)), height_ratios=[3, 1] if small else None)
    _draw_success(figure.add_subplot(grid[0, :]), curve(lines, "rollout/success"), evals)
    for column, ((steps, values), label, ink) in enumerate(small):
        _draw_small(figure.add_subplot(grid[1, column]), steps, values, label, ink)
    figure.suptitle(run.path.name, x=0.01, ha="left", fontsize=11, fontweight="bold", color=INK)
    return save_figure(figure, run.learning_curve)


def _draw_success(axes: Axes, train: Curve, evals: dict[int, EvalResult]) -> None:
    _clean(axes)
    axes.set(xlabel="training step", ylabel="success, %", ylim=(0, 100))
    axes.yaxis.grid(True, color=GRID, linewidth=0.8)
    steps, values = train
    if len(steps):
        axes.plot(steps, 100 * values, color=TRAIN, linewidth=0.8, alpha=0.6)
        axes.plot(steps, 100 * smooth(values), color=TRAIN, linewidth=2, label="training episodes")
    if evals:
        at = list(evals)
        value, low, high = 100 * np.array([result.success for result in evals.values()]).T
        last = evals[at[-1]]
        label = f"fixed panel {last.panel}, {len(last.outcomes)} tasks, 95 % interval"
        axes.fill_between(at, low, high, color=PANEL, alpha=0.12, linewidth=0)
        axes.plot(at, value, color=PANEL, linewidth=2, marker="o", markersize=4.5, label=label)
        axes.annotate(
            f"{value[-1]:.0f} %",
            (at[-1], value[-1]),
            xytext=(7, 0),
            textcoords="offset points",
            va="center",
            fontsize=9.5,
            fontweight="bold",
            color=PANEL,
            annotation_clip=False,
        )
    if 0 in evals:
        start, dashes = 100 * evals[0].success.value, (0, (4, 3))
        label = f"before training, {start:.0f} %"
        axes.axhline(start, color=MUTED, linewidth=1, linestyle=dashes, label=label)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=8.5, labelcolor=INK, loc="best")


def _draw_small(axes: Axes, steps: np.ndarray, values: np.ndarray, label: str, ink: str) -> None:
    _clean(axes)
    titles = {"gap": "gap: teacher - student log-prob, mean", "gate": "gate, mean"}
    axes.set_title(titles[label], loc="left", fontsize=9, color=INK)
    axes.plot(steps, values, color=ink, linewidth=0.8, alpha=0.4)
    axes.plot(steps, smooth(values), color=ink, linewidth=1.8)
    if label == "gap":
        axes.axhline(0, color=MUTED, linewidth=0.8)


def _clean(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(MUTED)
    axes.tick_params(colors=MUTED, labelsize=8.5, length=3)
    axes.xaxis.label.set(color=INK, fontsize=9)
    axes.yaxis.label.set(color=INK, fontsize=9)
    axes.margins(x=0.02)


def draw_comparison(methods: Mapping[str, Sequence[Mapping[int, EvalResult]]], path: Path) -> Path:
    """Draw success on the panel over training for every method: label -> one {step: result} for each seed.

    The band is the 95 % interval, over seeds and tasks where there are several seeds; thin lines are seeds.
    """
    figure = Figure(figsize=(8, 4.6), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    _clean(axes)
    axes.set(xlabel="training step", ylabel="success on the panel, %", ylim=(0, 100))
    axes.yaxis.grid(True, color=GRID, linewidth=0.8)
    for (label, runs), ink in zip(methods.items(), cycle(COLOURS), strict=False):
        shared = sorted(set.intersection(*(set(run) for run in runs)))
        value, low, high = 100 * np.array([success([run[step] for run in runs]) for step in shared]).T
        seeds = f", {len(runs)} seeds" if len(runs) > 1 else ""
        axes.fill_between(shared, low, high, color=ink, alpha=0.12, linewidth=0)
        axes.plot(shared, value, color=ink, linewidth=2, marker="o", markersize=3.5, label=label + seeds)
        for run in runs if len(runs) > 1 else ():
            axes.plot(list(run), [100 * r.success.value for r in run.values()], color=ink, linewidth=0.6)
    axes.legend(frameon=False, fontsize=8.5, labelcolor=INK, loc="best")
    return save_figure(figure, path)


def draw_gap(gaps: Mapping[str, Gaps], path: Path, title: str) -> Path:
    """Draw the mean gap of each kind of answer under each kind of skills, with intervals."""
    figure = Figure(figsize=(8, 1.2 + 0.55 * len(gaps)), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    _clean(axes)
    axes.axvline(0, color=MUTED, linewidth=0.8)
    for row, (name, ink) in enumerate(zip(Answer, COLOURS, strict=False)):
        means = [found.mean(name) for found in gaps.values()]
        value, low, high = np.array(means).T
        place = np.arange(len(gaps)) + 0.2 * (row - 1)
        axes.errorbar(
            value, place, xerr=[value - low, high - value], fmt="o", color=ink, capsize=3, label=name
        )
    axes.set_yticks(range(len(gaps)), list(gaps))
    axes.invert_yaxis()
    axes.set(xlabel="teacher - student log-prob a token, nats")
    axes.legend(frameon=False, fontsize=8.5, labelcolor=INK, loc="best")
    figure.suptitle(title, x=0.01, ha="left", fontsize=10, color=INK)
    return save_figure(figure, path)


def save_figure(figure: Figure, path: Path) -> Path:
    """Write a picture so that a reader sees the old one or the whole new one; its ending says the format."""
    picture = io.BytesIO()
    figure.savefig(picture, format=path.suffix.removeprefix("."))
    write_atomic(path, picture.getvalue())
    return path
