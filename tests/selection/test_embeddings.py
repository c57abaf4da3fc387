import numpy as np
import pytest
import tensorflow as tf

from keras_experts.data import synthetic
from keras_experts.data.labeled_images import from_contents
from keras_experts.data.preprocessing import resize
from keras_experts.selection import embeddings
from keras_experts.selection.embeddings import Embedder
from keras_experts.selection.modules import Source
from tests.selection.modules import mean
from tests.selection.modules import save_module


@pytest.fixture(scope="module")
def images():
    return synthetic.digits_task(60).train


def collect(embedder, source, part=None, indices=np.arange(60)):
    """Gives features in the order of the indices."""
    rows = {}
    for chosen, _, features in embedder.features(source, [part], indices):
        if isinstance(features, ValueError):
            raise features
        rows.update(zip(chosen.tolist(), features, strict=True))
    return np.stack([rows[index] for index in indices.tolist()])


def scaled(images, size):
    pixels = images.read(np.arange(images.num_examples))
    return tf.stack([resize(tf.constant(image), size) for image in pixels])


def test_features_are_the_source_model_s(run_dir, baseline_module, images):
    from keras_experts.models import heads
    from keras_experts.models import run_folder

    classifier, _ = run_folder.load_baseline(run_dir)
    model = heads.image_features(heads.backbone_of(classifier))
    found = collect(Embedder(images), Source(baseline_module, 24))
    np.testing.assert_allclose(found, model(scaled(images, 24)), atol=1e-5)


def test_compiled_features_are_the_same(monkeypatch, baseline_module, images):
    source = Source(baseline_module, 24)
    plain = collect(Embedder(images), source)
    monkeypatch.setattr(embeddings, "COMPILE_PIXELS", 0)
    np.testing.assert_allclose(
        collect(Embedder(images), source), plain, atol=1e-5
    )


@pytest.mark.slow
def test_bank_s_experts_are_the_modules_of_their_own(collection, images):
    experts = collection / "acme/experts"
    bank = Source(str(experts / "bank/1"), 24)
    embedder = Embedder(images)
    for name in ("baseline", "surface", "form"):
        alone = collect(embedder, Source(str(experts / name / "1"), 24))
        inside = collect(embedder, bank, name)
        np.testing.assert_allclose(inside, alone, atol=1e-5)


def test_module_that_xla_does_not_compile_runs_all_the_same(
    monkeypatch, images, tmp_path
):
    def colours(x):
        # The number of unique values is not known before.
        number = tf.size(tf.unique(tf.reshape(tf.round(x * 9), [-1]))[0])
        return mean(x) + tf.cast(number, tf.float32) * 0.0

    monkeypatch.setattr(embeddings, "COMPILE_PIXELS", 0)
    module = save_module(tmp_path / "m", colours)
    found = collect(Embedder(images), Source(module, 16))
    np.testing.assert_allclose(found, mean(scaled(images, 16)), atol=1e-6)


def test_images_come_in_the_range_that_the_module_takes(images):
    source = Source("mean", 16, (-1.0, 3.0), mean)
    found = collect(Embedder(images), source)
    expected = mean(scaled(images, 16) * 4.0 - 1.0)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("kept", [0, 2**30])
def test_features_do_not_depend_on_what_else_is_asked(
    monkeypatch, images, kept
):
    monkeypatch.setattr(embeddings, "KEPT_IMAGE_BYTES", kept)
    embedder = Embedder(images)
    whole = collect(embedder, Source("mean", 16, function=mean))
    some = np.array([59, 3, 17])
    found = collect(embedder, Source("mean", 16, function=mean), indices=some)
    np.testing.assert_allclose(found, whole[some], atol=1e-6)
    other = collect(embedder, Source("mean", 9, function=mean), indices=some)
    np.testing.assert_allclose(
        other, mean(scaled(images, 9)).numpy()[some], atol=1e-6
    )


def test_keras_models_and_functions_of_numpy_are_modules(images):
    import keras

    model = keras.Sequential([keras.Input((16, 16, 3)), keras.layers.Flatten()])
    found = collect(Embedder(images), Source("model", 16, function=model))
    expected = np.reshape(scaled(images, 16), (60, -1))
    np.testing.assert_allclose(found, expected, atol=1e-6)

    def spread(batch):
        return np.std(np.asarray(batch), axis=(1, 2))

    found = collect(Embedder(images), Source("spread", 16, function=spread))
    expected = np.std(scaled(images, 16), axis=(1, 2))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_few_modules_stay_loaded(monkeypatch, images, tmp_path):
    most = 2 * embeddings.GRAPH_BYTES
    monkeypatch.setattr(embeddings, "KEPT_MODULE_BYTES", most)
    embedder = Embedder(images)
    some = np.arange(3)
    for name in "abca":
        source = Source(name, 16, function=mean)
        collect(embedder, source, indices=some)
    assert [source.module for source in embedder._loaded] == ["c", "a"]


def test_image_that_does_not_decode_is_named(baseline_module):
    grey = np.zeros((30, 30, 3), np.uint8)
    contents = [tf.io.encode_jpeg(grey).numpy() for _ in range(20)]
    # Whole at both ends, and no image between them.
    contents[17] = contents[17][:30] + bytes(200) + contents[17][-30:]
    images = from_contents(contents, [0] * 20, ["a"])
    with pytest.raises(ValueError, match="image 17, which cannot be decoded"):
        collect(
            Embedder(images), Source(baseline_module, 224), None, np.arange(20)
        )
