import keras
import numpy as np
import pytest
from keras import ops

from keras_experts.layers.group_norm import EPSILON
from keras_experts.layers.group_norm import GroupNormalization
from keras_experts.layers.group_norm import group_norm
from keras_experts.layers.group_norm import normalize
from keras_experts.layers.group_norm import num_groups


@pytest.mark.parametrize("channels", [2, 16, 64, 96])
@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_normalisation_is_keras_own(rng, channels, offset):
    images = rng.normal(size=(3, 5, 4, channels)).astype(np.float32) + offset
    ours = group_norm(channels, "ours")
    theirs = keras.layers.GroupNormalization(
        groups=num_groups(channels), epsilon=EPSILON
    )
    for layer in (ours, theirs):
        layer.build(images.shape)
        layer.gamma.assign(np.linspace(0.5, 2, channels))
        layer.beta.assign(np.linspace(-1, 1, channels))
    atol = 1e-6 if offset == 0 else 1e-4  # float32 has 7 digits
    np.testing.assert_allclose(
        ops.convert_to_numpy(ours(images)),
        ops.convert_to_numpy(theirs(images)),
        atol=atol,
        rtol=1e-6,
    )


def test_normalisation_is_numpy_s_in_float64(rng):
    images = rng.normal(3.0, 2.0, (2, 6, 6, 8))
    gamma, beta = rng.normal(size=(2, 2, 8))
    found = normalize(images.astype("f4"), *np.float32([gamma, beta]))
    grouped = images.reshape(2, 6, 6, 4, 2)
    mean = grouped.mean(axis=(1, 2, 4), keepdims=True)
    variance = grouped.var(axis=(1, 2, 4), keepdims=True)
    expected = ((grouped - mean) / np.sqrt(variance + EPSILON)).reshape(
        images.shape
    )
    # One scale and offset for each image.
    expected = expected * gamma[:, None, None] + beta[:, None, None]
    np.testing.assert_allclose(ops.convert_to_numpy(found), expected, atol=3e-6)


def test_large_activations_in_half_precision_keep_their_variance(rng):
    images = rng.normal(size=(2, 16, 16, 4)) * 300.0
    layer = GroupNormalization(
        groups=2, epsilon=EPSILON, dtype="mixed_bfloat16"
    )
    found = ops.convert_to_numpy(ops.cast(layer(images), "float32"))
    assert found.std() == pytest.approx(1, abs=0.02)


def test_layer_comes_back_from_its_config():
    layer = group_norm(64, "norm")
    copied = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(layer)
    )
    assert isinstance(copied, GroupNormalization)
    assert copied.get_config() == layer.get_config()
