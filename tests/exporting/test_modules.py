"""Exported modules, read back by all that reads modules."""

import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_experts.exporting.collection import export_run
from keras_experts.exporting.collection_writer import Publication
from keras_experts.layers import HubLayer
from keras_experts.models import heads
from keras_experts.models import run_folder
from keras_experts.saved_models import handles
from keras_experts.saved_models.writing import write_keras_module
from keras_experts.training.features import load_features


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).random((4, 24, 24, 3), np.float32)


@pytest.fixture(scope="module", params=["baseline", "form"])
def exported(request, run_dir, collection):
    """A module's path and the Keras model it was made from."""
    classifier, _ = run_folder.load_baseline(run_dir)
    backbone = heads.backbone_of(classifier)
    if request.param != "baseline":
        backbone, _ = run_folder.load_expert(
            run_dir, "adapter", request.param, backbone
        )
    path = collection / "acme" / "experts" / request.param / "1"
    return str(path), heads.image_features(backbone)


def test_hub_load_gives_the_source_model_s_features(exported, images):
    import tensorflow_hub as hub

    path, source = exported
    module = hub.load(path)
    for training in (False, True):
        np.testing.assert_allclose(
            module(images, training=training), source(images), atol=1e-5
        )


def test_batch_and_image_size_are_free(exported):
    path, source = exported
    module = tf.saved_model.load(path)
    for shape in ((1, 16, 40, 3), (3, 33, 17, 3)):
        images = np.random.default_rng(1).random(shape, np.float32)
        np.testing.assert_allclose(module(images), source(images), atol=1e-5)


def test_variables_are_listed_once_and_all_trainable(exported):
    path, source = exported
    module = tf.saved_model.load(path)
    names = [variable.name for variable in module.variables]
    assert len(set(names)) == len(names) == len(source.variables)
    trainable = {id(v) for v in module.trainable_variables}
    assert trainable == {id(v) for v in module.variables}
    assert list(module.regularization_losses) == []


def test_serving_signature_names_its_output(exported, images):
    path, source = exported
    serve = tf.saved_model.load(path).signatures["serving_default"]
    outputs = serve(inputs=tf.constant(images))
    assert list(outputs) == ["features"]
    np.testing.assert_allclose(outputs["features"], source(images), atol=1e-5)


def test_files_are_hardly_more_than_the_weights(exported):
    path, source = exported
    weights = 4 * source.count_params()

    def size(p):
        return sum(f.stat().st_size for f in p.rglob("*") if f.is_file())

    folder = handles.resolve(path)
    # The index of a network this small is more than 1 % of its weights.
    assert size(folder / "variables") <= 1.01 * weights + 8192
    assert (folder / "saved_model.pb").stat().st_size <= 4 * 2**20


def two_steps(model, weights, optimizer, images):
    """Trains two steps and tells, by name, which weights moved in each."""
    labels = np.array([0, 1, 2, 0])
    moved = []
    for _ in range(2):
        before = [np.array(weight) for weight in weights]
        with tf.GradientTape() as tape:
            logits = model(images, training=True)
            loss = tf.reduce_mean(
                tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
            )
        variables = model.trainable_variables
        values = [getattr(v, "value", v) for v in variables]
        values = [v() if callable(v) else v for v in values]
        optimizer.apply(tape.gradient(loss, variables), variables)
        moved.append(
            {
                weight.name
                for weight, old in zip(weights, before)
                if not np.array_equal(np.array(weight), old)
            }
        )
    return moved


@pytest.mark.slow
def test_loaded_module_fine_tunes_every_variable(exported, images):
    import tensorflow_hub as hub

    path, source = exported
    module = hub.load(path)
    head = [tf.Variable(tf.zeros((256, 3)), name="kernel")]

    class Model:
        trainable_variables = [*module.trainable_variables, *head]

        def __call__(self, images, training):
            return module(images, training=training) @ head[0]

    weights = Model.trainable_variables
    names = {v.name for v in module.trainable_variables}
    assert len(names) == len(source.variables)

    class Apply:
        def apply(self, gradients, variables):
            for variable, gradient in zip(variables, gradients, strict=True):
                variable.assign_sub(gradient)

    first, second = two_steps(Model(), weights, Apply(), images)
    assert first == {head[0].name}
    assert second == names | {head[0].name}


@pytest.mark.slow
def test_keras3_model_fine_tunes_every_variable(exported, images):
    path, _ = exported
    layer = HubLayer(path, trainable=True)
    model = heads.add_head(layer, 3)
    names = {w.name for w in layer.weights}
    head = {"kernel", "bias"}
    weights = [*layer.weights, *model.get_layer("head").weights]
    optimizer = keras.optimizers.SGD(1.0)
    first, second = two_steps(model, weights, optimizer, images)
    # The head is zero: at first no gradient passes it.
    assert first == head
    # With an adapter's last kernel near zero, all of it gets a gradient.
    assert second == names | head


@pytest.mark.slow
def test_frozen_layer_moves_nothing(exported, images):
    path, _ = exported
    layer = HubLayer(path)
    model = heads.add_head(layer, 3)
    weights = [*layer.weights, *model.get_layer("head").weights]
    moved = two_steps(model, weights, keras.optimizers.SGD(1.0), images)
    assert moved == [{"kernel", "bias"}, {"kernel", "bias"}]


@pytest.mark.slow
def test_tf_keras_model_fine_tunes_every_variable(exported, images):
    import tensorflow_hub as hub
    import tf_keras

    path, source = exported
    layer = hub.KerasLayer(path, trainable=True)
    head = tf_keras.layers.Dense(3, kernel_initializer="zeros")
    model = tf_keras.Sequential([layer, head])
    np.testing.assert_allclose(layer(images), source(images), atol=1e-5)
    model.compile("sgd", "mse")
    model.build((None, 24, 24, 3))
    optimizer = tf_keras.optimizers.SGD(1.0)

    class Apply:
        def apply(self, gradients, variables):
            optimizer.apply_gradients(zip(gradients, variables))

    weights = [*layer.trainable_variables, *head.variables]
    names = {v.name for v in layer.trainable_variables}
    assert len(names) == len(source.variables)
    first, second = two_steps(model, weights, Apply(), images)
    assert first == {v.name for v in head.variables}
    assert second == {v.name for v in weights}


def test_saved_keras3_model_comes_back(exported, images, tmp_path):
    path, _ = exported
    model = heads.add_head(HubLayer(path, trainable=True), 3)
    layer = model.layers[1]
    for weight in layer.weights:
        weight.assign(weight + 0.01)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.layers[1].get_config() == layer.get_config()
    np.testing.assert_allclose(
        loaded.layers[1](images), layer(images), atol=1e-5
    )


def test_module_of_ours_becomes_a_model_that_compiles(exported, images):
    path, source = exported
    features, compiles = load_features(path)
    assert compiles
    np.testing.assert_allclose(features(images), source(images), atol=1e-5)


def test_anybody_s_module_becomes_a_layer(tmp_path):
    root = tf.train.Checkpoint()
    root.kernel = tf.Variable(np.ones((3, 2), np.float32))
    root.variables = root.trainable_variables = [root.kernel]

    @tf.function(
        input_signature=[tf.TensorSpec((None, None, None, 3), tf.float32)]
    )
    def call(images):
        return tf.reduce_mean(images, axis=(1, 2)) @ root.kernel

    root.__call__ = tf.function(lambda inputs, training=False: call(inputs))
    for training in (False, True):
        spec = tf.TensorSpec((None, None, None, 3), tf.float32)
        root.__call__.get_concrete_function(spec, training=training)
    tf.saved_model.save(root, str(tmp_path / "module"))
    features, compiles = load_features(str(tmp_path / "module"))
    assert not compiles
    assert len(features.trainable_variables) == 1


@pytest.mark.slow
def test_published_module_is_never_overwritten(run_dir, collection, tmp_path):
    output = tmp_path / "c"
    shutil.copytree(collection, output)
    shutil.copytree(run_dir, tmp_path / "run")
    before = {f: f.read_bytes() for f in output.rglob("*") if f.is_file()}
    # The same run again changes nothing.
    export_run(tmp_path / "run", output, Publication("acme"))
    assert before == {
        f: f.read_bytes() for f in output.rglob("*") if f.is_file()
    }
    # Another baseline is a new version beside the old one.
    classifier, _ = run_folder.load_baseline(tmp_path / "run")
    kernel = heads.backbone_of(classifier).weights[0]
    kernel.assign(kernel + 1.0)
    run_folder.save_model(classifier, tmp_path / "run" / "baseline")
    shutil.rmtree(tmp_path / "run" / "experts")
    rows = export_run(tmp_path / "run", output, Publication("acme"))
    assert rows[-1]["handle"] == "acme/experts/baseline/2"
    modules = [f for f in before if f.name in ("saved_model.pb", "1.tar.gz")]
    assert len(modules) > 1
    for file in modules:
        assert file.read_bytes() == before[file]


def test_frozen_variables_stay_frozen_in_the_module(tmp_path):
    model = heads.add_head(keras.layers.GlobalAveragePooling2D(), 2)
    scale = keras.layers.Rescaling(1.0)
    inputs = keras.Input((None, None, 3))
    frozen = keras.layers.Dense(3, trainable=False)
    model = keras.Model(inputs, model(frozen(scale(inputs))))
    path = tmp_path / "module"
    write_keras_module(path, model, "logits", {})
    module = tf.saved_model.load(str(path))
    assert len(module.variables) == 4
    assert len(module.trainable_variables) == 2
