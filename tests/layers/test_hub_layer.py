"""HubLayer over modules of anybody's making."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_experts.layers import HubLayer
from keras_experts.models import heads
from keras_experts.saved_models.writing import write_keras_module

IMAGES = tf.TensorSpec((None, None, None, 3), tf.float32)


@pytest.fixture
def two_modes(tmp_path):
    """A module that tells training, has a loss and a frozen variable."""
    root = tf.train.Checkpoint()
    root.kernel = tf.Variable(np.ones((3, 2), np.float32), name="kernel")
    root.calls = tf.Variable(0.0, trainable=False, name="calls")
    root.variables = [root.kernel, root.calls]
    root.trainable_variables = [root.kernel]
    root.regularization_losses = [
        tf.function(
            lambda: 0.5 * tf.reduce_sum(root.kernel**2), input_signature=()
        )
    ]

    @tf.function
    def call(inputs, training=False, scale=1.0):
        features = scale * tf.reduce_mean(inputs, (1, 2)) @ root.kernel
        if training:
            root.calls.assign_add(1.0)
            return {"out": 10 * features, "plain": features}
        return {"out": features, "plain": features}

    root.__call__ = call
    for training in (False, True):
        call.get_concrete_function(
            IMAGES, training=training, scale=tf.TensorSpec((), tf.float32)
        )
    tf.saved_model.save(root, str(tmp_path / "module"))
    return str(tmp_path / "module")


@pytest.fixture
def images(rng):
    return rng.random((4, 5, 6, 3), np.float32)


def test_training_reaches_a_module_that_is_trained(two_modes, images):
    expected = images.mean((1, 2)) @ np.ones((3, 2))
    layer = HubLayer(two_modes, trainable=True, output_key="out")
    np.testing.assert_allclose(layer(images), expected, atol=1e-5)
    trained = layer(images, training=True)
    np.testing.assert_allclose(trained, 10 * expected, atol=1e-5)
    # A frozen one is never told, as in hub.KerasLayer.
    frozen = HubLayer(two_modes, output_key="out")
    np.testing.assert_allclose(
        frozen(images, training=True), expected, atol=1e-5
    )


def test_arguments_and_outputs_are_the_module_s(two_modes, images):
    layer = HubLayer(two_modes, arguments={"scale": 3.0})
    outputs = layer(images)
    assert set(outputs) == {"out", "plain"}
    expected = 3 * images.mean((1, 2)) @ np.ones((3, 2))
    np.testing.assert_allclose(outputs["plain"], expected, atol=1e-5)


def test_regularisation_is_part_of_the_loss_while_it_is_trained(
    two_modes, images
):
    layer = HubLayer(two_modes, trainable=True, output_key="out")
    layer(images)
    assert [float(loss) for loss in layer.losses] == [3.0]
    frozen = HubLayer(two_modes, output_key="out")
    frozen(images)
    assert frozen.losses == []


def test_only_the_module_s_trainable_variables_train(two_modes):
    layer = HubLayer(two_modes, trainable=True, output_key="out")
    assert [w.name for w in layer.trainable_weights] == ["kernel"]
    assert [w.name for w in layer.non_trainable_weights] == ["calls"]
    layer.trainable = False
    assert layer.trainable_weights == []


def test_module_written_again_keeps_modes_and_losses(
    two_modes, images, tmp_path
):
    layer = HubLayer(two_modes, trainable=True, output_key="out")
    model = heads.add_head(layer, 2)
    model.get_layer("head").kernel.assign(np.eye(2))
    write_keras_module(tmp_path / "again", model, "logits", {})
    again = tf.saved_model.load(str(tmp_path / "again"))
    for training in (False, True):
        np.testing.assert_allclose(
            again(images, training=training),
            model(images, training=training),
            atol=1e-5,
        )
    assert [float(loss()) for loss in again.regularization_losses] == [3.0]
    assert len(again.variables) == 4
    assert len(again.trainable_variables) == 3


def test_writing_a_module_again_and_again_does_not_make_it_larger(
    baseline_module, tmp_path
):
    def size(folder, pattern):
        return sum(file.stat().st_size for file in folder.rglob(pattern))

    sizes = []
    path = baseline_module
    for number in range(3):
        inputs = keras.Input((None, None, 3))
        layer = HubLayer(path, trainable=True)
        folder = tmp_path / str(number)
        model = keras.Model(inputs, layer(inputs))
        write_keras_module(folder, model, "features", {})
        sizes.append([size(folder, "*.data*"), size(folder, "*.pb")])
        path = str(folder)
    (data, graph), *others = sizes
    for other_data, other_graph in others:
        assert other_data <= 1.01 * data
        # Calls of the module inside; its own graph is there once.
        assert other_graph <= 1.25 * graph


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_computes_the_module_in_float32(
    baseline_module, images, policy
):
    expected = HubLayer(baseline_module)(images)
    layer = HubLayer(baseline_module, trainable=True, dtype=policy)
    features = layer(images)
    assert features.dtype == policy.removeprefix("mixed_")
    assert {weight.dtype for weight in layer.weights} == {"float32"}
    np.testing.assert_allclose(
        tf.cast(features, tf.float32), expected, rtol=1e-2, atol=1e-2
    )
    # What comes from a layer in half precision is taken.
    half = layer(tf.cast(images, policy.removeprefix("mixed_")))
    assert np.isfinite(tf.cast(half, tf.float32)).all()


def test_fit_trains_it_under_a_strategy(baseline_module, images):
    devices = tf.config.list_logical_devices("CPU")
    strategy = tf.distribute.MirroredStrategy([d.name for d in devices])
    with strategy.scope():
        model = heads.add_head(HubLayer(baseline_module, trainable=True), 2)
        model.compile(
            "sgd",
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
    before = [np.array(weight) for weight in model.trainable_weights]
    model.fit(images, np.array([0, 1, 0, 1]), batch_size=4, epochs=2, verbose=0)
    moved = [
        not np.array_equal(np.array(weight), old)
        for weight, old in zip(model.trainable_weights, before, strict=True)
    ]
    assert all(moved)


def test_config_makes_an_equal_layer(two_modes, images):
    layer = HubLayer(
        two_modes, True, {"scale": 2.0}, output_key="plain", trust=True
    )
    config = layer.get_config()
    assert "trust" not in config  # a file cannot ask for it
    again = HubLayer.from_config(config)
    assert again.trainable
    np.testing.assert_array_equal(again(images), layer(images))
