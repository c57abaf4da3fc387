"""Checks of the features that a module returns."""

from collections.abc import Callable

import numpy as np

from keras_experts.selection.modules import Candidate

# By how much features may change with their batch, as a fraction of the
# largest one: bfloat16 rounds to 0.4%.
TOLERANCE = 0.02


def check_independence(
    forward: Callable[[np.ndarray, int], np.ndarray],
    batch: np.ndarray,
    features: np.ndarray,
    name: str,
) -> None:
    """Raises if features depend on the other examples of their batch.

    The first half of the batch is run again, in two orders and without the
    second half: one more forward pass.

    Args:
        forward: function of a batch and of the number of examples in it to
            their features.
        batch: array of the examples, and of what fills it up.
        features: float32 array `(n, channels)`, those that it gave.
        name: str. What errors call the module.

    Raises:
        ValueError: if they do.
    """
    half = len(features) // 2
    if not half:
        return
    order = np.zeros(len(batch), int)
    order[: 2 * half] = [*reversed(range(half)), *range(half)]
    again = forward(batch[order], 2 * half)
    expected = features[order[: 2 * half]]
    largest = max(np.abs(expected).max(), np.finfo(np.float32).tiny)
    change = np.abs(again - expected).max() / largest
    if change > TOLERANCE:
        raise ValueError(
            "A module must give an example the same features in any batch. "
            f"Received: {name}, whose features change by {change:.0%} of the "
            "largest one with the order and the other examples (does it use "
            "batch statistics or dropout?)."
        )


def check_varied(candidate: Candidate, features: np.ndarray) -> None:
    """Raises where features `(n, channels)` are the same for all images."""
    if len(features) > 1 and (features == features[0]).all():
        raise ValueError(
            "A module must give features that differ between examples. "
            "Received: "
            f"{candidate.handle}, the same for all {len(features)}."
        )


def of_one_width(
    features, widths: dict, part: str | None, candidate: Candidate
):
    """Returns features, or an error where others of their part are wider."""
    width = features.shape[1]
    known = widths.setdefault(part, width)
    if width == known:
        return features
    return ValueError(
        "A module must give as many channels for all examples. "
        f"Received: {candidate.handle}, with {known} and {width}."
    )
