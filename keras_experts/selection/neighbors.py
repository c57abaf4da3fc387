"""Exact leave-one-out nearest neighbours.

Distances come from one matrix product, |x|² - 2xy + |y|², in float64 and
around the mean. That form still loses digits where points lie close together
and far from the mean, so all candidates within its rounding error are
measured again by direct differences.
"""

import numpy as np

# Rows of the distance matrix at a time: it is never held whole.
TILE_ROWS = 1024
# Float64 values of direct differences at a time (256 MiB).
DIRECT_VALUES = 2**25


def nearest_neighbors(features: np.ndarray, k: int = 1) -> np.ndarray:
    """Finds the nearest other examples of each example.

    Distances are Euclidean. An example is never its own neighbour, but a
    duplicate of it may be. Equal distances go to the lower index.

    Args:
        features: float array `(n, d)`.
        k: int. Neighbours of each example, in [1, n - 1].

    Returns:
        Int array `(n, k)`, the nearest first.

    Raises:
        ValueError: if the shape or `k` does not fit, or a value is not finite.

    References:
        Section 5 of the paper (performance proxy).
    """
    features = _checked(features, k)
    squares = np.einsum("nd,nd->n", features, features)
    # The error of a distance: the product's own over d terms, and the sums'.
    epsilon = np.finfo(np.float64).eps * (features.shape[1] + 8)
    neighbors = np.empty((len(features), k), np.int64)
    for start in range(0, len(features), TILE_ROWS):
        stop = min(start + TILE_ROWS, len(features))
        rows = np.arange(stop - start)
        distances = features[start:stop] @ features.T
        distances *= -2
        distances += squares[start:stop, None]
        distances += squares
        distances[rows, start + rows] = np.inf  # no example is its own
        error = epsilon * (squares[start:stop] + squares.max())
        limits = np.partition(distances, k - 1)[:, k - 1] + 2 * error
        near, candidates = np.nonzero(distances <= limits[:, None])
        exact = _direct(features, start + near, candidates)
        order = np.lexsort((candidates, exact, near))
        # Each row has at least k candidates; its first k are the answer.
        first = np.searchsorted(near[order], rows)
        chosen = order[first[:, None] + np.arange(k)]
        neighbors[start:stop] = candidates[chosen]
    return neighbors


def leave_one_out_accuracy(
    features: np.ndarray, labels: np.ndarray, k: int = 1
) -> float:
    """Scores features by the label of each example's nearest others.

    Args:
        features: float array `(n, d)`.
        labels: int array `(n,)`, at least 0.
        k: int. Neighbours that vote; a tie goes to the lower label.

    Returns:
        float. Share of examples whose label wins, in [0, 1].

    Raises:
        ValueError: as `nearest_neighbors`, or if the lengths differ.
    """
    return float(np.mean(leave_one_out_correct(features, labels, k)))


def leave_one_out_correct(
    features: np.ndarray, labels: np.ndarray, k: int = 1
) -> np.ndarray:
    """Tells for each example whether its neighbours give its label.

    Returns:
        Bool array `(n,)`.
    """
    labels = np.asarray(labels)
    if labels.shape != (len(features),):
        raise ValueError(
            "`features` and `labels` must have the same length. Received: "
            f"{len(features)} features, labels of shape {labels.shape}."
        )
    votes = labels[nearest_neighbors(features, k)]  # (n, k)
    if k == 1:
        return votes[:, 0] == labels
    tallies = np.zeros((len(labels), int(labels.max()) + 1), np.int64)
    np.add.at(tallies, (np.arange(len(labels))[:, None], votes), 1)
    return tallies.argmax(axis=1) == labels


def _checked(features: np.ndarray, k: int) -> np.ndarray:
    features = np.asarray(features, np.float64)
    if features.ndim != 2:
        raise ValueError(
            "`features` must have shape (examples, channels). "
            f"Received: shape {features.shape}."
        )
    if not 1 <= k < len(features):
        raise ValueError(
            "`k` must be at least 1 and less than the number of examples. "
            f"Received: k={k} for {len(features)} examples."
        )
    if not np.isfinite(features).all():
        raise ValueError(
            "`features` must be finite. Received: "
            f"{np.count_nonzero(~np.isfinite(features))} NaN or infinite."
        )
    return features - features.mean(axis=0)


def _direct(
    features: np.ndarray, left: np.ndarray, right: np.ndarray
) -> np.ndarray:
    """Measures squared distances of pairs by their differences."""
    distances = np.empty(len(left))
    step = max(1, DIRECT_VALUES // features.shape[1])
    for start in range(0, len(left), step):
        pairs = slice(start, start + step)
        difference = features[left[pairs]] - features[right[pairs]]
        distances[pairs] = np.einsum("pd,pd->p", difference, difference)
    return distances
