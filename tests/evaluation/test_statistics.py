import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import balanced_accuracy_score

from keras_experts.evaluation.results import Results
from keras_experts.evaluation.results import Run
from keras_experts.evaluation.results import SuiteTask
from keras_experts.evaluation.statistics import Summary
from keras_experts.evaluation.statistics import mean_per_class

TASKS = (
    SuiteTask("flowers", "natural"),
    SuiteTask("birds", "natural"),
    SuiteTask("count", "structured"),
)
KEYS = [(repeat, run) for repeat in range(10) for run in range(3)]


def outcomes(seed, tasks=TASKS):
    """30 accuracies of each task."""
    rng = np.random.default_rng(seed)
    return {task.name: rng.beta(8, 3, len(KEYS)) for task in tasks}


def make_results(**methods):
    runs = [
        Run(task, method, repeat, run, float(value))
        for method, values in methods.items()
        for task, rows in values.items()
        for (repeat, run), value in zip(KEYS, rows, strict=True)
    ]
    return Results("drawn", TASKS, tuple(runs))


def near(found, expected):
    """By chance two bootstraps take neighbouring values of a median."""
    ends = (found.low, found.high)
    width = expected.high - expected.low
    np.testing.assert_allclose(ends, expected, atol=0.1 * width)


def bootstrap(samples, statistic, paired=False):
    return stats.bootstrap(
        samples,
        statistic,
        paired=paired,
        method="percentile",
        n_resamples=20_000,
        rng=np.random.default_rng(1),
        vectorized=True,
    ).confidence_interval


def test_interval_of_a_median_is_scipy_s_percentile_bootstrap():
    values = outcomes(0)
    found = Summary(make_results(knn=values)).task("knn", "birds")
    assert found.value == np.median(values["birds"])
    near(found, bootstrap((values["birds"],), np.median))


def test_interval_of_a_group_is_that_of_the_mean_of_medians():
    values = outcomes(0)
    summary = Summary(make_results(knn=values))

    def mean_of_medians(*samples, axis):
        return np.mean([np.median(s, axis=axis) for s in samples], axis=0)

    for group, names in {
        "natural": ("flowers", "birds"),
        "structured": ("count",),
        "all": ("flowers", "birds", "count"),
    }.items():
        found = summary.group("knn", group)
        samples = tuple(values[name] for name in names)
        medians = [np.median(sample) for sample in samples]
        assert found.value == pytest.approx(np.mean(medians), abs=1e-12)
        assert found.tasks == names and found.missing == ()
        near(found, bootstrap(samples, mean_of_medians))


def test_methods_of_the_same_repeats_are_compared_by_pairs():
    first = outcomes(0)
    noise = np.random.default_rng(5).normal(0, 0.01, len(KEYS))
    second = {task: values - 0.02 + noise for task, values in first.items()}
    results = make_results(knn=first, baseline=second)
    found = Summary(results).difference("knn", "baseline", "structured")

    def difference(one, two, axis):
        return np.median(one, axis=axis) - np.median(two, axis=axis)

    samples = (first["count"], second["count"])
    near(found, bootstrap(samples, difference, paired=True))
    alone = bootstrap(samples, difference)
    assert found.high - found.low < 0.5 * (alone.high - alone.low)
    assert found.is_sure
    regret = Summary(results).regret("baseline", "knn", "structured")
    assert regret == found


def test_missing_tasks_are_named_and_not_averaged_over():
    some = {name: v for name, v in outcomes(1).items() if name != "birds"}
    summary = Summary(make_results(knn=outcomes(0), random=some))
    found = summary.group("random", "all")
    assert found.tasks == ("flowers", "count")
    assert found.missing == ("birds",)
    medians = [np.median(some[name]) for name in found.tasks]
    assert found.value == pytest.approx(np.mean(medians), abs=1e-12)
    compared = summary.difference("knn", "random")
    assert compared.tasks == ("flowers", "count")
    assert compared.missing == ("birds",)
    assert summary.task("random", "birds") is None
    assert summary.group("unknown", "all") is None


def test_mean_per_class_is_balanced_accuracy(rng):
    labels = rng.choice([0, 1, 2, 4], 200)  # class 3 has no image
    predicted = np.where(rng.random(200) < 0.6, labels, 4)
    assert mean_per_class(labels, predicted) == pytest.approx(
        balanced_accuracy_score(labels, predicted), abs=1e-12
    )
