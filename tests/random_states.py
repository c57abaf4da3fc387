"""A check that a function leaves the caller's random state alone."""

import contextlib
import random

import numpy as np


def draw():
    import tensorflow as tf

    return [
        random.random(),
        np.random.random(),
        float(tf.random.uniform(())),
    ]


def seed_everything():
    import tensorflow as tf

    random.seed(5)
    np.random.seed(6)
    tf.random.set_seed(7)


@contextlib.contextmanager
def unchanged_random_state():
    """Fails if the next draws are not those without what runs inside."""
    seed_everything()
    expected = draw()
    seed_everything()
    yield
    assert draw() == expected
