"""Losses of one example each, from targets and logits."""

import functools
from collections.abc import Callable

import tensorflow as tf


def softmax_loss(
    targets: tf.Tensor, logits: tf.Tensor, label_smoothing: float = 0.0
) -> tf.Tensor:
    """Cross-entropy to target probabilities.

    Args:
        targets: float tensor `(batch, classes)`.
        logits: float tensor `(batch, classes)`.
        label_smoothing: float. Share of each target that is spread over all
            classes, in [0, 1).

    Returns:
        Float32 tensor `(batch,)`, nats.
    """
    classes = tf.cast(tf.shape(targets)[-1], targets.dtype)
    targets = (1 - label_smoothing) * targets + label_smoothing / classes
    return tf.nn.softmax_cross_entropy_with_logits(targets, logits)


def sigmoid_loss(
    targets: tf.Tensor, logits: tf.Tensor, label_smoothing: float = 0.0
) -> tf.Tensor:
    """Binary cross-entropy, summed over classes.

    Args:
        targets: float tensor `(batch, classes)`, values in [0, 1].
        logits: float tensor `(batch, classes)`.
        label_smoothing: float. Share by which targets move to one half, in
            [0, 1).

    Returns:
        Float32 tensor `(batch,)`, nats.
    """
    targets = (1 - label_smoothing) * targets + label_smoothing / 2
    losses = tf.nn.sigmoid_cross_entropy_with_logits(targets, logits)
    return tf.reduce_sum(losses, axis=-1)


LOSSES = {"softmax": softmax_loss, "sigmoid": sigmoid_loss}


def make_loss(name: str, label_smoothing: float = 0.0) -> Callable:
    """Gives a loss by name.

    Raises:
        ValueError: if there is none, or the smoothing is out of its range.
    """
    if name not in LOSSES:
        raise ValueError(
            f"`loss` must be one of {sorted(LOSSES)}. Received: {name!r}."
        )
    if not 0 <= label_smoothing < 1:
        raise ValueError(
            f"`label_smoothing` must be in [0, 1). Received: {label_smoothing}."
        )
    return functools.partial(LOSSES[name], label_smoothing=label_smoothing)
