import numpy as np
import pytest
from scipy import stats

from keras_experts.selection import statistics
from keras_experts.selection.statistics import Score
from keras_experts.selection.statistics import mean_score


def correct(rng, share, number=200):
    return mean_score(rng.random(number) < share)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_score_that_is_not_finite_is_refused(value):
    with pytest.raises(ValueError, match="must be finite"):
        Score(value)


def test_standard_error_is_that_of_a_share(rng):
    score = correct(rng, 0.7)
    expected = np.sqrt(score.value * (1 - score.value) / 200)
    assert score.standard_error == pytest.approx(expected, abs=1e-12)
    assert Score(0.3).standard_error is None


def test_paired_error_is_that_of_the_differences(rng):
    first, second = correct(rng, 0.7), correct(rng, 0.6)
    difference, error = statistics.paired_difference(first, second)
    assert difference == pytest.approx(first.value - second.value)
    test = stats.ttest_rel(first.per_example, second.per_example)
    # SciPy divides by n - 1.
    assert difference / error == pytest.approx(
        test.statistic * np.sqrt(200 / 199)
    )
    assert statistics.paired_difference(first, first) == (0.0, 0.0)


def test_interval_holds_the_truth_in_95_of_100_cases(rng):
    inside = 0
    for _ in range(2000):
        low, high = statistics.interval_95(correct(rng, 0.6))
        inside += low <= 0.6 <= high
    assert stats.binomtest(inside, 2000, 0.95).pvalue > 0.001


@pytest.mark.parametrize("right", [0, 3, 8])
def test_interval_of_a_share_is_wilson_s(right):
    values = np.arange(8) < right
    found = statistics.interval_95(mean_score(values))
    expected = stats.binomtest(right, 8).proportion_ci(0.95, "wilson")
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_chances_are_those_of_scipy_s_bootstrap(rng):
    scores = [correct(rng, share) for share in (0.6, 0.55, 0.5)]
    chances = statistics.chances_of_winning(scores)
    assert chances.sum() == pytest.approx(1)

    def leads(first, second, third):
        return float(first.mean() > max(second.mean(), third.mean()))

    found = stats.bootstrap(
        [score.per_example for score in scores],
        leads,
        paired=True,
        n_resamples=2000,
        method="percentile",
        rng=rng,
    ).bootstrap_distribution
    assert chances[0] == pytest.approx(found.mean(), abs=0.05)


def test_equal_candidates_share_the_chance(rng):
    score = correct(rng, 0.5)
    other = Score(score.value, score.per_example.copy())
    chances = statistics.chances_of_winning([score, other])
    np.testing.assert_array_equal(chances, [0.5, 0.5])
