import json
import os
import re
import shutil
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_experts
from keras_experts import cli
from keras_experts.saved_models import keras_models
from keras_experts.saved_models.loading import load_module
from keras_experts.training.features import load_features
from tests.selection.modules import mean

SMALL = {"num_images": 64, "batch_size": 8, "base_learning_rate": 50.0}


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_EXPERTS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def make_network(shape=(8, 8, 3), dtype="float32", name="mine", last=None):
    """Makes a network of one convolution, with another last layer if given."""
    keras.utils.set_random_seed(0)
    images = keras.Input(shape, dtype=dtype)
    features = keras.layers.Conv2D(6, 3, activation="relu")(images)
    last = last or keras.layers.GlobalAveragePooling2D()
    return keras.Model(images, last(features), name=name)


@pytest.fixture(scope="module")
def model():
    return make_network()


@pytest.fixture
def kept(model, tmp_path):
    """A network's file."""
    model.save(tmp_path / "kept.keras")
    return str(tmp_path / "kept.keras")


def broken_networks(folder):
    """Writes files of networks that are not modules, and what is wrong."""
    pool = keras.layers.GlobalAveragePooling2D
    images = keras.Input((8, 8, 3))
    pooled = pool()(images)
    networks = {
        "channels_first": (
            keras.Model(
                (first := keras.Input((3, 8, 8))),
                pool(data_format="channels_first")(first),
            ),
            r"\(None, 3, 8, 8\)",
        ),
        "unbuilt": (
            keras.Sequential([pool(), keras.layers.Dense(3)]),
            "no weights",
        ),
        "lambda": (
            keras.Model(images, keras.layers.Lambda(lambda x: x)(pooled)),
            "--trust",
        ),
        "map": (
            keras.Model(images, keras.layers.Conv2D(4, 3)(images)),
            "GlobalAveragePooling2D",
        ),
        "dictionary": (keras.Model(images, {"a": pooled}), "dictionary"),
        "oblong": (make_network((64, 96, 3)), r"\(None, 64, 96, 3\)"),
        "gray": (make_network((8, 8, 1)), r"\(None, 8, 8, 1\)"),
        "two_inputs": (
            keras.Model([images, (b := keras.Input((2,)))], pooled + b[:, :1]),
            "2 inputs",
        ),
    }
    for name, (network, _) in networks.items():
        network.save(folder / f"{name}.keras")
    (folder / "damaged.keras").write_text("nothing")
    with zipfile.ZipFile(folder / "strange.keras", "w") as archive:
        archive.writestr("config.json", "[1]")
    (folder / "old.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    return {name: reason for name, (_, reason) in networks.items()} | {
        "damaged": "model.save",
        "strange": "model.save",
        "old": r"\.keras",
    }


@pytest.mark.filterwarnings("ignore:You are saving a model that has not yet")
def test_broken_networks_are_skipped_with_reasons_and_the_others_ranked(
    kept, image_folder, tmp_path
):
    reasons = broken_networks(tmp_path)
    paths = [
        str(tmp_path / f"{name}.{'h5' if name == 'old' else 'keras'}")
        for name in reasons
    ]
    selection = keras_experts.select(str(image_folder), [*paths, kept])
    assert [entry.module for entry in selection.ranking] == [kept]
    skipped = {row["module"]: row["reason"] for row in selection.skipped}
    assert set(skipped) == set(paths)
    for path, pattern in zip(paths, reasons.values(), strict=True):
        assert re.search(pattern, skipped[path])
        assert "\n" not in skipped[path] and path in skipped[path]


def test_broken_models_in_python_are_refused_in_one_line(
    image_folder, tmp_path
):
    for network, reason in (
        (make_network((8, 8, 1)), r"\(None, 8, 8, 1\)"),
        (make_network((64, 96, 3)), r"\(None, 64, 96, 3\)"),
        (make_network(last=keras.layers.Conv2D(2, 3)), "GlobalAverage"),
        (keras.Sequential([keras.layers.Dense(3)]), "no weights"),
    ):
        with pytest.raises(ValueError, match=reason):
            keras_experts.select(str(image_folder), [network])
        with pytest.raises(ValueError, match=reason):
            keras_experts.finetune(network, image_folder, tmp_path / "out")


@pytest.mark.slow
def test_selection_and_metrics_name_the_file_that_the_user_gave(
    kept, image_folder, tmp_path, cache, capfd
):
    task = str(image_folder)
    path = tmp_path / "selection.json"
    flags = ["--modules", kept, "--task", task, "--json", str(path)]
    assert cli.main(["select", *flags]) == 0
    content = json.loads(path.read_text())
    assert content["best"] == content["ranking"][0]["module"] == kept
    assert content["ranking"][0]["expert"] == "kept"
    shutil.rmtree(cache)  # as doctor says that one may
    metrics = keras_experts.finetune(
        content["best"], task, tmp_path / "tuned", **SMALL
    )
    assert metrics["module"] == kept and metrics["expert"] == "kept"
    assert metrics["image_size"] == 8
    assert not (cache / "keras_models").exists()


@pytest.mark.slow
def test_fine_tuned_network_s_keras_file_stands_alone(
    model, kept, image_folder, tmp_path, cache
):
    """It loads in a process that knows Keras alone, with all else gone."""
    images = np.random.default_rng(0).random((4, 8, 8, 3), np.float32)
    output = tmp_path / "tuned"
    before = model.get_weights()
    for number, given in enumerate((kept, model)):
        output = tmp_path / f"tuned{number}"
        keras_experts.finetune(given, image_folder, output, **SMALL)
        module = load_module(str(output / "module"))
        shutil.copy(output / "model.keras", tmp_path / "alone.keras")
        tuned = keras.saving.load_model(tmp_path / "alone.keras")
        np.testing.assert_allclose(tuned(images), module(images), atol=1e-5)
        weights = [w for w in tuned.get_weights() if w.shape == (3, 3, 3, 6)]
        assert np.abs(weights[0] - before[0]).max() > 1e-4
    # The user's own model is as it was.
    np.testing.assert_array_equal(model.get_weights()[0], before[0])
    np.save(tmp_path / "images.npy", images)
    np.save(tmp_path / "logits.npy", tuned(images))
    shutil.rmtree(output)
    os.remove(kept)
    shutil.rmtree(cache, ignore_errors=True)
    script = (
        "import keras, numpy as np\n"
        "model = keras.saving.load_model('alone.keras')\n"
        "logits = np.load('logits.npy')\n"
        "found = model(np.load('images.npy'))\n"
        "assert np.abs(found - logits).max() < 1e-5\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=tmp_path)


def test_classifier_takes_a_keras_model(model, image_folder):
    paths = sorted(image_folder.rglob("*.png"))
    labels = [path.parent.name for path in paths]
    classifier = keras_experts.ExpertClassifier(
        [model], num_images=64, batch_size=8
    )
    assert classifier.fit(paths, labels).predict(paths).shape == (30,)


def test_integer_inputs_get_pixels_from_0_to_255(image_folder, tmp_path):
    """An 8-bit network has the features of the same network on floats."""
    rescale = keras.layers.Rescaling(1 / 255)
    inner = make_network()
    networks = []
    for dtype in ("uint8", "float32"):
        images = keras.Input((8, 8, 3), dtype=dtype)
        scaled = rescale(images) if dtype == "uint8" else images
        networks.append(keras.Model(images, inner(scaled), name=dtype))
        networks[-1].save(tmp_path / f"{dtype}.keras")
    given = [*networks, *(tmp_path / f"{n.name}.keras" for n in networks)]
    selection = keras_experts.select(str(image_folder), given)
    scores = {entry.module: entry.score for entry in selection.ranking}
    assert len(scores) == 4
    assert max(scores.values()) - min(scores.values()) < 0.1
    images = np.random.default_rng(0).random((4, 8, 8, 3), np.float32)
    layer, _ = load_features(str(tmp_path / "uint8.keras"))
    np.testing.assert_allclose(layer(images), inner(images), atol=0.01)


def test_another_size_than_the_network_s_is_refused(
    kept, image_folder, tmp_path
):
    with pytest.raises(ValueError, match=r"\(None, 8, 8, 3\)"):
        keras_experts.finetune(
            kept, image_folder, tmp_path / "out", image_size=16
        )
    pool = tmp_path / "pool.txt"
    pool.write_text(f"{kept} image_size=16\n")
    with pytest.raises(ValueError, match=r"\(None, 8, 8, 3\)"):
        keras_experts.select(str(image_folder), [str(pool)])


def test_network_of_another_range_sees_images_in_it(kept, model, tmp_path):
    module = save_trainable(tmp_path / "module")
    images = np.random.default_rng(0).random((4, 8, 8, 3), np.float32)
    for given, function in ((module, load_module(module)), (kept, model)):
        layer, _ = load_features(given, input_range=(-1.0, 1.0))
        expected = np.asarray(function(2 * images - 1))
        np.testing.assert_allclose(layer(images), expected, atol=1e-5)
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


@keras.saving.register_keras_serializable("keras_models_test")
class Shifted(keras.layers.Layer):
    """A custom layer."""

    by = 0.0

    def call(self, inputs):
        return inputs * self.by


def test_features_of_a_custom_layer_are_computed_anew(
    model, image_folder, tmp_path, monkeypatch
):
    """Its code may have changed, which no file shows."""
    images = keras.Input((8, 8, 3))
    path = str(tmp_path / "own.keras")
    monkeypatch.setattr(Shifted, "by", 1.0)
    keras.Model(images, Shifted()(model(images))).save(path)
    task = str(image_folder)
    # A process of its own would not know the layer.
    first = keras_experts.select(task, [path], time_limit=60)
    second = keras_experts.select(task, [path], time_limit=60)
    assert (first.cached, second.cached) == (0, 0)
    monkeypatch.setattr(Shifted, "by", 0.0)
    with pytest.raises(ValueError, match="differ between examples"):
        keras_experts.select(task, [path])


def test_fingerprint_follows_from_layers_and_weights(model):
    same = make_network()
    assert keras_models.fingerprint_of(same) is not None
    same.set_weights([w + 1 for w in model.get_weights()])
    found = map(keras_models.fingerprint_of, (model, same))
    assert len(set(found)) == 2
    images = keras.Input((8, 8, 3))
    own = keras.Model(images, Shifted()(model(images)))
    assert keras_models.fingerprint_of(own) is None


def test_trusted_lambda_layer_is_scored_and_fine_tuned(image_folder, tmp_path):
    images = keras.Input((8, 8, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(images)
    doubled = keras.layers.Lambda(lambda x: 2 * x, output_shape=(3,))(pooled)
    path = tmp_path / "lambda.keras"
    keras.Model(images, doubled).save(path)
    selection = keras_experts.select(image_folder, [path], trust=True)
    assert selection.best.score > 0.9  # each class has its own colour
    metrics = keras_experts.finetune(
        path, image_folder, tmp_path / "out", trust=True, **SMALL
    )
    assert metrics["module"] == str(path)
    with pytest.raises(PermissionError, match="--trust"):
        keras_experts.finetune(path, image_folder, tmp_path / "other")
