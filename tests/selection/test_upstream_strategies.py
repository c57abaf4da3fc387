"""Scores from upstream predictions, against SciPy's."""

import numpy as np
import pytest
from scipy import special
from scipy import stats

from keras_experts.selection.upstream_strategies import PROBABILITY_FLOOR
from keras_experts.selection.upstream_strategies import domain_log_probabilities
from keras_experts.selection.upstream_strategies import label_divergence
from keras_experts.selection.upstream_strategies import task_distribution


@pytest.fixture
def priors(rng):
    """An expert's label prior and the upstream's, `(7,)` each."""
    upstream = rng.dirichlet(np.ones(7))
    slice_prior = np.where(np.arange(7) < 3, upstream, 0)
    slice_prior /= slice_prior.sum()
    return 0.99 * slice_prior + 0.01 * upstream, upstream


def test_mean_log_probability_is_log_of_the_geometric_mean(rng):
    probabilities = rng.random((50, 4))
    logs = domain_log_probabilities(probabilities)
    assert logs.shape == (50, 4) and logs.dtype == np.float64
    np.testing.assert_allclose(
        np.exp(logs.mean(axis=0)), stats.gmean(probabilities, axis=0), rtol=1e-9
    )


def test_only_what_float32_rounds_to_zero_is_clipped():
    tiny = np.array([[0.0, PROBABILITY_FLOOR, 1e-30, 1.0]], np.float32)
    logs = domain_log_probabilities(tiny)[0]
    expected = np.log([2.0**-126, 2.0**-126, float(tiny[0, 2]), 1.0])
    np.testing.assert_array_equal(logs, expected)


@pytest.mark.parametrize(
    "probabilities", [[[1.1]], [[-0.1]], [[np.nan]], [0.5], np.zeros((0, 3))]
)
def test_what_is_no_probability_is_refused(probabilities):
    with pytest.raises(ValueError, match="`probabilities` must"):
        domain_log_probabilities(np.array(probabilities))


def test_softmax_divergence_is_that_of_the_mean(rng, priors):
    probabilities = special.softmax(rng.normal(size=(40, 7)), axis=1)
    found = label_divergence(probabilities, "softmax", *priors)
    expected = stats.entropy(probabilities.mean(axis=0), priors[0])
    assert found == pytest.approx(expected, abs=1e-12)


def test_sigmoid_divergence_is_that_of_the_normalised_mean(rng, priors):
    probabilities = special.expit(rng.normal(size=(40, 7)))
    found = label_divergence(probabilities, "sigmoid", *priors)
    mean = probabilities.mean(axis=0)
    expected = stats.entropy(mean / mean.sum(), priors[0])
    assert found == pytest.approx(expected, abs=1e-12)


def test_task_of_an_expert_s_labels_is_nearer_to_it_than_to_the_upstream(
    priors,
):
    expert, upstream = priors
    task = np.where(np.arange(7) < 3, upstream, 0)[None]
    task /= task.sum()
    assert label_divergence(task, "softmax", expert, upstream) < 0.02
    assert label_divergence(task, "softmax", upstream, upstream) > 0.02
    same = label_divergence(upstream[None], "softmax", upstream, upstream)
    assert same == 0


@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
def test_distribution_of_a_task_stands_for_its_images(rng, priors, loss):
    probabilities = special.softmax(rng.normal(size=(40, 7)), axis=1)
    task = task_distribution(probabilities, loss)
    assert task.sum() == pytest.approx(1)
    whole = label_divergence(probabilities, loss, *priors)
    short = label_divergence(task[None], loss, *priors)
    assert short == pytest.approx(whole, abs=1e-12)


def test_labels_without_upstream_images_are_left_out(rng, priors):
    expert, upstream = priors
    probabilities = special.softmax(rng.normal(size=(40, 8)), axis=1)
    found = label_divergence(
        probabilities, "softmax", np.append(expert, 0), np.append(upstream, 0)
    )
    # SciPy divides by the sums.
    expected = stats.entropy(probabilities.mean(axis=0)[:7], expert)
    assert found == pytest.approx(expected, abs=1e-12)


def test_labels_that_a_prior_lacks_are_infinitely_far(rng, priors):
    _, upstream = priors
    lacking = np.where(np.arange(7) < 3, upstream, 0)
    uniform = np.full((1, 7), 1 / 7)
    far = label_divergence(uniform, "softmax", lacking, upstream)
    assert far == stats.entropy(uniform[0], lacking) == np.inf


def test_numbers_that_do_not_fit_are_refused(priors):
    expert, upstream = priors
    uniform = np.full((2, 7), 1 / 7)
    for arguments, message in (
        ((uniform, "hinge", expert, upstream), "'hinge'"),
        ((uniform / 2, "softmax", expert, upstream), "mean of 0.5"),
        ((uniform * 0, "sigmoid", expert, upstream), "mean of 0,"),
        ((uniform, "softmax", expert[1:], upstream), "`prior` must have one"),
        ((uniform, "softmax", expert, upstream * 0), "`upstream_prior` must"),
        ((uniform, "softmax", expert - 1, upstream), "`prior` must be finite"),
        ((uniform, "softmax", expert * np.nan, upstream), "`prior` must be"),
        ((np.eye(7)[:1], "softmax", expert, np.eye(7)[1]), "none in common"),
    ):
        with pytest.raises(ValueError, match=message):
            label_divergence(*arguments)
