"""Which of two methods is better, and how sure that is. No torch.

A *method* is a list of results on one panel, one for each training seed. With one seed a side, two trained
models are compared: an exact sign-flip test and a bootstrap, both over tasks. With several a side, two
training methods are: seeds and tasks are both chance, and the t interval of a two-way random-effects model
covers both (docs/decisions/0007). All p values of one call are corrected by Holm's procedure.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import numpy as np
from scipy import stats

from sdar.errors import ConfigError, suggest
from sdar.evaluation.results import CONFIDENCE, EvalResult, Interval, bootstrap, require_same_panel, wilson

Methods = Mapping[str, Sequence[EvalResult]]
"""Label -> results, one for each seed, all on the same panel."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two methods: their difference in success, with its 95 % interval, and its p value."""

    a: str
    b: str
    difference: Interval
    """Success of `a` minus success of `b`."""
    p: float
    """Two-sided, for this pair alone."""
    p_holm: float
    """Corrected for all comparisons of the call."""
    comparisons: int
    """How many those were."""
    tasks: int
    seeds: tuple[int, int]
    """Runs of `a` and of `b`."""
    test: str
    """What gave `p`."""
    unfair: str = ""
    """Why no verdict on the methods follows, in words: they had different budgets."""

    @property
    def is_clear(self) -> bool:
        """Whether the corrected p value is below 5 %."""
        return self.p_holm < 1 - CONFIDENCE

    @property
    def sentence(self) -> str:
        """What the data support, in plain words."""
        a, b, gain = self.a, self.b, self.difference
        if self.unfair:
            points = f"{100 * gain.value:+.1f} points [{100 * gain.low:+.1f}, {100 * gain.high:+.1f}]"
            return f"no verdict on {a} and {b}: {self.unfair}; {a} has {points}, {self._chance()}"
        if gain.value < 0:
            a, b, gain = b, a, Interval(-gain.value, -gain.high, -gain.low)
        points = f"{100 * gain.value:.1f} points [{100 * gain.low:.1f}, {100 * gain.high:.1f}]"
        verdict = f"{a} is better than {b} by" if self.is_clear else f"the data do not tell {a} from {b}:"
        return f"{verdict} {points}, {self._chance()}, on {self.tasks} tasks, {self._runs(a)}"

    def _chance(self) -> str:
        many = self.comparisons > 1
        corrected = f" ({format_p(self.p_holm)} by Holm for {self.comparisons} comparisons)" if many else ""
        return format_p(self.p) + corrected

    def _runs(self, first: str) -> str:
        one, two = self.seeds if first == self.a else reversed(self.seeds)
        if one == two:
            return "one run each; other seeds may differ" if one == 1 else f"{one} seeds each"
        counts = f"{one} and {two} seeds"
        return f"{counts}, taken as fixed; other seeds may differ" if 1 in self.seeds else counts


def format_p(p: float) -> str:
    """A p value for people.

    >>> format_p(0.0123), format_p(0.00002)
    ('p = 0.012', 'p < 0.001')
    """
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def compare(
    methods: Methods, baseline: str = "", unfair: Mapping[frozenset[str], str] | None = None
) -> list[Comparison]:
    """Every pair of methods, or every method against `baseline`; no verdict on the pairs in `unfair`.

    Raises `ConfigError` for results on different panels and for an unknown baseline.
    """
    if baseline and baseline not in methods:
        raise ConfigError(f"unknown baseline '{baseline}': {suggest(baseline, methods)}")
    require_same_panel([result for results in methods.values() for result in results])
    pairs = [(a, baseline) for a in methods if a != baseline] if baseline else [*combinations(methods, 2)]
    found = [contrast(methods[a], methods[b]) for a, b in pairs]
    corrected = holm([pair.p for pair in found])
    return [
        Comparison(
            a=a,
            b=b,
            difference=pair.difference,
            p=pair.p,
            p_holm=p_holm,
            comparisons=len(pairs),
            tasks=len(methods[a][0].outcomes),
            seeds=(len(methods[a]), len(methods[b])),
            test=pair.test,
            unfair=(unfair or {}).get(frozenset((a, b)), ""),
        )
        for (a, b), pair, p_holm in zip(pairs, found, corrected, strict=True)
    ]


def success(results: Sequence[EvalResult]) -> Interval:
    """Success of a method with its interval: over tasks for one seed, over seeds and tasks for several.

    One task, or rates that are all the same, say nothing of chance; they get the Wilson interval over tasks.
    """
    if len(results) == 1:
        return results[0].success
    matrix = rates(results)
    if np.ptp(matrix) == 0 or matrix.shape[1] == 1:
        return wilson(float(matrix.mean(0).sum()), matrix.shape[1])
    value, low, high = two_way([(1, matrix)]).interval
    return Interval(value, max(0.0, low), min(1.0, high))


class Contrast(NamedTuple):
    """A difference and how likely one at least as large is by chance."""

    difference: Interval
    p: float
    test: str


def contrast(a: Sequence[EvalResult], b: Sequence[EvalResult]) -> Contrast:
    """Test whether methods `a` and `b` differ in success.

    Where a side has only one seed nothing is known about how seeds differ, so the runs are taken as fixed.
    """
    rates_a, rates_b = rates(a), rates(b)
    several = min(*rates_a.shape, *rates_b.shape) > 1
    estimate = two_way([(1, rates_a), (-1, rates_b)]) if several else None
    if estimate is not None and estimate.error > 0:
        return Contrast(estimate.interval, estimate.p, "t test over seeds and tasks")
    gains = rates_a.mean(0) - rates_b.mean(0)
    unit = math.lcm(len(a) * a[0].samples, len(b) * b[0].samples)
    whole = np.rint(unit * gains).astype(int)
    return Contrast(bootstrap(gains), sign_flip(whole), "sign-flip test over tasks")


def rates(results: Sequence[EvalResult]) -> np.ndarray:
    """Success rate of each seed (row) on each task (column)."""
    return np.array([[outcome.rate for outcome in result.outcomes] for result in results])


class Estimate(NamedTuple):
    """A value with its standard error and the degrees of freedom of that."""

    value: float
    error: float
    freedom: float

    @property
    def interval(self) -> Interval:
        """The 95 % t interval."""
        half = self.error * float(stats.t.ppf(0.5 + CONFIDENCE / 2, self.freedom))
        return Interval(self.value, self.value - half, self.value + half)

    @property
    def p(self) -> float:
        """Two-sided, against 0."""
        return 2 * float(stats.t.sf(abs(self.value) / self.error, self.freedom))


def two_way(terms: Sequence[tuple[int, np.ndarray]]) -> Estimate:
    """The sum of sign * mean of matrices (seeds, tasks) whose rows and columns are both random.

    All matrices have the same tasks; rows are independent. The variance of a mean is var_seed / S +
    var_task / T + var_rest / (S T), each estimated by the two-way analysis of variance without replication;
    the tasks' part is not taken below 0, nor the whole below that of the rest. Degrees of freedom by
    Satterthwaite.
    """
    columns = np.sum([sign * matrix.mean(0) for sign, matrix in terms], axis=0)
    by_seed = [matrix.mean(1).var(ddof=1) / len(matrix) for _, matrix in terms]
    rest = sum(_rest(matrix) for _, matrix in terms)
    by_task = max(0.0, columns.var(ddof=1) / len(columns) - rest)
    variance = max(rest, sum(by_seed) + by_task)
    seeds = [(part, len(matrix) - 1) for part, (_, matrix) in zip(by_seed, terms, strict=True)]
    spread = sum(part**2 / freedom for part, freedom in [*seeds, (by_task, len(columns) - 1)])
    freedom = variance**2 / spread if spread else math.inf
    return Estimate(float(columns.mean()), math.sqrt(variance), float(freedom))


def _rest(matrix: np.ndarray) -> float:
    """Variance of the matrix's mean that belongs neither to its rows nor to its columns."""
    rows, columns = matrix.shape
    rest = matrix - matrix.mean(1, keepdims=True) - matrix.mean(0) + matrix.mean()
    return float((rest**2).sum()) / ((rows - 1) * (columns - 1)) / (rows * columns)


def sign_flip(gains: Sequence[int] | np.ndarray) -> float:
    """Two-sided p value of paired gains, one for each task, under the hypothesis that their signs are chance.

    `gains` are whole numbers, such as how many more samples were won. Exact: the distribution of their sum
    over all sign patterns is built up task by task. For single samples this is McNemar's exact test.

    >>> sign_flip([1, 1, 1, 1, 1, 0])
    0.0625
    """
    steps = np.abs(gains)
    if not np.issubdtype(steps.dtype, np.integer):
        raise ValueError("a sign-flip test needs whole gains")
    chance = np.ones(1)
    for step in steps[steps > 0]:
        chance = (np.pad(chance, (0, 2 * step)) + np.pad(chance, (2 * step, 0))) / 2
    sums = np.arange(len(chance)) - steps.sum()
    return min(1.0, float(chance[np.abs(sums) >= abs(np.sum(gains))].sum()))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction, in the order given.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    adjusted, worst = [0.0] * len(p_values), 0.0
    for place, i in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        worst = max(worst, min(1.0, (len(p_values) - place) * p_values[i]))
        adjusted[i] = worst
    return adjusted
