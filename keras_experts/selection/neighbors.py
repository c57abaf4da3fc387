"""Exact leave-one-out nearest neighbours.

Products of matrices tell which examples may be nearest (`distances`). Where
several may be, their distances are measured by direct differences in float64.
"""

from collections.abc import Callable

import numpy as np

from keras_experts.selection.distances import centre
from keras_experts.selection.distances import search
from keras_experts.selection.distances import search_around
from keras_experts.selection.distances import search_on_accelerator

METRICS = ("euclidean", "cosine")
# Float64 values of direct differences at a time: they stay in a cache.
DIRECT_VALUES = 2**15
# Examples solved at a time where many are close together, and their pairs.
BALL_ROWS = 512
BALL_PAIRS = 2**22


def nearest_neighbors(
    features: np.ndarray, k: int = 1, metric: str = "euclidean"
) -> np.ndarray:
    """Finds the nearest other examples of each example.

    An example is never its own neighbour, but a duplicate of it may be. The
    result is that of float64 and direct differences, whatever the type of the
    features; equal distances go to the lower index. A tensor of Keras' backend
    that lies on an accelerator is searched there.

    Args:
        features: array of numbers `(n, d)`, or `(experts, n, d)`.
        k: int. Neighbours of each example, in [1, n - 1].
        metric: str. "euclidean", or "cosine": the same between rows divided by
            their lengths. A row of zeros is as far from all others as an
            orthogonal one.

    Returns:
        Int array `(n, k)` or `(experts, n, k)`, the nearest first.

    Raises:
        ValueError: if the shape, `k` or `metric` does not fit, or a value is
            not finite.

    References:
        Section 5 of the paper (performance proxy).
    """
    features, find = _to_array(features)
    _check_arguments(features, k, metric)
    neighbors = np.empty((*features.shape[:-1], k), np.int64)
    batch = features.ndim == 3
    for rows, out in zip(
        features if batch else [features],
        neighbors if batch else [neighbors],
        strict=True,
    ):
        if metric == "cosine":
            rows = _divide_by_length(rows)
        _fill_nearest(rows, out, find)
    return neighbors


def leave_one_out_accuracy(
    features: np.ndarray,
    labels: np.ndarray,
    k: int = 1,
    metric: str = "euclidean",
) -> float | np.ndarray:
    """Scores features by the label of each example's nearest others.

    Args:
        features: array of numbers `(n, d)`, or `(experts, n, d)`.
        labels: array `(n,)`, or `(tasks, n)` of several tasks.
        k: int. Neighbours that vote; a tie goes to the lower label.
        metric: str. As in `nearest_neighbors`.

    Returns:
        float. Share of examples whose label wins, in [0, 1]. Of several
        experts or tasks, a float array `(experts,)`, `(tasks,)` or
        `(experts, tasks)`.

    Raises:
        ValueError: as `nearest_neighbors`, or if the lengths differ.
    """
    correct = leave_one_out_correct(features, labels, k, metric)
    accuracy = correct.mean(axis=-1)
    return float(accuracy) if correct.ndim == 1 else accuracy


def leave_one_out_correct(
    features: np.ndarray,
    labels: np.ndarray,
    k: int = 1,
    metric: str = "euclidean",
) -> np.ndarray:
    """Tells for each example whether its neighbours give its label.

    Args:
        features: array of numbers `(n, d)`, or `(experts, n, d)`.
        labels: array `(n,)`, or `(tasks, n)` of several tasks.
        k: int. Neighbours that vote; a tie goes to the lower label.
        metric: str. As in `nearest_neighbors`.

    Returns:
        Bool array `(n,)`, `(experts, n)`, `(tasks, n)` or
        `(experts, tasks, n)`.

    Raises:
        ValueError: as `nearest_neighbors`, or if the lengths differ.
    """
    labels = np.asarray(labels)
    num_rows = np.shape(features)[-2] if np.ndim(features) > 1 else None
    if labels.ndim not in (1, 2) or labels.shape[-1] != num_rows:
        raise ValueError(
            "`features` and `labels` must have the same length. Received: "
            f"features of shape {np.shape(features)}, labels of shape "
            f"{labels.shape}."
        )
    neighbors = nearest_neighbors(features, k, metric)
    if labels.ndim == 1:
        return most_votes(labels, neighbors) == labels
    votes = [most_votes(task, neighbors) == task for task in labels]
    return np.stack(votes, axis=-2)


def most_votes(labels: np.ndarray, neighbors: np.ndarray) -> np.ndarray:
    """Gives the label that most neighbours have, the lowest of several.

    Args:
        labels: array `(n,)`.
        neighbors: int array `(..., n, k)`.

    Returns:
        Array `(..., n)`.
    """
    votes = np.sort(labels[neighbors], axis=-1)  # (..., n, k)
    tallies = sum(votes == votes[..., i, None] for i in range(votes.shape[-1]))
    winners = np.argmax(tallies, axis=-1)[..., None]
    return np.take_along_axis(votes, winners, axis=-1)[..., 0]


def _to_array(features) -> tuple[np.ndarray, Callable]:
    """Gives features as an array, and what searches them."""
    find = search
    device = str(getattr(features, "device", "cpu")).lower()
    if "cpu" not in device:
        from keras import ops

        features = ops.convert_to_numpy(features)
        find = search_on_accelerator
    features = np.asarray(features)
    if features.dtype.name == "bfloat16":
        features = features.astype(np.float32)
    return features, find


def _check_arguments(features: np.ndarray, k: int, metric: str) -> None:
    if features.ndim not in (2, 3) or features.dtype.kind not in "fiub":
        raise ValueError(
            "`features` must be numbers of shape (examples, channels) or "
            "(experts, examples, channels). Received: shape "
            f"{features.shape} of {features.dtype}."
        )
    num_rows = features.shape[-2]
    if not isinstance(k, int | np.integer) or not 1 <= k < num_rows:
        raise ValueError(
            "`k` must be a whole number, at least 1 and less than the number "
            f"of examples. Received: k={k} for {num_rows} examples."
        )
    if metric not in METRICS:
        raise ValueError(
            f"`metric` must be one of {METRICS}. Received: {metric!r}."
        )


def _refuse_infinite(features: np.ndarray) -> None:
    raise ValueError(
        "`features` must be finite. Received: "
        f"{np.count_nonzero(~np.isfinite(features))} NaN or infinite."
    )


def _divide_by_length(rows: np.ndarray) -> np.ndarray:
    if not np.isfinite(rows).all():
        _refuse_infinite(rows)
    rows = rows.astype(np.float64)
    # Powers of two are exact, and keep squares in the range of float64.
    _, exponents = np.frexp(np.abs(rows).max(axis=1, initial=0))
    rows = np.ldexp(rows, -exponents[:, None], out=rows)
    lengths = np.linalg.norm(rows, axis=1)
    zero = lengths == 0
    rows /= np.where(zero, 1, lengths)[:, None]
    # Of its own a row of zeros has a length in one more direction.
    return np.c_[rows, zero] if zero.any() else rows


def _fill_nearest(rows, out, find) -> None:
    """Fills `out`, `(n, k)`, with the neighbours of rows `(n, d)`."""
    k = out.shape[1]
    points, halves = centre(rows)
    if not np.isfinite(halves).all():
        _refuse_infinite(rows)
    found = find(points, halves, k)
    del points
    left, right = found.pairs()
    if k == 1:
        # An only candidate is the nearest, however far.
        alone = np.bincount(left, minlength=len(out))[left] == 1
        out[left[alone], 0] = right[alone]
        left, right = left[~alone], right[~alone]
    _choose(rows, left, right, out)
    waiting = found.crowded.copy()
    while waiting.any():
        solved = _fill_ball(rows, waiting, out)
        waiting[solved] = False


def _choose(rows, left, right, out) -> None:
    """Fills `out` for rows `left` with the nearest of their pairs."""
    distances = _measure(rows, left, right)
    order = np.lexsort((right, distances, left))
    solved, first = np.unique(left[order], return_index=True)
    # Each row has at least k candidates; its first k are the answer.
    out[solved] = right[order[first[:, None] + np.arange(out.shape[1])]]


def _measure(rows, left, right) -> np.ndarray:
    """Measures squared distances of pairs by their differences."""
    distances = np.empty(len(right))
    step = max(1, DIRECT_VALUES // max(1, rows.shape[1]))
    for start in range(0, len(right), step):
        pairs = slice(start, start + step)
        difference = rows[left[pairs]].astype(np.float64)
        difference -= rows[right[pairs]]
        np.square(difference, out=difference)
        np.sum(difference, axis=1, out=distances[pairs])
    return distances


def _fill_ball(rows, waiting, out) -> np.ndarray:
    """Fills `out` for some rows that lie close together, and gives them."""
    everything = np.arange(len(rows))
    k, pivot = out.shape[1], np.argmax(waiting)
    distances = _measure(rows, np.full(len(rows), pivot), everything)
    same = np.flatnonzero(distances == 0)
    if len(same) > k:
        # Of duplicates the first are the nearest.
        ranks = np.arange(len(same))[:, None]
        nearest = np.arange(k) + (np.arange(k) >= ranks)
        out[same] = same[nearest]
        return same
    size = min(max(BALL_ROWS, k + 1), len(rows))
    radius = np.partition(distances, size - 1)[size - 1]
    # More than k rows are within a radius of the pivot. So the neighbours of a
    # row within two are within five (squared 25, and rounding).
    ball = np.flatnonzero(distances <= 25.001 * radius)
    inside = np.flatnonzero(waiting[ball] & (distances[ball] <= 4 * radius))
    nearest = np.argsort(distances[ball[inside]], kind="stable")
    inside = inside[nearest[: max(1, min(size, BALL_PAIRS // len(ball)))]]
    found = search_around(rows, ball, inside, pivot, distances[ball] / 2, k)
    left, right = found.pairs()
    _choose(rows, ball[left], ball[right], out)
    return ball[inside]
