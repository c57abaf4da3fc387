"""Group normalisation as every network here uses it."""

import keras
from keras import ops

EPSILON = 1e-5  # BiT's; Keras' default is 1e-3.


def num_groups(channels: int) -> int:
    """Gives the number of groups for a number of channels.

    Raises:
        ValueError: if `min(32, channels // 2)` does not divide `channels`.
    """
    groups = max(1, min(32, channels // 2))
    if channels % groups:
        raise ValueError(
            "The number of channels must be a multiple of the number of "
            "groups, min(32, channels // 2). "
            f"Received: {channels} channels for {groups} groups."
        )
    return groups


def normalize(inputs, gamma, beta):
    """Normalizes groups of channels of each image, then scales them.

    A group's statistics come from those of its channels: XLA's CPU compiler
    makes sums over positions alone 1.6 to 2 times as fast as over positions
    and some of the channels, and TensorFlow's own kernels 2 to 4 times. All
    that follows from them is one factor and one term a channel, so that the
    gradient, too, sums over positions twice and not four times: a step of a
    small network takes two thirds to four fifths of the time.

    Args:
        inputs: float tensor `(batch, height, width, channels)`.
        gamma: float tensor `(channels,)` or `(batch, channels)`.
        beta: float tensor of the shape of `gamma`.

    Returns:
        Float tensor of the shape of `inputs`.
    """
    batch, height, width, channels = ops.shape(inputs)
    groups = num_groups(channels)
    # With one unknown size alone: each more adds operations to every graph.
    grouped = (-1, groups, channels // groups)
    # In float32: half precision loses the variance of large activations. Along
    # one axis: XLA's sums along two are slower.
    positions = ops.reshape(
        ops.cast(inputs, "float32"), (batch, height * width, channels)
    )
    mean, variance = ops.moments(positions, axes=(1,))  # (batch, channels)
    mean, variance = ops.reshape(mean, grouped), ops.reshape(variance, grouped)
    group_mean = ops.mean(mean, axis=2, keepdims=True)  # (batch, groups, 1)
    group_variance = ops.mean(
        variance + ops.square(mean - group_mean), axis=2, keepdims=True
    )
    scale = ops.reshape(ops.cast(gamma, "float32"), grouped)
    factor = ops.rsqrt(group_variance + EPSILON) * scale
    offset = ops.reshape(ops.cast(beta, "float32"), grouped)
    term = offset - group_mean * factor  # (batch, groups, channels // groups)
    factor, term = (ops.reshape(x, (-1, 1, channels)) for x in (factor, term))
    outputs = positions * factor + term
    return ops.reshape(
        ops.cast(outputs, inputs.dtype), (batch, height, width, channels)
    )


@keras.saving.register_keras_serializable(package="keras_experts")
class GroupNormalization(keras.layers.GroupNormalization):
    """Keras' group normalisation of images, computed by `normalize`."""

    def call(self, inputs):
        gamma = ops.cast(self.gamma, inputs.dtype)
        beta = ops.cast(self.beta, inputs.dtype)
        return normalize(inputs, gamma, beta)


def group_norm(channels: int, name: str) -> GroupNormalization:
    """Makes the group normalisation of a tensor with that many channels."""
    return GroupNormalization(
        groups=num_groups(channels), epsilon=EPSILON, name=name
    )
