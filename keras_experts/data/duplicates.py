"""Exact copies among the examples of a task, images or texts."""

import dataclasses

import numpy as np

from keras_experts.console import say
from keras_experts.data.fingerprints import digests as digests_of
from keras_experts.data.tasks import Task


def duplicate_groups(digests: np.ndarray) -> np.ndarray:
    """Returns for each example the position of the first one equal to it.

    Equal ids mean exact copies. `ids == np.arange(n)` marks one example of
    each group.

    Args:
        digests: uint8 array `(n, 32)`, as `data.fingerprints.digests` returns
            it.

    Returns:
        Int64 array `(n,)` of group ids.
    """
    _, first, group = np.unique(
        _as_items(digests), return_index=True, return_inverse=True
    )
    return first[group].astype(np.int64)


def is_copy_of(digests: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Returns whether each example is an exact copy of one of the others.

    Args:
        digests: uint8 array `(n, 32)`, as in `duplicate_groups`.
        others: uint8 array `(m, 32)`.

    Returns:
        Bool array `(n,)`.
    """
    return np.isin(_as_items(digests), _as_items(others))


def without_copies(task: Task, train_digests: np.ndarray) -> Task:
    """Returns a task whose test examples are new to it, each once.

    One line on stderr says how many test examples are exact copies of
    training examples, or of other test examples, which are left out.

    Args:
        task: Task.
        train_digests: uint8 array `(n, 32)` of its training examples.
    """
    test = task.test
    digests = digests_of(test)
    in_training = is_copy_of(digests, train_digests)
    is_first = duplicate_groups(digests) == np.arange(test.num_examples)
    kept = np.flatnonzero(~in_training & is_first)
    if len(kept) == test.num_examples:
        return task
    num_training = int(in_training.sum())
    num_test = test.num_examples - num_training - len(kept)
    counts = [
        f"{number} of {test.num_examples} test {task.medium} are exact copies "
        f"of {others} {task.medium}"
        for number, others in (
            (num_training, "training"),
            (num_test, "other test"),
        )
        if number
    ]
    say(
        f"{task.name}: {' and '.join(counts)}; they are left out of the test "
        "accuracy"
    )
    return dataclasses.replace(task, test=test.subset(kept))


def _as_items(digests: np.ndarray) -> np.ndarray:
    """Returns `(n,)` items of the bytes `(n, 32)`, to sort and compare."""
    digests = np.ascontiguousarray(digests, np.uint8).reshape(-1, 32)
    # Bytes strings ("S32") would ignore trailing zeros; four integers do not.
    return digests.view("<u8,<u8,<u8,<u8").ravel()
