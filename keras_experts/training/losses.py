"""Losses of one example each, from targets and logits."""

import tensorflow as tf


def softmax_loss(targets: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Cross-entropy to target probabilities.

    Args:
        targets: float tensor `(batch, classes)`.
        logits: float tensor `(batch, classes)`.

    Returns:
        Float32 tensor `(batch,)`, nats.
    """
    return tf.nn.softmax_cross_entropy_with_logits(targets, logits)


def sigmoid_loss(targets: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Binary cross-entropy, summed over classes.

    Args:
        targets: float tensor `(batch, classes)`, values in [0, 1].
        logits: float tensor `(batch, classes)`.

    Returns:
        Float32 tensor `(batch,)`, nats.
    """
    losses = tf.nn.sigmoid_cross_entropy_with_logits(targets, logits)
    return tf.reduce_sum(losses, axis=-1)


LOSSES = {"softmax": softmax_loss, "sigmoid": sigmoid_loss}
