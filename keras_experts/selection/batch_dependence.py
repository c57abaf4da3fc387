"""Finding modules whose features depend on the rest of their batch."""

from collections.abc import Callable

import numpy as np

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
