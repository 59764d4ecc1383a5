"""How often the intervals of `sdar compare` hold the truth, on simulated runs: python benchmarks/intervals.py

Every task has a difficulty of its own for each method, every run a skill of its own; the truth is the mean
over all tasks and runs. Compares the interval that is used with two that are not: percentile bootstraps over
seeds and tasks, and over tasks alone.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from sdar.evaluation.compare import two_way

RESULT = Path(__file__).parent / "results" / "intervals.json"
TASK_SPREAD, METHOD_SPREAD, GAIN = 1.2, 0.6, 0.5
"""Standard deviations of a task's difficulty, common to both methods and of one alone, and the true gain; all
in log-odds."""
Ends = tuple[float, float]
Pair = tuple[np.ndarray, np.ndarray]


def play(rng: np.random.Generator, seeds: int, tasks: int, spread: float) -> Pair:
    """Outcomes (seeds, tasks) of two methods."""
    common = rng.normal(0, TASK_SPREAD, tasks)

    def method(skill: float) -> np.ndarray:
        odds = skill + common + rng.normal(0, METHOD_SPREAD, tasks) + rng.normal(0, spread, (seeds, 1))
        return (rng.random((seeds, tasks)) < 1 / (1 + np.exp(-odds))).astype(float)

    return method(GAIN), method(0.0)


def truth(spread: float) -> float:
    """The difference of the methods' mean success, by Gauss-Hermite quadrature."""
    points, weights = np.polynomial.hermite_e.hermegauss(80)
    odds = np.sqrt(TASK_SPREAD**2 + METHOD_SPREAD**2 + spread**2) * points
    gain = 1 / (1 + np.exp(-GAIN - odds)) - 1 / (1 + np.exp(-odds))
    return float(weights @ gain / weights.sum())


def used(a: np.ndarray, b: np.ndarray, rng: np.random.Generator) -> Ends:
    """Two-way random effects, t."""
    _, low, high = two_way([(1, a), (-1, b)]).interval
    return low, high


def bootstrap_both(a: np.ndarray, b: np.ndarray, rng: np.random.Generator) -> Ends:
    """Percentile bootstrap over seeds and tasks."""
    return percentiles(redraw(a, rng) - redraw(b, rng), rng)


def bootstrap_tasks(a: np.ndarray, b: np.ndarray, rng: np.random.Generator) -> Ends:
    """Percentile bootstrap over tasks alone."""
    return percentiles((a.mean(0) - b.mean(0))[None], rng)


def redraw(matrix: np.ndarray, rng: np.random.Generator, times: int = 1000) -> np.ndarray:
    """Task means of `times` resamples of the seeds."""
    return matrix[rng.integers(len(matrix), size=(times, len(matrix)))].mean(1)


def percentiles(gains: np.ndarray, rng: np.random.Generator, times: int = 1000) -> Ends:
    """The ends of the interval, tasks resampled."""
    tasks = gains.shape[1]
    drawn = rng.multinomial(tasks, np.full(tasks, 1 / tasks), size=times) / tasks
    low, high = np.quantile((gains * drawn).sum(1), [0.025, 0.975])
    return float(low), float(high)


INTERVALS: dict[str, Callable[[np.ndarray, np.ndarray, np.random.Generator], Ends]] = {
    "two-way t": used,
    "bootstrap seeds+tasks": bootstrap_both,
    "bootstrap tasks": bootstrap_tasks,
}


def main() -> None:
    """One line a setting: coverage and mean width (points) of every interval."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=1000)
    repeats = parser.parse_args().repeats
    rng, lines = np.random.default_rng(0), []
    for seeds, tasks, spread in [(2, 128, 0.2), (3, 128, 0.0), (3, 128, 0.2), (3, 128, 0.6), (5, 128, 0.4)]:
        pairs, target = [play(rng, seeds, tasks, spread) for _ in range(repeats)], truth(spread)
        line: dict[str, object] = {"seeds": seeds, "tasks": tasks, "spread": spread}
        for name, interval in INTERVALS.items():
            ends = np.array([interval(a, b, rng) for a, b in pairs])
            held = (ends[:, 0] <= target) & (target <= ends[:, 1])
            width = float(np.diff(ends).mean())
            line[name] = {"coverage": round(float(held.mean()), 3), "width": round(100 * width, 1)}
        print(json.dumps(line))
        lines.append(line)
    RESULT.write_text(json.dumps({"repeats": repeats, "settings": lines}, indent=1) + "\n")


if __name__ == "__main__":
    main()
