"""One expert: a small residual network added to a block's input."""

import keras
from keras import ops

from keras_experts.layers.group_norm import group_norm


def bottleneck_channels(channels: int, bottleneck_ratio: float) -> int:
    """Gives the channels between the two convolutions, at least one.

    Raises:
        ValueError: if `bottleneck_ratio` is not above 0.
    """
    if not bottleneck_ratio > 0:
        raise ValueError(
            f"`bottleneck_ratio` must be above 0. Received: {bottleneck_ratio}."
        )
    return max(1, round(channels * bottleneck_ratio))


@keras.saving.register_keras_serializable(package="keras_experts")
class ResidualAdapter(keras.layers.Layer):
    """Adds to its input a bottleneck of two (norm, ReLU, 1x1 convolution).

    A new adapter is the identity: its last kernel is zero. With c channels
    and the default ratio it has c² kernel parameters and 3c of norms.

    Args:
        bottleneck_ratio: float. Channels between the two convolutions, as a
            share of the input's; above 0.

    Call arguments:
        inputs: float tensor `(batch, height, width, channels)`.

    Returns:
        Float tensor of the shape of `inputs`.

    References:
        Section 4.1 and figure 3b of the paper.
    """

    def __init__(self, bottleneck_ratio: float = 0.5, **kwargs):
        super().__init__(**kwargs)
        self.bottleneck_ratio = bottleneck_ratio

    def build(self, input_shape):
        channels = input_shape[-1]
        hidden = bottleneck_channels(channels, self.bottleneck_ratio)
        self.norm_down = group_norm(channels, "norm_down")
        self.norm_down.build(input_shape)
        self.down = self.add_weight(
            shape=(channels, hidden), initializer="he_normal", name="down"
        )
        self.norm_up = group_norm(hidden, "norm_up")
        self.norm_up.build((*input_shape[:-1], hidden))
        self.up = self.add_weight(
            shape=(hidden, channels), initializer="zeros", name="up"
        )

    def call(self, inputs):
        hidden = ops.relu(self.norm_down(inputs))
        hidden = ops.einsum("bhwc,cd->bhwd", hidden, self.down)
        hidden = ops.relu(self.norm_up(hidden))
        return inputs + ops.einsum("bhwd,dc->bhwc", hidden, self.up)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {
            **super().get_config(),
            "bottleneck_ratio": self.bottleneck_ratio,
        }
