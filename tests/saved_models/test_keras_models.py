import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_experts
from keras_experts import cli
from keras_experts.saved_models.keras_models import module_of
from keras_experts.saved_models.loading import load_module
from keras_experts.training.features import load_features
from tests.selection.modules import mean


@pytest.fixture(autouse=True)
def new_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_EXPERTS_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    images = keras.Input((8, 8, 3))
    features = keras.layers.Conv2D(6, 3, activation="relu")(images)
    features = keras.layers.GlobalAveragePooling2D()(features)
    return keras.Model(images, features, name="mine")


def test_keras_model_and_its_file_give_the_model_s_features(model, tmp_path):
    model.save(tmp_path / "kept.keras")
    images = np.random.default_rng(0).random((4, 8, 8, 3), np.float32)
    expected = model.predict(images, verbose=0)
    for given in (model, str(tmp_path / "kept.keras")):
        found = load_module(module_of(given))(images)
        np.testing.assert_allclose(found, expected, atol=1e-5)
        assert module_of(given) == module_of(given)
    assert module_of("a/module") == "a/module"


def test_keras_model_is_picked_and_fine_tuned_as_a_module_is(
    model, image_folder, tmp_path, capfd
):
    path = str(tmp_path / "kept.keras")
    model.save(path)
    task = str(image_folder)
    assert cli.main(["select", "--modules", path, "--task", task]) == 0
    assert "kept" in capfd.readouterr().out
    small = {"num_images": 64, "batch_size": 8, "base_learning_rate": 50.0}
    for number, given in enumerate((model, path)):
        output = tmp_path / f"tuned{number}"
        metrics = keras_experts.finetune(given, task, output, **small)
        assert metrics["expert"] == ("mine", "kept")[number]
        assert metrics["image_size"] == 8
        tuned = keras.saving.load_model(output / "model.keras")
        weights = [w for w in tuned.get_weights() if w.shape == (3, 3, 3, 6)]
        assert np.abs(weights[0] - model.get_weights()[0]).max() > 1e-4


def test_classifier_takes_a_keras_model(model, image_folder):
    paths = sorted(image_folder.rglob("*.png"))
    labels = [path.parent.name for path in paths]
    classifier = keras_experts.ExpertClassifier(
        [model], num_images=64, batch_size=8
    )
    assert classifier.fit(paths, labels).predict(paths).shape == (30,)


def test_what_is_no_model_of_features_is_refused(tmp_path):
    images = keras.Input((8, 8, 3))
    maps = keras.Model(images, keras.layers.Conv2D(2, 3)(images))
    with pytest.raises(ValueError, match=r"features \(batch, channels\)"):
        module_of(maps)
    (tmp_path / "no.keras").write_text("nothing")
    with pytest.raises(ValueError, match="A Keras file must hold a model"):
        module_of(tmp_path / "no.keras")


def test_module_of_another_range_sees_images_in_it(tmp_path):
    """A third party's module, which takes black as -1."""
    module = save_trainable(tmp_path / "module")
    layer, _ = load_features(module, input_range=(-1.0, 1.0))
    images = np.random.default_rng(0).random((4, 8, 8, 3), np.float32)
    expected = np.asarray(load_module(module)(2 * images - 1))
    np.testing.assert_allclose(layer(images), expected, atol=1e-6)
    assert layer.trainable_variables


def save_trainable(path):
    root = tf.train.Checkpoint()
    root.kernel = tf.Variable(np.eye(3, 4, dtype=np.float32))
    root.variables = root.trainable_variables = [root.kernel]
    root.regularization_losses = []

    def features(images, training=False):
        return mean(images) @ root.kernel

    root.__call__ = tf.function(features)
    spec = tf.TensorSpec((None, None, None, 3), tf.float32)
    for training in (False, True):
        root.__call__.get_concrete_function(spec, training=training)
    tf.saved_model.save(root, str(path))
    return str(path)


class Shifted(keras.layers.Layer):
    """A layer of somebody's own."""

    by = 0.0

    def call(self, inputs):
        return inputs + self.by


def test_model_with_a_layer_of_ones_own_is_not_recalled(model, monkeypatch):
    images = keras.Input((8, 8, 3))
    own = keras.Model(images, Shifted()(model(images)), name="own")
    zeros = np.zeros((2, 8, 8, 3), np.float32)
    before = np.asarray(load_module(module_of(own))(zeros))
    monkeypatch.setattr(Shifted, "by", 1.0)  # as if its code was changed
    after = np.asarray(load_module(module_of(own))(zeros))
    np.testing.assert_allclose(after, before + 1, atol=1e-6)
