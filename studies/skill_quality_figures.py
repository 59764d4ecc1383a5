"""The figures of docs/study.md, drawn by `studies/skill_quality.py`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sdar.evaluation.curves import GRID, INK, MUTED, save_figure
from sdar.evaluation.results import Interval

METHODS = {
    "grpo": "GRPO",
    "opsd": "OPSD",
    "grpo-opsd": "GRPO+OPSD",
    "rlsd": "RLSD",
    "skill-sd": "Skill-SD",
    "skill-grpo": "Skill-GRPO",
    "sdar": "SDAR",
}
QUALITIES = {"right": "right", "half": "half wrong", "wrong": "all wrong"}
COLOURS = {
    "grpo": MUTED,
    "opsd": "#cc79a7",
    "grpo-opsd": "#e69f00",
    "rlsd": "#56b4e9",
    "skill-sd": "#009e73",
    "skill-grpo": "#b0a000",
    "sdar": "#0b5394",
}
"""Colours that colour-blind readers can tell apart."""
Arm = tuple[str, ...]


def draw_curves(path: Path, curves: Mapping[Arm, Mapping[int, Interval]], start: float) -> None:
    """Success on the panel over training, one picture for each skill quality."""
    figure = Figure(figsize=(10, 3.6), dpi=150, layout="constrained")
    axes = figure.subplots(1, len(QUALITIES), sharey=True)
    for place, (quality, title) in zip(axes, QUALITIES.items(), strict=True):
        for method, name in METHODS.items():
            curve = curves.get((method, quality)) or curves.get((method,))
            if curve is None:
                continue
            value, low, high = 100 * np.array(list(curve.values())).T
            wide = {"linewidth": 2.6 if method == "sdar" else 1.5, "color": COLOURS[method]}
            place.plot(list(curve), value, label=name, linestyle="--" if method == "grpo" else "-", **wide)
            place.fill_between(list(curve), low, high, color=COLOURS[method], alpha=0.1, linewidth=0)
        place.axhline(100 * start, color=MUTED, linewidth=0.8, linestyle=":")
        frame(place, f"skills: {title}", "training step")
    axes[0].set(ylabel="success on the panel, %", ylim=(0, 100))
    axes[-1].legend(frameon=False, fontsize=8, labelcolor=INK, loc="upper left", bbox_to_anchor=(1, 1))
    save_figure(figure, path)


def draw_losses(path: Path, ends: Mapping[Arm, Interval]) -> None:
    """Success at the end against the quality of the skills."""
    figure = Figure(figsize=(6.4, 3.8), dpi=150, layout="constrained")
    axes = figure.subplots()
    for number, (method, name) in enumerate(METHODS.items()):
        found = [(place, ends[method, q]) for place, q in enumerate(QUALITIES) if (method, q) in ends]
        if method == "grpo" and ("grpo",) in ends:
            found = [(place, ends["grpo",]) for place in range(len(QUALITIES))]
        if found:
            where = np.array([place for place, _ in found]) + 0.05 * (number - 3)
            value, low, high = 100 * np.array([interval for _, interval in found]).T
            style = {"color": COLOURS[method], "linestyle": "--" if method == "grpo" else "-"}
            axes.plot(where, value, marker="o", markersize=4.5, linewidth=1.4, label=name, **style)
            axes.vlines(where, low, high, color=COLOURS[method], linewidth=1, alpha=0.6)
    frame(axes, "", "skills that the teacher sees (Skill-GRPO: the student)")
    axes.set_xticks(range(len(QUALITIES)), list(QUALITIES.values()))
    axes.set(ylabel="success on the panel, %", ylim=(0, None))
    axes.legend(frameon=False, fontsize=8, labelcolor=INK, loc="upper left", bbox_to_anchor=(1, 1))
    save_figure(figure, path)


def draw_turns(path: Path, runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Mean gap and gate of SDAR by turn, early to late in training, for each skill quality."""
    figure = Figure(figsize=(10, 4.8), dpi=150, layout="constrained")
    grid = figure.subplots(2, len(runs), sharex=True, sharey="row", squeeze=False)
    for column, (quality, results) in enumerate(runs.items()):
        for row, name in enumerate(("gap", "gate")):
            axes = grid[row, column]
            blocks = list(zip(*(result["turns"] for result in results), strict=True))
            for number, block in enumerate(blocks):
                colour = colormaps["viridis"](0.9 * number / max(1, len(blocks) - 1))
                first, last = block[0]["steps"]
                values = by_turn(block, name)
                axes.plot(range(1, len(values) + 1), values, color=colour, label=f"steps {first} to {last}")
            frame(axes, f"skills: {QUALITIES[quality]}" if row == 0 else "", "turn" if row else "")
            axes.axhline(0 if name == "gap" else 0.5, color=MUTED, linewidth=0.8)
            axes.set_ylabel({"gap": "gap, nats", "gate": "gate"}[name] if column == 0 else "", fontsize=9)
    handles = next((axes.lines[:-1] for axes in grid[0] if len(axes.lines) > 1), [])
    figure.legend(handles=handles, frameon=False, fontsize=8, labelcolor=INK, loc="outside right upper")
    save_figure(figure, path)


def by_turn(blocks: Sequence[Mapping[str, Any]], name: str) -> list[float]:
    """The mean over runs of a number of each turn, weighted by tokens."""
    turns = max(len(block["tokens"]) for block in blocks)
    total, weight = np.zeros(turns), np.zeros(turns)
    for block in blocks:
        tokens = np.array(block["tokens"], float)
        total[: len(tokens)] += tokens * np.array([value or 0.0 for value in block[name]])
        weight[: len(tokens)] += tokens
    return list(total / np.maximum(weight, 1))


def draw_sweeps(path: Path, sweeps: Mapping[str, Mapping[str, Interval]], grpo: Interval) -> None:
    """Success of SDAR with one setting changed at a time, and GRPO's as a band."""
    figure = Figure(figsize=(10, 3.2), dpi=150, layout="constrained")
    for axes, (axis, found) in zip(figure.subplots(1, len(sweeps), sharey=True), sweeps.items(), strict=True):
        axes.axhspan(100 * grpo.low, 100 * grpo.high, color=MUTED, alpha=0.12, linewidth=0)
        axes.axhline(100 * grpo.value, color=MUTED, linestyle="--", linewidth=1)
        if found:
            value, low, high = 100 * np.array(list(found.values())).T
            axes.vlines(range(len(found)), low, high, color=COLOURS["sdar"], linewidth=1.2)
            axes.plot(range(len(found)), value, "o", color=COLOURS["sdar"], markersize=5)
            names = [name.removeprefix(f"{axis}-") for name in found]
            axes.set_xticks(range(len(found)), [name.replace("-", "\n") for name in names], fontsize=8)
        frame(axes, "", axis)
    figure.axes[0].set(ylabel="success on the panel, %", ylim=(0, 100))
    save_figure(figure, path)


def frame(axes: Axes, title: str, x: str) -> None:
    """Light axes with a title and a name below."""
    axes.set_title(title, loc="left", fontsize=9.5, color=INK)
    axes.set_xlabel(x, fontsize=9, color=INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(MUTED)
    axes.tick_params(colors=MUTED, labelsize=8.5, length=3)
    axes.yaxis.grid(True, color=GRID, linewidth=0.8)
