"""The convolution of BiT networks."""

import keras
from keras import ops

# Inside the square root, as in the published BiT networks.
VARIANCE_EPSILON = 1e-10


@keras.saving.register_keras_serializable(package="keras_experts")
class StandardizedConv2D(keras.layers.Layer):
    """Convolves with kernels of zero mean and unit variance, without bias.

    The mean and the variance of each output filter are taken over height,
    width and input channels, in float32 whatever the compute dtype. The input
    is padded with `(kernel_size - 1) // 2` zeros before and the rest after,
    whatever the stride, where TensorFlow's "same" depends on the input size.

    Args:
        filters: int. Number of output channels.
        kernel_size: int. Height and width of the kernel.
        strides: int. Step of the convolution in both directions.

    Call arguments:
        inputs: float tensor `(batch, height, width, channels)`.

    Returns:
        Float tensor `(batch, ceil(height / strides), ceil(width / strides),
        filters)`.

    References:
        Weight standardization (Qiao et al., 2019), as in Big Transfer
        (Kolesnikov et al., 2020).
    """

    def __init__(
        self, filters: int, kernel_size: int, strides: int = 1, **kwargs
    ):
        super().__init__(**kwargs)
        for name, value in (
            ("filters", filters),
            ("kernel_size", kernel_size),
            ("strides", strides),
        ):
            if value < 1:
                raise ValueError(
                    f"`{name}` must be at least 1. Received: {value}."
                )
        self.filters = filters
        self.kernel_size = kernel_size
        self.strides = strides

    def build(self, input_shape):
        shape = (self.kernel_size,) * 2 + (input_shape[-1], self.filters)
        # Not autocast: the statistics are taken in float32.
        self.kernel = self.add_weight(
            shape=shape, initializer="he_normal", name="kernel", autocast=False
        )

    def call(self, inputs):
        kernel = ops.convert_to_tensor(self.kernel)
        mean, variance = ops.moments(kernel, axes=(0, 1, 2), keepdims=True)
        kernel = (kernel - mean) * ops.rsqrt(variance + VARIANCE_EPSILON)
        kernel = ops.cast(kernel, self.compute_dtype)
        padding = "valid"
        total = self.kernel_size - 1
        if self.strides == 1 and total % 2 == 0:
            padding = "same"  # the same zeros, without a copy of the input
        elif total:
            pads = (total // 2, total - total // 2)
            inputs = ops.pad(inputs, ((0, 0), pads, pads, (0, 0)))
        return ops.conv(
            inputs,
            kernel,
            strides=self.strides,
            padding=padding,
            data_format="channels_last",
        )

    def compute_output_shape(self, input_shape):
        batch, height, width, _ = input_shape
        size = [
            None if side is None else -(-side // self.strides)
            for side in (height, width)
        ]
        return (batch, *size, self.filters)

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
        }
