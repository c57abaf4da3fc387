import itertools
import subprocess
import sys

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from keras_experts.selection import proxies
from keras_experts.selection.folds import assign_folds
from keras_experts.selection.proxies import check_examples
from keras_experts.selection.proxies import logistic_correct
from keras_experts.selection.proxies import svm_correct
from keras_experts.selection.proxies import tree_correct

PROXIES = [logistic_correct, svm_correct, tree_correct]
REGULARIZATION = 1e-3


def make_task(rng, num=120, channels=10, classes=4, noise=1.0):
    """Features around a random centre a class, of unequal scales."""
    labels = rng.integers(0, classes, num)
    centers = rng.normal(size=(classes, channels))
    features = centers[labels] + noise * rng.normal(size=(num, channels))
    return features * rng.uniform(0.1, 30, channels) + 5, labels


def refit(make_model, features, labels, folds=5):
    """The definition, fold by fold, on the channels as they are."""
    fold_of = assign_folds(labels, 0, folds)
    correct = np.zeros(len(labels), bool)
    for fold in range(folds):
        test = fold_of == fold
        scaler = StandardScaler().fit(features[~test])
        train = scaler.transform(features[~test])
        size = np.sqrt((train**2).sum(axis=1).mean())
        model = make_model(len(train)).fit(train / size, labels[~test])
        predicted = model.predict(scaler.transform(features[test]) / size)
        correct[test] = predicted == labels[test]
    return correct


def exact_logistic(num):
    strength = 1 / (REGULARIZATION * num)
    return LogisticRegression(C=strength, tol=1e-7, max_iter=10_000)


class VoteOfPairs:
    """A machine for each pair of classes; equal votes go to the first."""

    def __init__(self, num):
        self.strength = 1 / (REGULARIZATION * num)

    def fit(self, features, labels):
        self.classes = np.unique(labels)
        self.models = []
        for pair in itertools.combinations(self.classes, 2):
            kept = np.isin(labels, pair)
            model = SVC(C=self.strength, kernel="linear", tol=1e-6)
            self.models.append(model.fit(features[kept], labels[kept]))
        return self

    def predict(self, features):
        winners = np.array([model.predict(features) for model in self.models])
        votes = [(winners == label).sum(axis=0) for label in self.classes]
        return self.classes[np.argmax(votes, axis=0)]


@pytest.mark.parametrize(("channels", "noise"), [(10, 3), (300, 12)])
@pytest.mark.parametrize(
    ("proxy", "make_model"),
    [(logistic_correct, exact_logistic), (svm_correct, VoteOfPairs)],
)
def test_linear_proxies_equal_refitting_on_all_channels(
    rng, proxy, make_model, channels, noise
):
    features, labels = make_task(rng, channels=channels, noise=noise)
    expected = refit(make_model, features, labels)
    assert 0.3 < expected.mean() < 0.9
    found = proxy(features, labels, regularization=REGULARIZATION)
    np.testing.assert_array_equal(found, expected)


def test_tree_equals_refitting(rng):
    features, labels = make_task(rng)
    expected = refit(
        lambda num: DecisionTreeClassifier(random_state=0), features, labels
    )
    np.testing.assert_array_equal(tree_correct(features, labels), expected)


def test_rotation_keeps_all_products(rng):
    train, test = rng.normal(size=(2, 30, 80))
    test = test[:7]
    rotated, turned = proxies._rotate(train, test)
    assert rotated.shape == (30, 30)
    np.testing.assert_allclose(rotated @ rotated.T, train @ train.T, atol=1e-9)
    np.testing.assert_allclose(turned @ rotated.T, test @ train.T, atol=1e-9)


def test_svm_is_the_same_without_the_products_of_pairs(rng, monkeypatch):
    features, labels = make_task(rng, channels=200)
    whole = svm_correct(features, labels)
    monkeypatch.setattr(proxies, "MAX_GRAM_ROWS", 0)
    np.testing.assert_array_equal(svm_correct(features, labels), whole)


@pytest.mark.parametrize("proxy", PROXIES)
@pytest.mark.parametrize("channels", [6, 200])
def test_clear_classes_are_all_right_and_noise_is_at_chance(
    rng, proxy, channels
):
    labels = np.arange(200) % 4
    clear = np.eye(4)[labels] @ rng.normal(size=(4, channels)) * 20
    clear += rng.normal(size=clear.shape)
    assert proxy(clear, labels).mean() > 0.95
    noise = rng.normal(size=(200, channels))
    assert 0.1 < proxy(noise, labels).mean() < 0.4


@pytest.mark.parametrize("proxy", PROXIES)
def test_scale_and_offset_of_channels_do_not_matter(rng, proxy):
    features, labels = make_task(rng, noise=2)
    # Powers of two, so that no digit of any channel changes.
    scaled = features * 2.0 ** rng.integers(-9, 9, features.shape[1])
    expected = proxy(features, labels)
    np.testing.assert_array_equal(proxy(scaled, labels), expected)
    assert np.count_nonzero(proxy(features + 64, labels) != expected) <= 1


@pytest.mark.parametrize("proxy", PROXIES)
def test_same_seed_gives_the_same_answer(rng, proxy):
    features, labels = make_task(rng, channels=300, noise=4)
    first = proxy(features, labels, seed=7)
    np.testing.assert_array_equal(proxy(features, labels, seed=7), first)
    assert (proxy(features, labels, seed=8) != first).any()


@pytest.mark.parametrize("proxy", PROXIES)
def test_only_example_of_a_class_is_wrong_and_pairs_can_be_right(rng, proxy):
    labels = np.array([0] * 20 + [1] * 20 + [2] * 2 + [3])
    features = 50 * np.eye(4)[labels] + rng.normal(size=(43, 4))
    correct = proxy(features, labels)
    assert correct.dtype == bool
    assert not correct[-1]
    assert correct[:40].mean() > 0.9
    assert correct[40:42].any() or proxy is tree_correct


@pytest.mark.parametrize("proxy", PROXIES)
@pytest.mark.parametrize("labels", [[0, 1], [0, 1, 1], [5, 5, 9, 9]])
def test_fewer_examples_than_folds_can_be_scored(rng, proxy, labels):
    correct = proxy(rng.normal(size=(len(labels), 8)), np.array(labels))
    assert correct.shape == (len(labels),)
    assert not correct[0] or len(labels) == 4


@pytest.mark.parametrize("proxy", PROXIES)
def test_constant_features_give_the_most_common_label(proxy):
    labels = np.array([0] * 10 + [1] * 20)
    correct = proxy(np.full((30, 5), 0.1), labels)
    np.testing.assert_array_equal(correct, labels == 1)


@pytest.mark.parametrize("proxy", [logistic_correct, svm_correct])
def test_constant_channels_change_nothing(rng, proxy):
    features, labels = make_task(rng, channels=4, noise=2)
    constant = np.full((len(labels), 3), 1e8 / 3)
    more = np.concatenate([features, constant], axis=1)
    expected = proxy(features, labels)
    np.testing.assert_array_equal(proxy(more, labels), expected)


@pytest.mark.parametrize("proxy", [logistic_correct, svm_correct])
def test_solvers_that_are_stopped_say_nothing(rng, proxy, monkeypatch, recwarn):
    monkeypatch.setattr(proxies, "MAX_ITERATIONS", 1)
    monkeypatch.setattr(proxies, "MAX_SVM_ITERATIONS", 1)
    features, labels = make_task(rng)
    assert proxy(features, labels, regularization=1e-9).shape == (120,)
    assert not recwarn


def test_folds_share_each_class_and_are_of_one_size(rng):
    labels = rng.permutation(np.repeat(np.arange(6), [1, 2, 3, 7, 20, 31]))
    folds = assign_folds(labels, 3, 5)
    sizes = np.bincount(folds, minlength=5)
    assert sizes.max() - sizes.min() <= 1
    for label in range(6):
        shares = np.bincount(folds[labels == label], minlength=5)
        assert shares.max() - shares.min() <= 1


def test_labels_are_numbered_in_order():
    _, labels = check_examples(np.zeros((4, 1)), [7, -3, 7, 100])
    assert labels.tolist() == [1, 0, 1, 2]


@pytest.mark.parametrize(
    ("features", "labels", "options", "message"),
    [
        (np.zeros(4), [0, 1, 0, 1], {}, r"Received: shape \(4,\)"),
        (np.zeros((4, 0)), [0, 1, 0, 1], {}, r"Received: shape \(4, 0\)"),
        (np.zeros((4, 2)), [0, 1, 0], {}, "4 features, labels of shape"),
        (np.full((2, 3), np.nan), [0, 1], {}, "6 NaN or infinite"),
        (np.zeros((4, 2)), [3, 3, 3, 3], {}, "two classes. Received: 1"),
        (np.zeros((4, 2)), [0, 1, 0, 1], {"folds": 1}, "Received: 1"),
        (
            np.zeros((4, 2)),
            [0, 1, 0, 1],
            {"regularization": 0.0},
            "above 0. Received: 0.0",
        ),
    ],
)
def test_wrong_input_is_refused(features, labels, options, message):
    with pytest.raises(ValueError, match=message):
        svm_correct(features, np.array(labels), **options)


def test_tree_without_channels_to_try_is_refused():
    with pytest.raises(ValueError, match="`max_channels` .* Received: 0"):
        tree_correct(np.zeros((4, 2)), np.arange(4), max_channels=0)


def test_importing_the_proxies_does_not_import_scikit_learn():
    code = (
        "import sys, keras_experts.selection.proxies,"
        "keras_experts.selection.transferability,"
        "keras_experts.selection.combining;"
        "heavy = {'sklearn', 'scipy', 'tensorflow'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True)
    assert result.returncode == 0, result.stderr
