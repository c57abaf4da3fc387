"""Cheaper proxies than fine-tuning: linear classifiers and a decision tree.

Each is cross-validated on a task's features and tells of every example
whether a classifier that has not seen it gives its label. The mean is the
score; two experts are compared by pairs, as with nearest neighbours.
"""

import functools
import os
import warnings
from collections.abc import Callable
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np

from keras_experts.checks import check_at_least
from keras_experts.selection.folds import assign_folds

# Best of five powers of ten for both on six real tasks; more costs as much
# accuracy as less. It is our choice, the paper gives none.
REGULARIZATION = 1e-4
# Trees that try all of 2048 channels at each split take minutes where a task
# has many classes.
MAX_CHANNELS = 256
MAX_ITERATIONS = 1000
# An SVM stops when its problem of two classes took so many.
MAX_SVM_ITERATIONS = 100_000
# The products of all pairs of so many examples take 200 MB.
MAX_GRAM_ROWS = 5000


def logistic_correct(
    features: np.ndarray,
    labels: np.ndarray,
    seed: int = 0,
    folds: int = 5,
    regularization: float = REGULARIZATION,
    groups: np.ndarray | None = None,
) -> np.ndarray:
    """Returns whether logistic regression predicts each example's label.

    In each fold the features are standardised, then divided by the square
    root of their mean squared norm, so that `regularization` means the same
    whatever the number of channels. Where there are more channels than
    examples, both are turned into the space that the examples span: the
    minimum of a loss with an L2 penalty lies there, so nothing is lost.

    Args:
        features: float array `(n, d)`.
        labels: int array `(n,)`, of at least two classes.
        seed: int. Seed of the assignment to folds.
        folds: int. At least 2; fewer where there are fewer examples.
        regularization: float. Half of it times the squared norm of the
            weights is added to the mean loss; above 0.
        groups: int array `(n,)`. Examples with equal ids, such as exact
            copies, share a fold. By default each is a group of its own.

    Returns:
        Bool array `(n,)`. False for the only example of a class.

    Raises:
        ValueError: if an argument does not fit, or a value is not finite.

    References:
        Section 5 of the paper (other proxies).
    """
    _check_regularization(regularization)
    predict = functools.partial(_predict_logistic, regularization)
    return _cross_validate(predict, features, labels, seed, folds, groups)


def svm_correct(
    features: np.ndarray,
    labels: np.ndarray,
    seed: int = 0,
    folds: int = 5,
    regularization: float = REGULARIZATION,
    groups: np.ndarray | None = None,
) -> np.ndarray:
    """Returns for each example whether a linear SVM predicts its label.

    The machine has the hinge loss and one problem for each pair of classes.
    It is given the products of all pairs of examples, which determine it
    whatever the number of channels. Scales are as in `logistic_correct`.

    Args:
        features: float array `(n, d)`.
        labels: int array `(n,)`, of at least two classes.
        seed: int. Of the assignment to folds.
        folds: int. At least 2; fewer where there are fewer examples.
        regularization: float. As in `logistic_correct`, where the mean is
            over all examples of the fold.
        groups: int array `(n,)`. Examples with equal ids, such as exact
            copies, share a fold. By default each is a group of its own.

    Returns:
        Bool array `(n,)`. False for the only example of a class.

    Raises:
        ValueError: if an argument does not fit, or a value is not finite.

    References:
        Section 5 of the paper (other proxies).
    """
    _check_regularization(regularization)
    predict = functools.partial(_predict_svm, regularization)
    return _cross_validate(predict, features, labels, seed, folds, groups)


def tree_correct(
    features: np.ndarray,
    labels: np.ndarray,
    seed: int = 0,
    folds: int = 5,
    max_channels: int = MAX_CHANNELS,
    groups: np.ndarray | None = None,
) -> np.ndarray:
    """Returns for each example whether a decision tree predicts its label.

    Args:
        features: float array `(n, d)`.
        labels: int array `(n,)`, of at least two classes.
        seed: int. Of the assignment to folds and of the trees.
        folds: int. At least 2; fewer where there are fewer examples.
        max_channels: int. Channels tried at a split, drawn anew for each;
            with `d` or more it is the plain tree, many times slower.
        groups: int array `(n,)`. Examples with equal ids, such as exact
            copies, share a fold. By default each is a group of its own.

    Returns:
        Bool array `(n,)`. False for the only example of a class.

    Raises:
        ValueError: if an argument does not fit, or a value is not finite.

    References:
        Section 5 of the paper (other proxies).
    """
    check_at_least(max_channels=(max_channels, 1))
    predict = functools.partial(_predict_tree, seed, max_channels)
    return _cross_validate(predict, features, labels, seed, folds, groups)


def check_examples(
    features: np.ndarray, labels: np.ndarray, name: str = "features"
) -> tuple[np.ndarray, np.ndarray]:
    """Checks a task's features and labels.

    Args:
        features: float array `(n, d)`.
        labels: int array `(n,)`, of at least two classes.
        name: str. What errors call the features.

    Returns:
        The features in float64, and the labels as int `(n,)` in
        [0, classes), all of which occur.

    Raises:
        ValueError: if an array does not fit, or a value is not finite.
    """
    features, labels = np.asarray(features, np.float64), np.asarray(labels)
    if features.ndim != 2 or 0 in features.shape:
        raise ValueError(
            f"`{name}` must have shape (examples, channels). "
            f"Received: shape {features.shape}."
        )
    if labels.shape != (len(features),):
        raise ValueError(
            f"`{name}` and `labels` must have the same length. Received: "
            f"{len(features)} {name}, labels of shape {labels.shape}."
        )
    if not np.isfinite(features).all():
        raise ValueError(
            f"`{name}` must be finite. Received: "
            f"{np.count_nonzero(~np.isfinite(features))} NaN or infinite."
        )
    classes, labels = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(
            "`labels` must be of at least two classes. "
            f"Received: {len(classes)}."
        )
    return features, labels


def _check_regularization(regularization: float) -> None:
    if not 0 < regularization < np.inf:
        raise ValueError(
            "`regularization` must be a finite number above 0. "
            f"Received: {regularization!r}."
        )


def _cross_validate(
    predict: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray],
    features: np.ndarray,
    labels: np.ndarray,
    seed: int,
    folds: int,
    groups: np.ndarray | None,
) -> np.ndarray:
    """Compares labels with predictions by a classifier of the other folds.

    Args:
        predict: maps training features, their labels and test features to
            labels of the latter.
        groups: as in `assign_folds`.
    """
    features, labels = check_examples(features, labels)
    check_at_least(folds=(folds, 2))
    num_groups = len(labels) if groups is None else len(np.unique(groups))
    if num_groups < 2:
        raise ValueError(
            "Cross-validation needs at least two different examples. "
            f"Received: {len(labels)} copies of one."
        )
    folds = min(folds, num_groups)
    fold_of = assign_folds(labels, seed, folds, groups)
    correct = np.empty(len(labels), bool)

    def run(fold: int) -> None:
        held_out = fold_of == fold
        known = labels[~held_out]
        train, test = _standardize(features[~held_out], features[held_out])
        if (known == known[0]).all() or not train.any():
            predicted = np.bincount(known).argmax()  # nothing to learn
        else:
            predicted = predict(train, known, test)
        correct[held_out] = predicted == labels[held_out]

    workers = min(folds, os.cpu_count() or 1)
    with _quiet_single_threads(), ThreadPoolExecutor(workers) as pool:
        list(pool.map(run, range(folds)))
    return correct


@contextmanager
def _quiet_single_threads() -> Iterator[None]:
    """Leaves the cores to the folds, and warnings of solvers unsaid.

    Matrices of folds are small: BLAS threads wait for each other longer than
    they compute, and ten times as long where the cores have other work.
    """
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


def _standardize(
    train: np.ndarray, test: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Scales by the training rows: channels, then the mean squared norm."""
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(train)
    train, test = scaler.transform(train), scaler.transform(test)
    size = np.sqrt(np.einsum("nd,nd->", train, train) / len(train)) or 1.0
    return train / size, test / size


def _rotate(
    train: np.ndarray, test: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Gives coordinates `(rows, rank)` in the space of the training rows."""
    squares, left = np.linalg.eigh(train @ train.T)
    rounding = squares[-1] * len(train) * np.finfo(np.float64).eps
    kept = squares > rounding
    sizes, left = np.sqrt(squares[kept]), left[:, kept]
    return left * sizes, test @ (train.T @ (left / sizes))


def _predict_logistic(
    regularization: float,
    train: np.ndarray,
    labels: np.ndarray,
    test: np.ndarray,
) -> np.ndarray:
    from sklearn.linear_model import LogisticRegression

    if train.shape[1] > len(train):
        train, test = _rotate(train, test)
    strength = 1 / (regularization * len(train))
    model = LogisticRegression(C=strength, max_iter=MAX_ITERATIONS)
    return model.fit(train, labels).predict(test)


def _predict_svm(
    regularization: float,
    train: np.ndarray,
    labels: np.ndarray,
    test: np.ndarray,
) -> np.ndarray:
    from sklearn.svm import SVC

    kernel = "linear"
    if len(train) <= MAX_GRAM_ROWS:
        kernel = "precomputed"
        train, test = train @ train.T, test @ train.T
    model = SVC(
        C=1 / (regularization * len(train)),
        kernel=kernel,
        max_iter=MAX_SVM_ITERATIONS,
    )
    return model.fit(train, labels).predict(test)


def _predict_tree(
    seed: int,
    max_channels: int,
    train: np.ndarray,
    labels: np.ndarray,
    test: np.ndarray,
) -> np.ndarray:
    from sklearn.tree import DecisionTreeClassifier

    model = DecisionTreeClassifier(
        max_features=min(max_channels, train.shape[1]), random_state=seed
    )
    return model.fit(train, labels).predict(test)
