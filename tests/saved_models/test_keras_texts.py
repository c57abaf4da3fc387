"""Keras networks that take strings, as files and as models."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_experts.data.synthetic import digits_task
from keras_experts.data.tasks import load_task
from keras_experts.evaluation.prediction import predict
from keras_experts.saved_models.keras_models import fingerprint_of
from keras_experts.saved_models.loading import load_module
from keras_experts.saved_models.text_modules import takes
from keras_experts.selection.selector import select
from keras_experts.training.finetuning import finetune

WORDS = "barks tail puppy leash bone meows whiskers kitten purrs paw".split()


def make_network(shape=(1,), name="words", words=WORDS):
    keras.utils.set_random_seed(0)
    texts = keras.Input(shape, dtype="string")
    tokens = keras.layers.TextVectorization(
        vocabulary=words, output_sequence_length=5
    )(texts)
    spread = keras.initializers.RandomNormal(stddev=1.0, seed=0)
    vectors = keras.layers.Embedding(
        len(words) + 2, 8, embeddings_initializer=spread
    )(tokens)
    features = keras.layers.GlobalAveragePooling1D()(vectors)
    return keras.Model(texts, features, name=name)


@pytest.mark.parametrize("shape", [(), (1,)])
def test_a_network_of_strings_is_scored_by_its_features(
    text_files, tmp_path, shape
):
    network = make_network(shape)
    network.save(tmp_path / "words.keras")
    train = load_task(text_files / "task.csv").train
    texts = tf.constant(list(train.read(np.arange(train.num_examples))))
    columns = tf.reshape(texts, (-1, *shape))
    features = network(columns).numpy().astype(np.float64)
    distances = ((features[:, None] - features) ** 2).sum(-1)
    contents = texts.numpy()  # copies are no neighbors
    distances[contents[:, None] == contents] = np.inf
    right = train.labels[distances.argmin(1)] == train.labels
    for module in (network, tmp_path / "words.keras"):
        selection = select(text_files / "task.csv", [module], cache=False)
        assert selection.best.expert == "words"
        assert selection.best.score == pytest.approx(right.mean(), abs=0.05)


def test_a_network_of_strings_is_skipped_for_images(image_folder, tmp_path):
    make_network().save(tmp_path / "words.keras")

    def mean(images):
        return tf.reduce_mean(images, (1, 2))

    modules = [mean, tmp_path / "words.keras"]
    selection = select(image_folder, modules, cache=False)
    reason = "which takes texts, for a task of images"
    assert reason in selection.skipped[0]["reason"]


@pytest.mark.parametrize("as_file", [False, True])
def test_a_network_of_strings_is_fine_tuned(text_files, tmp_path, as_file):
    network = make_network()
    path = tmp_path / "words.keras"
    network.save(path)
    output = tmp_path / "out"
    metrics = finetune(
        str(path) if as_file else network,
        text_files / "task.csv",
        output,
        num_images=1600,
        batch_size=16,
        base_learning_rate=8.0,
    )
    assert metrics["train_accuracy"] > 0.4  # of four classes
    rows = predict(output, [text_files / "task.csv"])
    assert len({row["class"] for row in rows}) > 1
    path.unlink()  # the classifier needs it no more
    model = keras.saving.load_model(output / "model.keras")
    texts = load_task(text_files / "task.csv").train.read(np.arange(3))
    odds = tf.nn.softmax(model(tf.constant(list(texts)))).numpy()
    assert np.ptp(odds) > 0


def test_networks_of_other_vocabularies_are_told_apart():
    """Their weights and their configurations may be the same."""
    networks = []
    for words in (["dog cat"], ["oak rose"]):
        texts = keras.Input((1,), dtype="string")
        tokens = keras.layers.TextVectorization(output_mode="multi_hot")
        tokens.adapt(words)
        networks.append(keras.Model(texts, tokens(texts)))
    first, second = map(fingerprint_of, networks)
    assert first != second


@pytest.mark.parametrize("shape", [(), (1,)])
def test_an_exported_network_of_strings_is_called_by_its_signature(
    tmp_path, shape
):
    network = make_network(shape)
    network.export(tmp_path / "e", verbose=False)
    assert takes(tmp_path / "e") == "strings"
    texts = tf.constant(["puppy barks", "paw", ""])
    expected = network(tf.reshape(texts, (-1, *shape)))
    found = load_module(str(tmp_path / "e"))(texts)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_an_exported_network_of_images_is_called_by_its_signature(tmp_path):
    images = keras.Input((8, 8, 3))
    features = keras.layers.GlobalAveragePooling2D()(images)
    network = keras.Model(images, keras.layers.Dense(4)(features))
    network.export(tmp_path / "e", verbose=False)
    pixels = np.random.default_rng(0).random((2, 8, 8, 3))
    found = load_module(str(tmp_path / "e"))(pixels.astype(np.float32))
    np.testing.assert_allclose(found, network(pixels), atol=1e-6)
    selection = select(digits_task(60), [tmp_path / "e"], cache=False)
    assert selection.best.module == str(tmp_path / "e")


def test_an_exported_network_of_strings_gets_a_head(
    text_files, tmp_path, capsys
):
    network = make_network()
    network.export(tmp_path / "e", verbose=False)
    recipe = {"num_images": 1600, "batch_size": 16, "base_learning_rate": 8.0}
    metrics = finetune(
        tmp_path / "e", text_files / "task.csv", tmp_path / "out", **recipe
    )
    assert metrics["groups"] == ["head"]
    assert metrics["train_accuracy"] > 0.4  # of four classes
    assert "only a head is trained" in capsys.readouterr().err
    rows = predict(tmp_path / "out", [text_files / "task.csv"])
    assert len({row["class"] for row in rows}) > 1
