"""The mean over the tokens that a text has."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_experts")
class MaskedMean(keras.layers.Layer):
    """Averages the vectors of the tokens that are there.

    Call arguments:
        inputs: float tensor `(batch, length, channels)`.
        present: int tensor `(batch, length)`, 1 for tokens and 0 for padding.

    Returns:
        Float tensor `(batch, channels)`; zeros for a text of no token.
    """

    def call(self, inputs, present):
        present = ops.cast(present, inputs.dtype)
        total = ops.einsum("blc,bl->bc", inputs, present)
        number = ops.sum(present, axis=1, keepdims=True)
        return total / ops.maximum(number, 1)  # (batch, channels)

    def compute_output_shape(self, inputs_shape, present_shape=None):
        return (inputs_shape[0], inputs_shape[2])
