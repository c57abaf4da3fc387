"""Exact leave-one-out nearest neighbors.

Products of matrices find the examples that may be nearest (`distances`). If
there are several, direct differences in float64 decide between them.
"""

import numpy as np

from keras_experts.selection.distances import centre
from keras_experts.selection.distances import search
from keras_experts.selection.distances import search_around

METRICS = ("euclidean", "cosine")
# Float64 values of direct differences at a time: they stay in a cache.
DIRECT_VALUES = 2**15
# Examples solved at a time where many are close together, and their pairs.
BALL_ROWS = 512
BALL_PAIRS = 2**22


def nearest_neighbors(
    features: np.ndarray,
    k: int = 1,
    metric: str = "euclidean",
    groups: np.ndarray | None = None,
) -> np.ndarray:
    """Returns the nearest other examples of each example.

    The result is that of direct differences in float64, whatever the type of
    the features. Equal distances go to the lower index.

    Args:
        features: array of numbers `(n, d)` or `(experts, n, d)`, or a tensor
            that NumPy can convert.
        k: int. Number of neighbors of each example, at least 1.
        metric: str. "euclidean", or "cosine": the same between rows divided by
            their lengths. A row of zeros is as far from all others as an
            orthogonal one.
        groups: int array `(n,)`. Examples with equal ids, such as exact copies
            of one image, are never each other's neighbors. By default each
            example is a group of its own.

    Returns:
        Int array `(n, k)` or `(experts, n, k)`, the nearest first.

    Raises:
        ValueError: if a shape or `metric` does not fit, `k` exceeds the number
            of examples outside the largest group, or a value is not finite.

    References:
        Section 5 of the paper (performance proxy).
    """
    features = np.asarray(features)
    if features.dtype.name == "bfloat16":
        features = features.astype(np.float32)
    groups = _check_arguments(features, k, metric, groups)
    neighbors = np.empty((*features.shape[:-1], k), np.int64)
    batch = features.ndim == 3
    for rows, out in zip(
        features if batch else [features],
        neighbors if batch else [neighbors],
        strict=True,
    ):
        if metric == "cosine":
            rows = _divide_by_length(rows)
        _fill_nearest(rows, groups, out)
    return neighbors


def leave_one_out_accuracy(
    features: np.ndarray,
    labels: np.ndarray,
    k: int = 1,
    metric: str = "euclidean",
    groups: np.ndarray | None = None,
) -> float | np.ndarray:
    """Returns the fraction of examples whose neighbors vote for their label.

    Args:
        features: array of numbers `(n, d)`, or `(experts, n, d)`.
        labels: array `(n,)`, or `(tasks, n)` of several tasks.
        k: int. Number of neighbors that vote; a tie goes to the lower label.
        metric: str. As in `nearest_neighbors`.
        groups: int array `(n,)`. As in `nearest_neighbors`.

    Returns:
        float in [0, 1]. For several experts or tasks, a float array
        `(experts,)`, `(tasks,)` or `(experts, tasks)`.

    Raises:
        ValueError: as `nearest_neighbors`, or if the lengths differ.
    """
    correct = leave_one_out_correct(features, labels, k, metric, groups)
    accuracy = correct.mean(axis=-1)
    return float(accuracy) if correct.ndim == 1 else accuracy


def leave_one_out_correct(
    features: np.ndarray,
    labels: np.ndarray,
    k: int = 1,
    metric: str = "euclidean",
    groups: np.ndarray | None = None,
) -> np.ndarray:
    """Returns for each example whether its neighbors vote for its label.

    Args:
        features: array of numbers `(n, d)`, or `(experts, n, d)`.
        labels: array `(n,)`, or `(tasks, n)` of several tasks.
        k: int. Number of neighbors that vote; a tie goes to the lower label.
        metric: str. As in `nearest_neighbors`.
        groups: int array `(n,)`. As in `nearest_neighbors`.

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
    neighbors = nearest_neighbors(features, k, metric, groups)
    if labels.ndim == 1:
        return most_votes(labels, neighbors) == labels
    votes = [most_votes(task, neighbors) == task for task in labels]
    return np.stack(votes, axis=-2)


def most_neighbors(num_examples: int, groups: np.ndarray | None = None) -> int:
    """Returns how many neighbors every example has outside its group.

    Args:
        num_examples: int.
        groups: int array `(num_examples,)`. As in `nearest_neighbors`.
    """
    if groups is None or not num_examples:
        return num_examples - 1
    return num_examples - int(np.unique(groups, return_counts=True)[1].max())


def most_votes(labels: np.ndarray, neighbors: np.ndarray) -> np.ndarray:
    """Returns the label that most neighbors have, the lowest of several.

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


def _check_arguments(
    features: np.ndarray, k: int, metric: str, groups: np.ndarray | None
) -> np.ndarray:
    """Checks the arguments, and returns the group of each example."""
    if features.ndim not in (2, 3) or features.dtype.kind not in "fiub":
        raise ValueError(
            "`features` must be numbers of shape (examples, channels) or "
            "(experts, examples, channels). Received: shape "
            f"{features.shape} of {features.dtype}."
        )
    num_rows = features.shape[-2]
    groups = np.arange(num_rows) if groups is None else np.asarray(groups)
    if groups.shape != (num_rows,):
        raise ValueError(
            "`groups` must have one id for each example. Received: shape "
            f"{groups.shape} for {num_rows} examples."
        )
    most = most_neighbors(num_rows, groups)
    if not isinstance(k, int | np.integer) or not 1 <= k <= most:
        largest = num_rows - most
        suffix = f", {largest} of one group" if largest > 1 else ""
        raise ValueError(
            "`k` must be a whole number, at least 1 and at most the number of "
            "examples outside each example's group. "
            f"Received: k={k} for {num_rows} examples{suffix}."
        )
    if metric not in METRICS:
        raise ValueError(
            f"`metric` must be one of {METRICS}. Received: {metric!r}."
        )
    return groups


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


def _fill_nearest(rows, groups, out) -> None:
    """Fills `out`, `(n, k)`, with the neighbors of rows `(n, d)`."""
    k = out.shape[1]
    points, halves = centre(rows)
    if not np.isfinite(halves).all():
        _refuse_infinite(rows)
    found = search(points, halves, k, groups)
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
        solved = _fill_ball(rows, groups, waiting, out)
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


def _fill_ball(rows, groups, waiting, out) -> np.ndarray:
    """Fills `out` for some rows that lie close together, and returns them."""
    k, pivot = out.shape[1], np.argmax(waiting)
    distances = _measure(rows, np.full(len(rows), pivot), np.arange(len(rows)))
    same = np.flatnonzero(distances == 0)
    sizes = np.unique(groups[same], return_inverse=True, return_counts=True)
    num_others = len(same) - sizes[2][sizes[1]]
    if num_others[np.searchsorted(same, pivot)] >= k:
        solved = same[num_others >= k]
        _fill_equal(same, groups, solved, out)
        return solved
    largest = len(rows) - most_neighbors(len(rows), groups)
    size = min(max(BALL_ROWS, k + largest), len(rows))
    radius = np.partition(distances, size - 1)[size - 1]
    # At least k rows of other groups are within a radius of the pivot. So the
    # neighbors of a row within two are within five (squared 25, and rounding).
    ball = np.flatnonzero(distances <= 25.001 * radius)
    inside = np.flatnonzero(waiting[ball] & (distances[ball] <= 4 * radius))
    nearest = np.argsort(distances[ball[inside]], kind="stable")
    inside = inside[nearest[: max(1, min(size, BALL_PAIRS // len(ball)))]]
    found = search_around(
        *(rows, ball, inside, pivot, distances[ball] / 2, k, groups[ball])
    )
    left, right = found.pairs()
    _choose(rows, ball[left], ball[right], out)
    return ball[inside]


def _fill_equal(same, groups, solved, out) -> None:
    """Fills `out` for rows of which more than k of other groups are equal.

    Args:
        same: int array, rising. Rows that are equal.
        groups: int array `(n,)`.
        solved: int array. Those of `same` to fill in.
        out: int array `(n, k)`. The first of equals are the nearest.
    """
    k = out.shape[1]
    order = solved[np.argsort(groups[solved], kind="stable")]
    starts = np.flatnonzero(np.diff(groups[order])) + 1
    for members in np.split(order, starts):
        first = same[: k + len(members)]
        out[members] = first[groups[first] != groups[members[0]]][:k]
