"""Modules as anybody could have made them."""

import tensorflow as tf

SPEC = tf.TensorSpec((None, None, None, 3), tf.float32)


def save_module(path, function, spec=SPEC):
    """Saves a function of images."""
    root = tf.train.Checkpoint()
    root.__call__ = tf.function(function, input_signature=[spec])
    tf.saved_model.save(root, str(path))
    return str(path)


def mean(images):
    """Features that every module could have: the mean colour."""
    return tf.reduce_mean(images, (1, 2))


def loop_for_ever(images):
    """Never gives anything."""
    forever = tf.while_loop(
        lambda x: tf.reduce_all(x > -1.0), lambda x: (x + 1.0,), (images,)
    )
    return mean(forever[0])


def take_all_memory(images):
    """Asks for more memory than any machine has."""
    huge = tf.fill((2**20, 2**20), tf.reduce_mean(images))
    return mean(images) + tf.reduce_sum(huge)
