"""Exact copies among the examples of a task, images or texts."""

import numpy as np


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


def _as_items(digests: np.ndarray) -> np.ndarray:
    """Returns `(n,)` items of the bytes `(n, 32)`, to sort and compare."""
    digests = np.ascontiguousarray(digests, np.uint8).reshape(-1, 32)
    # Bytes strings ("S32") would ignore trailing zeros; four integers do not.
    return digests.view("<u8,<u8,<u8,<u8").ravel()
