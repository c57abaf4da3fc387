"""The caller's random state, which no function of the package changes."""

import contextlib
import random
from collections.abc import Iterator

import numpy as np


@contextlib.contextmanager
def callers_random_state() -> Iterator[None]:
    """Restores the global state of Python's and NumPy's generators at the end.

    Keras draws the seeds of initializers and of dropout from Python's
    generator, and other libraries may draw from either. Use it as a decorator
    of entry points.
    """
    python, numpy = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


def seed_initializers(seed: int) -> None:
    """Seeds what Keras draws when it builds layers.

    Only Python's generator: TensorFlow's global seed cannot be restored. Call
    it within `callers_random_state`.

    Args:
        seed: int.
    """
    random.seed(seed)
