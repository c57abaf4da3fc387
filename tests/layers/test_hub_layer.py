"""HubLayer over modules of anybody's making."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_experts.layers import HubLayer
from keras_experts.models import heads
from keras_experts.saved_models.writing import write_keras_module

IMAGES = tf.TensorSpec((None, None, None, 3), tf.float32)


def save_module(path, call, specs, variables=(), trainable=(), **parts):
    """Saves a module of the hub kind, as anybody could have made it."""
    root = tf.train.Checkpoint(**parts)
    root.variables, root.trainable_variables = list(variables), list(trainable)
    root.__call__ = tf.function(call)
    for arguments, keywords in specs:
        root.__call__.get_concrete_function(*arguments, **keywords)
    tf.saved_model.save(root, str(path), parts.get("signatures"))
    return str(path)


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


@pytest.mark.slow
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


def test_frozen_layer_tells_the_module_that_it_is_not_training(
    tmp_path, images
):
    def call(inputs, training=True):
        features = tf.reduce_mean(inputs, (1, 2))
        return 2 * features if training else features

    specs = [((IMAGES,), {"training": t}) for t in (False, True)]
    layer = HubLayer(save_module(tmp_path / "m", call, specs))
    for training in (None, False, True):
        np.testing.assert_allclose(
            layer(images, training=training), images.mean((1, 2)), atol=1e-6
        )


def test_output_of_a_signature_is_picked_by_its_key(baseline_module, images):
    expected = HubLayer(baseline_module)(images)
    for key in ("features", None):
        layer = HubLayer(
            baseline_module, signature="serving_default", output_key=key
        )
        np.testing.assert_allclose(layer(images), expected, atol=1e-6)
    wrong = HubLayer(
        baseline_module, signature="serving_default", output_key="logits"
    )
    with pytest.raises(ValueError, match=r"'logits' for \['features'\]"):
        wrong(images)
    with pytest.raises(ValueError, match="'features' for a tensor"):
        HubLayer(baseline_module, output_key="features")(images)


@pytest.mark.parametrize("signature", [None, "serving_default"])
def test_what_cannot_be_trained_is_saved_and_loaded_when_unfrozen(
    tmp_path, images, baseline_module, signature
):
    path = baseline_module
    if signature is None:
        path = save_module(
            tmp_path / "m",
            lambda x: tf.reduce_mean(x, (1, 2)),
            [((IMAGES,), {})],
        )
    model = heads.add_head(HubLayer(path, signature=signature), 2)
    model.get_layer("head").kernel.assign_add(
        np.ones(model.get_layer("head").kernel.shape)
    )
    model.trainable = False
    model.trainable = True
    assert len(model.trainable_weights) == 2  # the head's
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again(images), model(images))
    assert keras.models.clone_model(model).count_params() > 0


def test_trusted_module_comes_back_where_the_file_is_trusted(tmp_path, images):
    def call(inputs):
        tf.io.matching_files("/*")
        return tf.reduce_mean(inputs, (1, 2))

    path = save_module(tmp_path / "m", call, [((IMAGES,), {})])
    model = heads.add_head(HubLayer(path, trust=True), 2)
    model.save(tmp_path / "model.keras")
    with pytest.raises(TypeError, match="must be trusted"):
        keras.saving.load_model(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=False)
    np.testing.assert_array_equal(again(images), model(images))


def test_variable_that_is_listed_twice_is_one_weight(tmp_path, images):
    kernel = tf.Variable(np.ones((3, 1), np.float32), name="kernel")
    path = save_module(
        tmp_path / "m",
        lambda x: tf.reduce_mean(x, (1, 2)) @ kernel,
        [((IMAGES,), {})],
        [kernel, kernel],
        [kernel],
        kernel=kernel,
    )
    assert len(HubLayer(path, trainable=True).weights) == 1
    only = save_module(
        tmp_path / "only",
        lambda x: tf.reduce_mean(x, (1, 2)) @ kernel,
        [((IMAGES,), {})],
        [],
        [kernel],
        kernel=kernel,
    )
    assert len(HubLayer(only, trainable=True).trainable_weights) == 1


def test_none_among_the_variables_is_no_weight(tmp_path, images):
    kernel = tf.Variable(np.ones((3, 1), np.float32), name="kernel")
    path = save_module(
        tmp_path / "m",
        lambda x: tf.reduce_mean(x, (1, 2)) @ kernel,
        [((IMAGES,), {})],
        [None, kernel],
        [kernel, None],
        kernel=kernel,
        regularization_losses=[None],
    )
    layer = HubLayer(path, trainable=True)
    assert len(layer.trainable_weights) == 1 and layer.losses == []
    np.testing.assert_allclose(layer(images), images.mean((1, 2)) @ kernel)


@pytest.mark.parametrize("num_frames", [3, None])
def test_time_distributed_runs_the_module_on_each_frame(
    two_modes, rng, num_frames
):
    layer = HubLayer(two_modes, output_key="out")
    frames = keras.Input((num_frames, 5, 6, 3))
    outputs = keras.layers.TimeDistributed(layer)(frames)
    assert outputs.shape == (None, num_frames, 2)
    videos = rng.random((2, 3, 5, 6, 3), np.float32)
    np.testing.assert_allclose(
        keras.Model(frames, outputs)(videos),
        videos.mean((2, 3)) @ np.ones((3, 2)),
        atol=1e-5,
    )


def test_output_shape_is_known_without_a_call(two_modes):
    layer = HubLayer(two_modes)
    shape = layer.compute_output_shape((None, 5, 6, 3))
    assert shape == {"out": (None, 2), "plain": (None, 2)}


@pytest.mark.slow
def test_importing_the_layers_is_enough_to_load_a_saved_model(
    two_modes, images, tmp_path
):
    model = keras.Sequential([HubLayer(two_modes, output_key="out")])
    expected = np.asarray(model(images))
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "images.npy", images)
    code = (
        "import keras, numpy as np, keras_experts.layers\n"
        "model = keras.saving.load_model('model.keras')\n"
        "np.save('outputs.npy', model(np.load('images.npy')))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    outputs = np.load(tmp_path / "outputs.npy")
    np.testing.assert_allclose(outputs, expected, atol=1e-6)


def test_losses_of_a_layer_used_twice_count_once(two_modes, images):
    layer = HubLayer(two_modes, trainable=True, output_key="out")
    assert [float(loss) for loss in layer.losses] == [3.0]
    layer(images)
    layer(images)
    assert [float(loss) for loss in layer.losses] == [3.0]


class Wrapped(keras.layers.Layer):
    """A layer of somebody's own around a module, without `training`."""

    def __init__(self, handle, **kwargs):
        super().__init__(**kwargs)
        self.module = HubLayer(handle, trainable=True, output_key="out")
        self.dropout = keras.layers.Dropout(0.5)

    def call(self, inputs):
        return self.dropout(self.module(inputs))


def test_module_inside_another_layer_keeps_modes_and_losses(
    two_modes, images, tmp_path
):
    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, Wrapped(two_modes)(inputs))
    write_keras_module(tmp_path / "again", model, "features", {})
    again = tf.saved_model.load(str(tmp_path / "again"))
    assert [float(loss()) for loss in again.regularization_losses] == [3.0]
    plain, trained = (again(images, training=t) for t in (False, True))
    assert np.all((trained == 0) | (trained == 20 * plain))
    assert np.any(trained == 0)


@pytest.mark.parametrize("dtype", ["float64", "float16", "float32"])
def test_floats_are_cast_to_what_the_module_takes(tmp_path, images, dtype):
    spec = tf.TensorSpec((None, None, None, 3), dtype)
    path = save_module(
        tmp_path / "m", lambda x: tf.reduce_mean(x, (1, 2)), [((spec,), {})]
    )
    for given in ("float64", "float16", "float32"):
        features = HubLayer(path)(images.astype(given))
        assert features.dtype == "float32"
        np.testing.assert_allclose(features, images.mean((1, 2)), atol=1e-2)


def test_module_of_words_takes_a_dict_of_numbers(tmp_path):
    table = tf.Variable(np.arange(12, dtype=np.float32).reshape(6, 2))

    def call(inputs):
        words = tf.gather(table, inputs["input_word_ids"])
        mask = tf.cast(inputs["input_mask"], tf.float32)[..., None]
        pooled = tf.reduce_sum(words * mask, axis=1)
        return {"default": pooled, "sequence_output": words}

    ids = tf.TensorSpec((None, None), tf.int32)
    inputs = {"input_word_ids": ids, "input_mask": ids}
    path = save_module(
        tmp_path / "m", call, [((inputs,), {})], [table], [table], table=table
    )
    given = {
        name: keras.Input((None,), dtype="int32", name=name) for name in inputs
    }
    layer = HubLayer(path, trainable=True, output_key="default")
    model = keras.Model(given, layer(given))
    batch = {
        "input_word_ids": np.array([[1, 5, 0]], np.int32),
        "input_mask": np.array([[1, 1, 0]], np.int32),
    }
    np.testing.assert_allclose(model(batch), [[12, 14]])
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(again(batch), [[12, 14]])


def test_text_goes_through_a_vocabulary_in_fit(tmp_path):
    keys = tf.constant(["good", "bad"])
    initializer = tf.lookup.KeyValueTensorInitializer(
        keys, tf.constant([1, 2], tf.int64)
    )
    table = tf.lookup.StaticHashTable(initializer, 0)
    rows = tf.Variable(np.zeros((3, 2), np.float32), name="rows")
    path = save_module(
        tmp_path / "m",
        lambda words: tf.gather(rows, table.lookup(words)),
        [((tf.TensorSpec((None,), tf.string),), {})],
        [rows],
        [rows],
        table=table,
        rows=rows,
    )
    inputs = keras.Input((), dtype="string")
    outputs = keras.layers.Dense(1)(HubLayer(path, trainable=True)(inputs))
    model = keras.Model(inputs, outputs)
    model.compile("sgd", "mse")
    assert not model.jit_compile
    words = tf.constant(["good", "bad", "odd", "good"])
    model.fit(words, np.array([1.0, -1.0, 0.0, 1.0]), epochs=2, verbose=0)
    assert np.any(np.array(model.layers[1].weights[0]))
