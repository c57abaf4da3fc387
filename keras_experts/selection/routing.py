"""Features of each image from the expert that suits the image best.

This is a future direction in section 7 of the paper; the procedure is ours.
"""

from collections.abc import Callable

import numpy as np

from keras_experts.selection.neighbors import leave_one_out_correct


def pick_experts(weights: np.ndarray, threshold: float = 0.5) -> np.ndarray:
    """Picks the most probable expert of each image.

    Args:
        weights: float array `(n, experts)`. Probabilities of the expert
            prediction network, in [0, 1].
        threshold: float. Least probability of an expert, in [0, 1].

    Returns:
        Int array `(n,)` in [-1, experts), as a bank takes it; -1, the
        baseline, where no expert is as probable as `threshold`. Equal ones
        go to the lower index.

    Raises:
        ValueError: if the shape does not fit, or there are no probabilities.
    """
    weights = np.asarray(weights)
    outside = np.count_nonzero(~((weights >= 0) & (weights <= 1)))
    if weights.ndim != 2 or weights.shape[1] == 0 or outside:
        raise ValueError(
            "`weights` must have shape (examples, experts) and be in [0, 1]. "
            f"Received: shape {weights.shape}, {outside} values outside."
        )
    probable = weights.max(axis=1) >= threshold
    return np.where(probable, weights.argmax(axis=1), -1)


def route(
    features: Callable[[int, np.ndarray], np.ndarray],
    weights: np.ndarray,
    labels: np.ndarray,
    threshold: float | None = 0.5,
    groups: np.ndarray | None = None,
) -> np.ndarray:
    """Scores features that come from each image's own expert.

    The experts must be of one bank, whose features share a space.

    Args:
        features: function of an expert, -1 for the baseline, and an int array
            `(k,)` of images to float features `(k, d)`.
        weights: float array `(n, experts)`. Probabilities of the expert
            prediction network, in [0, 1].
        labels: int array `(n,)`.
        threshold: float. In [0, 1]: the baseline is taken for images without
            an expert as probable. None: the most probable is taken, however
            improbable.
        groups: int array `(n,)`. As in `nearest_neighbors`.

    Returns:
        Bool array `(n,)`. Whether the nearest other example has the label of
        each.

    Raises:
        ValueError: if shapes do not fit, or a value is not finite.
    """
    chosen = pick_experts(weights, 0.0 if threshold is None else threshold)
    mixed = None
    for expert in np.unique(chosen):
        rows = np.flatnonzero(chosen == expert)
        part = np.asarray(features(int(expert), rows))
        if mixed is None:
            mixed = np.empty((len(chosen), part.shape[-1]), part.dtype)
        if part.shape != (len(rows), mixed.shape[1]):
            raise ValueError(
                "Experts to route between must give features of one space, "
                f"(images, channels). Received: shape {part.shape}, not "
                f"{(len(rows), mixed.shape[1])}."
            )
        mixed[rows] = part
    return leave_one_out_correct(mixed, labels, groups=groups)
