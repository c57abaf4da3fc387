"""Class labels as users give them."""

import numpy as np


def check_labels(labels, name: str) -> np.ndarray:
    """Returns one label per example, checked.

    Args:
        labels: array-like of whole numbers or texts, `(n,)` or `(n, 1)`.
        name: str. What an error calls them.

    Returns:
        Array `(n,)`.

    Raises:
        ValueError: if some are missing, or neither whole numbers nor texts,
            or the shape is another.
    """
    array = np.asarray(labels)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise ValueError(
            f"{name} must have shape (n,), one label per example. "
            f"Received: {array.shape}."
        )
    # NumPy turns None or NaN among texts into a text.
    values = np.asarray(labels, object).ravel()
    missing = [value for value in values if value is None or _is_nan(value)]
    if missing:
        raise ValueError(
            f"{name} must be whole numbers or texts, one per example. "
            f"Received: {array.dtype} with {len(missing)} of {len(values)} "
            f"missing ({missing[0]})."
        )
    if array.dtype.kind == "O" and all(isinstance(v, str) for v in values):
        array = array.astype(str)
    kind = array.dtype.kind
    if kind == "f":
        is_fit = bool(np.isfinite(array).all() and (array % 1 == 0).all())
    else:
        is_fit = kind in "biuSU"
    if not is_fit:
        raise ValueError(
            f"{name} must be whole numbers or texts. "
            f"Received: {array.dtype}, such as {values[:3].tolist()}."
        )
    return array


def _is_nan(value: object) -> bool:
    return isinstance(value, float | np.floating) and bool(np.isnan(value))
