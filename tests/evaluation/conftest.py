"""Modules that train and compile at once."""

import numpy as np
import pytest
import tensorflow as tf

SPEC = tf.TensorSpec((None, None, None, 3), tf.float32)


def save_small(path, seed):
    """Saves a trainable module of one layer on the mean colour."""
    rng = np.random.default_rng(seed)
    root = tf.train.Checkpoint()
    root.kernel = tf.Variable(rng.normal(size=(3, 4)).astype(np.float32))
    root.variables = root.trainable_variables = [root.kernel]
    root.regularization_losses = []

    def features(images, training=False):
        return tf.reduce_mean(images, (1, 2)) @ root.kernel

    root.__call__ = tf.function(features)
    for training in (False, True):
        root.__call__.get_concrete_function(SPEC, training=training)
    tf.saved_model.save(root, str(path))


@pytest.fixture(scope="session")
def small_pool(make_once):
    """A pool file of three modules, the first of which is the baseline."""

    def make(folder):
        for seed in range(3):
            save_small(folder / f"module{seed}", seed)
        (folder / "pool.txt").write_text(
            "module0 baseline image_size=8\n"
            "module1 image_size=8\nmodule2 image_size=8\n"
        )

    return str(make_once("small_pool", make) / "pool.txt")
