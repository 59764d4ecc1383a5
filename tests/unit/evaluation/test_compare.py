"""Statistics of a comparison, against hand-computed values, scipy's tests and simulated truth."""

import numpy as np
import pytest
from scipy import stats
from tests.outcomes import result_of

from sdar.errors import ConfigError
from sdar.evaluation.compare import compare, holm, sign_flip, success, two_way
from sdar.evaluation.results import EvalResult, wilson


def seeds(*counts: int, tasks: int = 40) -> list[EvalResult]:
    """One run for each count: it wins that many tasks, other ones in each run."""
    wins = [np.roll(np.arange(tasks) < count, 5 * i) for i, count in enumerate(counts)]
    return [result_of(row[:, None], seed=i) for i, row in enumerate(wins)]


def test_sign_flip_by_hand() -> None:
    """Of the 32 sign patterns of five equal gains two are as extreme; of [3, 1, -1]'s eight, six are."""
    assert sign_flip([2] * 5) == pytest.approx(2 / 32)
    assert sign_flip([3, 1, -1, 0]) == pytest.approx(6 / 8)
    assert sign_flip([0] * 9) == 1.0
    with pytest.raises(ValueError, match="whole gains"):
        sign_flip(np.array([0.5, 0.5]))


@pytest.mark.parametrize(("better", "worse"), [(9, 2), (60, 35), (128, 0), (7, 7)])
def test_sign_flip_of_single_samples_is_mcnemars_test(better: int, worse: int) -> None:
    expected = stats.binomtest(better, better + worse).pvalue
    assert sign_flip(np.repeat([1, -1, 0], [better, worse, 20])) == pytest.approx(expected)


def test_sign_flip_of_several_samples_is_the_permutation_test() -> None:
    gains = np.random.default_rng(0).integers(-3, 5, 12)
    exact = stats.permutation_test((gains,), np.sum, permutation_type="samples", n_resamples=2**12)
    assert sign_flip(gains) == pytest.approx(exact.pvalue)


def test_runs_with_different_numbers_of_samples() -> None:
    """Two of two, one of two and none of two against one of three each: gains of 4, 1, -2 sixths."""
    a, b = result_of([[1, 1], [1, 0], [0, 0]]), result_of([[1, 0, 0]] * 3)
    [found] = compare({"a": [a], "b": [b]})
    assert found.p == pytest.approx(sign_flip([4, 1, -2]))
    assert found.difference.value == pytest.approx(1 / 6)


def test_without_task_effects_two_way_is_welchs_test() -> None:
    rows_a, rows_b = np.array([0.2, 0.5, 0.4, 0.35]), np.array([0.1, 0.15, 0.3])
    a, b = (np.repeat(rows[:, None], 6, axis=1) for rows in (rows_a, rows_b))
    found, welch = two_way([(1, a), (-1, b)]), stats.ttest_ind(rows_a, rows_b, equal_var=False)
    assert found.p == pytest.approx(welch.pvalue)
    assert found.freedom == pytest.approx(welch.df)
    assert found.interval[1:] == pytest.approx(tuple(welch.confidence_interval(0.95)))


def test_without_seed_effects_two_way_is_the_paired_t_test() -> None:
    rng = np.random.default_rng(0)
    tasks_a, tasks_b = rng.random((2, 30))
    found = two_way([(1, np.tile(tasks_a, (3, 1))), (-1, np.tile(tasks_b, (4, 1)))])
    paired = stats.ttest_rel(tasks_a, tasks_b)
    assert found.p == pytest.approx(paired.pvalue)
    assert found.interval[1:] == pytest.approx(tuple(paired.confidence_interval(0.95)))


def test_two_way_by_hand() -> None:
    """Rows 1/3 and 1, columns 1, 1/2, 1/2: MS_seed = 2/3, MS_task = MS_rest = 1/6."""
    found = two_way([(1, np.array([[1.0, 0.0, 0.0], [1.0, 1.0, 1.0]]))])
    assert found.value == pytest.approx(2 / 3)
    assert found.error**2 == pytest.approx((2 / 3) / 6)
    assert found.freedom == pytest.approx(1)


def test_interval_covers_and_p_is_honest() -> None:
    """Three seeds a side, seeds and tasks random: the interval holds the truth in about 95 % of cases."""
    rng, held, rejected, repeats = np.random.default_rng(0), 0, 0, 600
    for _ in range(repeats):
        common = rng.normal(0, 1, 60)

        def play(common: np.ndarray = common) -> np.ndarray:
            odds = common + rng.normal(0, 0.5, 60) + rng.normal(0, 0.4, (3, 1))
            return (rng.random((3, 60)) < 1 / (1 + np.exp(-odds))).astype(float)

        found = two_way([(1, play()), (-1, play())])
        held += found.interval.low <= 0 <= found.interval.high
        rejected += found.p < 0.05
    assert 0.93 < held / repeats < 0.98
    assert held + rejected == repeats


def test_holm_is_never_below_the_single_p() -> None:
    p = [0.2, 0.001, 0.04, 0.04]
    assert holm(p) == pytest.approx([0.2, 0.004, 0.12, 0.12])
    assert holm([]) == []


def test_success_over_seeds_is_wider_than_over_tasks_where_seeds_differ() -> None:
    runs = seeds(8, 20, 32)
    found = success(runs)
    assert found.value == pytest.approx(0.5)
    assert (found.low, found.high) == (0.0, 1.0)
    assert success(runs[:1]) == runs[0].success
    assert success([result_of([[1]] * 20)] * 3) == wilson(20, 20)
    assert success([result_of([[1, 1]]), result_of([[1, 0]])]) == wilson(0.75, 1)


def test_several_seeds() -> None:
    [found] = compare({"sdar": seeds(30, 32, 31), "grpo": seeds(10, 12, 9)})
    assert found.difference.value == pytest.approx((93 - 31) / 120)
    assert found.is_clear
    assert found.sentence.startswith("sdar is better than grpo by 51.7 points [")
    assert found.sentence.endswith("p < 0.001, on 40 tasks, 3 seeds each")


def test_the_better_one_is_named_first() -> None:
    [found] = compare({"grpo": seeds(10, 12, 9), "sdar": seeds(30, 32)})
    assert found.difference.high < 0
    assert found.sentence.startswith("sdar is better than grpo by")
    assert found.sentence.endswith("2 and 3 seeds")


def test_seeds_that_differ_more_than_methods_tell_nothing() -> None:
    [found] = compare({"sdar": seeds(30, 12, 20), "grpo": seeds(10, 25, 14)})
    assert found.sentence.startswith("the data do not tell sdar from grpo: 10.8 points [-")
    tasks_alone = compare({"sdar": seeds(30), "grpo": seeds(10)})[0]
    assert tasks_alone.is_clear
    assert tasks_alone.sentence.endswith("one run each; other seeds may differ")


def test_pairs_are_corrected_together() -> None:
    methods = {"a": seeds(20), "b": seeds(28), "c": seeds(30)}
    pairs = compare(methods)
    assert [(pair.a, pair.b) for pair in pairs] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert [pair.p_holm for pair in pairs] == holm([pair.p for pair in pairs])
    assert "by Holm for 3 comparisons)" in pairs[0].sentence
    against = compare(methods, baseline="b")
    assert [(pair.a, pair.b) for pair in against] == [("a", "b"), ("c", "b")]


def test_refusals() -> None:
    with pytest.raises(ConfigError, match="different panels"):
        compare({"a": seeds(20), "b": [result_of([[1]] * 40, panel="q")]})
    with pytest.raises(ConfigError, match="unknown baseline 'grop': did you mean 'grpo'"):
        compare({"grpo": seeds(20)}, baseline="grop")
