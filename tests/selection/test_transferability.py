import numpy as np
import pytest
from scipy import optimize
from sklearn.covariance import LedoitWolf

from keras_experts.selection.transferability import h_score
from keras_experts.selection.transferability import leep
from keras_experts.selection.transferability import log_maximum_evidence

SCORES = [log_maximum_evidence, h_score]


def make_task(rng, num=40, channels=6, classes=3, noise=1.0):
    labels = np.concatenate([np.arange(classes)] * num)[:num]
    centers = rng.normal(size=(classes, channels))
    features = centers[labels] + noise * rng.normal(size=(num, channels))
    return features + 1, labels


def evidence_of_covariance(features, target, alpha, beta):
    """log N(y; 0, FFᵀ/α + I/β), with the whole n x n covariance."""
    num = len(target)
    covariance = features @ features.T / alpha + np.eye(num) / beta
    _, log_determinant = np.linalg.slogdet(covariance)
    distance = target @ np.linalg.solve(covariance, target)
    return -0.5 * (num * np.log(2 * np.pi) + log_determinant + distance)


def evidence_of_paper(features, target, alpha, beta):
    """The paper's form, with the posterior mean of d weights."""
    num, channels = features.shape
    precision = alpha * np.eye(channels) + beta * features.T @ features
    mean = beta * np.linalg.solve(precision, features.T @ target)
    return 0.5 * (
        num * np.log(beta / (2 * np.pi))
        + channels * np.log(alpha)
        - beta * ((features @ mean - target) ** 2).sum()
        - alpha * mean @ mean
        - np.linalg.slogdet(precision)[1]
    )


def maximize(features, target):
    """The best log evidence of many searches over (log α, log β)."""
    found = [
        optimize.minimize(
            lambda logs: (
                -evidence_of_covariance(features, target, *np.exp(logs))
            ),
            start,
            method="Nelder-Mead",
            bounds=[(-30, 30)] * 2,
            options={"xatol": 1e-9, "fatol": 1e-11, "maxiter": 4000},
        )
        for start in [(0, 0), (5, 2), (-5, 5), (10, 2)]
    ]
    return max(-result.fun for result in found)


def iterate(features, target, steps=3000):
    """The paper's fixed point, in its own variables."""
    alpha = beta = 1.0
    eigenvalues = np.linalg.eigvalsh(features.T @ features)
    for _ in range(steps):
        precision = alpha * np.eye(features.shape[1])
        precision += beta * features.T @ features
        mean = beta * np.linalg.solve(precision, features.T @ target)
        known = (beta * eigenvalues / (alpha + beta * eigenvalues)).sum()
        alpha = known / (mean @ mean)
        beta = (len(target) - known) / ((features @ mean - target) ** 2).sum()
    return evidence_of_paper(features, target, alpha, beta)


def average(function, features, labels):
    return np.mean(
        [
            function(features, (labels == label).astype(float)) / len(labels)
            for label in np.unique(labels)
        ]
    )


@pytest.mark.parametrize("channels", [3, 12, 60])
@pytest.mark.parametrize("noise", [0.3, 1, 5])
def test_log_maximum_evidence_is_the_maximum(rng, channels, noise):
    features, labels = make_task(rng, channels=channels, noise=noise)
    expected = average(maximize, features, labels)
    found = log_maximum_evidence(features, labels)
    assert found == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("channels", [3, 12])
def test_log_maximum_evidence_is_the_papers_fixed_point(rng, channels):
    features, labels = make_task(rng, channels=channels)
    expected = average(iterate, features, labels)
    found = log_maximum_evidence(features, labels)
    assert found == pytest.approx(expected, abs=1e-9)


def test_both_forms_of_the_evidence_agree(rng):
    features, labels = make_task(rng)
    target = (labels == 1).astype(float)
    assert evidence_of_paper(features, target, 0.7, 3.0) == pytest.approx(
        evidence_of_covariance(features, target, 0.7, 3.0), abs=1e-9
    )


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("channels", [1, 5, 100])
def test_h_score_equals_explicit_covariances(rng, channels, classes):
    features, labels = make_task(rng, 40, channels, classes)
    estimate = LedoitWolf().fit(features)
    means = np.stack(
        [features[labels == label].mean(axis=0) for label in labels]
    )
    between = np.cov(means.T, bias=True).reshape(channels, channels)
    product = np.linalg.solve(estimate.covariance_, between)
    expected = (1 - estimate.shrinkage_) * np.trace(product)
    assert h_score(features, labels) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("classes", [2, 5])
def test_leep_equals_loops_over_the_joint_distribution(rng, classes):
    labels = rng.permutation(np.arange(30) % classes)
    probabilities = rng.dirichlet([0.3] * 7, 30)
    joint = np.zeros((classes, 7))
    for label, row in zip(labels, probabilities):
        for source in range(7):
            joint[label, source] += row[source] / 30
    total = 0.0
    for label, row in zip(labels, probabilities):
        likelihood = 0.0
        for source in range(7):
            share = joint[label, source] / joint[:, source].sum()
            likelihood += share * row[source]
        total += np.log(likelihood)
    found = leep(probabilities, labels)
    assert found == pytest.approx(total / 30, abs=1e-12)
    assert found <= 0


def test_leep_of_a_head_that_knows_is_zero_and_of_one_that_does_not_entropy():
    labels = np.array([0, 1, 1, 2, 2, 2])
    assert leep(np.eye(4)[labels], labels) == 0
    shares = np.array([1, 2, 3]) / 6
    entropy = -(shares * np.log(shares)).sum()
    found = leep(np.full((6, 4), 0.25), labels)
    assert found == pytest.approx(-entropy, abs=1e-12)


def test_leep_takes_classes_that_are_never_predicted_and_float16():
    labels = np.arange(6) % 2
    probabilities = np.eye(5)[labels].astype(np.float16) * np.float16(0.999)
    assert leep(probabilities, labels) == 0


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("channels", [5, 80])
def test_rotation_and_scale_change_nothing(rng, score, channels):
    features, labels = make_task(rng, channels=channels)
    rotation, _ = np.linalg.qr(rng.normal(size=(channels, channels)))
    expected = score(features, labels)
    assert score(features @ rotation, labels) == pytest.approx(expected)
    assert score(1e4 * features, labels) == pytest.approx(expected)


def test_h_score_does_not_see_an_offset(rng):
    features, labels = make_task(rng)
    expected = h_score(features, labels)
    assert h_score(features + 100, labels) == pytest.approx(expected)


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("channels", [5, 80])
def test_informative_features_score_above_noise(rng, score, channels):
    scores = [
        score(*make_task(rng, 60, channels, noise=noise))
        for noise in (0.2, 1, 30)
    ]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("channels", [5, 80])
def test_h_score_is_between_0_and_the_classes_less_one(rng, channels):
    for noise in (1e-6, 1, 1e6):
        features, labels = make_task(rng, 60, channels, 4, noise)
        assert 0 <= h_score(features, labels) <= 3


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("channels", [5, 80])
def test_constant_channels_and_only_examples_are_finite(rng, score, channels):
    features, labels = make_task(rng, channels=channels)
    features[:, 1:3] = [0.1, 1e6]
    labels[0] = 9
    assert np.isfinite(score(features, labels))


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize(
    "features",
    [
        np.zeros((8, 3)),
        np.full((8, 3), 0.1),
        np.full((8, 20), 0.1),
        np.eye(8)[np.arange(8) % 2],  # gives the labels exactly
        np.outer(np.arange(8) % 2 - 0.5, np.ones(30)),  # two points
        np.eye(8),
        np.tile([1e20, 1e-20], (8, 1)),
    ],
)
def test_degenerate_features_are_finite(score, features):
    assert np.isfinite(score(features, np.arange(8) % 2))


def test_features_that_say_nothing_score_as_noise_alone():
    labels = np.arange(12) % 3
    # Of 12 values 4 are 1: log N at the best variance, their mean square.
    expected = -0.5 * (np.log(2 * np.pi / 3) + 1)
    found = log_maximum_evidence(np.zeros((12, 4)), labels)
    assert found == pytest.approx(expected, abs=1e-9)
    assert h_score(np.full((12, 4), 1 / 3), labels) == 0


@pytest.mark.parametrize(
    ("probabilities", "message"),
    [
        (np.full((4, 2), 0.6), r"sums from 1.2 to 1.2"),
        (np.tile([1.5, -0.5], (4, 1)), "values from -0.5"),
        (np.zeros(4), "`probabilities` must have shape"),
        (np.zeros((3, 2)), "3 probabilities, labels of shape"),
    ],
)
def test_what_are_no_probabilities_is_refused(probabilities, message):
    with pytest.raises(ValueError, match=message):
        leep(probabilities, np.array([0, 1, 0, 1]))


@pytest.mark.parametrize("score", SCORES)
def test_wrong_input_is_refused(score):
    with pytest.raises(ValueError, match="2 NaN or infinite"):
        score(np.array([[np.nan, 1], [2, np.inf]]), np.array([0, 1]))
    with pytest.raises(ValueError, match="two classes. Received: 1"):
        score(np.zeros((3, 2)), np.zeros(3, int))
