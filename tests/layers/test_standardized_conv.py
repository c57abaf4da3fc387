import keras
import numpy as np
import pytest

from keras_experts.layers import StandardizedConv2D


def reference(inputs, kernel, strides):
    """The convolution by its definition, in float64."""
    kernel = kernel.astype(np.float64)
    axes = (0, 1, 2)
    deviation = np.sqrt(kernel.var(axis=axes) + 1e-10)
    kernel = (kernel - kernel.mean(axis=axes)) / deviation
    size = kernel.shape[0]
    before = (size - 1) // 2
    pads = (before, size - 1 - before)
    padded = np.pad(inputs, ((0, 0), pads, pads, (0, 0)))
    height = -(-inputs.shape[1] // strides)
    width = -(-inputs.shape[2] // strides)
    outputs = np.zeros((len(inputs), height, width, kernel.shape[-1]))
    for y in range(height):
        for x in range(width):
            top, left = y * strides, x * strides
            patch = padded[:, top : top + size, left : left + size]
            outputs[:, y, x] = np.einsum("bhwc,hwcd->bd", patch, kernel)
    return outputs


@pytest.mark.parametrize("kernel_size", [1, 3, 7])
@pytest.mark.parametrize("strides", [1, 2])
@pytest.mark.parametrize("side", [8, 9])
def test_convolution_equals_its_definition(rng, kernel_size, strides, side):
    layer = StandardizedConv2D(5, kernel_size, strides)
    inputs = rng.normal(size=(2, side, side, 3)).astype("float32")
    layer.build(inputs.shape)
    # Not what was drawn: three numbers that are nearly the same lose digits as
    # their mean is taken off, whoever does it in float32.
    layer.kernel.assign(rng.normal(size=layer.kernel.shape))
    outputs = keras.ops.convert_to_numpy(layer(inputs))
    expected = reference(
        inputs, keras.ops.convert_to_numpy(layer.kernel), strides
    )
    # Sums of up to 147 products with a unit-variance kernel.
    np.testing.assert_allclose(outputs, expected, atol=2e-5)
    assert layer.compute_output_shape(inputs.shape) == outputs.shape


def test_scale_and_offset_of_the_kernel_do_not_matter(rng):
    layer = StandardizedConv2D(4, 3)
    inputs = rng.normal(size=(1, 6, 6, 2)).astype("float32")
    before = keras.ops.convert_to_numpy(layer(inputs))
    layer.kernel.assign(layer.kernel * 3.0 + 0.5)
    after = keras.ops.convert_to_numpy(layer(inputs))
    np.testing.assert_allclose(after, before, atol=1e-4)


def test_config_makes_an_equal_layer():
    layer = StandardizedConv2D(4, 3, 2, name="conv")
    config = StandardizedConv2D.from_config(layer.get_config()).get_config()
    assert config == layer.get_config()


def test_sizes_below_one_are_refused():
    with pytest.raises(ValueError, match="`strides` must be .* Received: 0"):
        StandardizedConv2D(4, 3, 0)
