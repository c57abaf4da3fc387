"""Folds of a task's examples, and the order in which races use them."""

import numpy as np


def assign_folds(
    labels: np.ndarray,
    seed: int,
    folds: int,
    groups: np.ndarray | None = None,
) -> np.ndarray:
    """Returns folds to which each class's shuffled examples are dealt in turn.

    The sizes of folds, and those of a class in them, differ by one at most,
    also for a class with fewer examples than folds. Groups are dealt as their
    first examples, so that sizes differ by more if some groups are large.

    Args:
        labels: int array `(n,)`.
        seed: int. Seed of the shuffling.
        folds: int. At least 1.
        groups: int array `(n,)`. Examples with equal ids share a fold.

    Returns:
        Int array `(n,)` in [0, folds).
    """
    if groups is not None:
        _, first, group = np.unique(
            groups, return_index=True, return_inverse=True
        )
        return assign_folds(labels[np.sort(first)], seed, folds)[
            np.argsort(np.argsort(first))[group]
        ]
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    fold_of = np.empty(len(labels), np.int64)
    fold_of[np.lexsort((shuffled, labels))] = np.arange(len(labels)) % folds
    return fold_of


def stratified_order(labels: np.ndarray, seed: int) -> np.ndarray:
    """Returns a random order whose beginnings have the classes' proportions.

    Two examples of a class come together. Otherwise the first examples of a
    task with many classes would be of one class each, and none would have a
    neighbor of its own class.

    Args:
        labels: int array `(n,)`.
        seed: int.

    Returns:
        Int array `(n,)`, a permutation.
    """
    rng = np.random.default_rng(seed)
    # The pairs of a class lie evenly in [0, 1), from a random start.
    positions = np.empty(len(labels))
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        pairs = np.arange(len(rows)) // 2
        positions[rows] = (pairs + rng.random()) / (pairs[-1] + 1)
    return np.argsort(positions, kind="stable")
