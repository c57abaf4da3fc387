"""What text modules take, and which preprocessor goes with which encoder."""

import shutil

import numpy as np
import pytest
import tensorflow as tf

from keras_experts.models.text_encoder import TextEncoder
from keras_experts.saved_models import handles
from keras_experts.saved_models import text_modules
from keras_experts.saved_models.cost import measure_encoder
from keras_experts.saved_models.loading import load_module
from keras_experts.saved_models.preprocessor import RESERVED
from keras_experts.saved_models.preprocessor import write_preprocessor
from keras_experts.saved_models.writing import write_encoder

NAMES = ("baseline", "animal-full", "plant-full", "preprocessor")
TEXTS = ["the dog barks", "a red rose", ""]


def path_of(collection, name):
    return str(collection / "acme/experts" / name / "1")


def anybodys_encoder(path, vocabulary_size=200, max_length=64):
    encoder = TextEncoder(vocabulary_size, max_length, 16, 1, 4)
    write_encoder(path, encoder, {})
    return str(path)


def anybodys_preprocessor(path, words, seq_length=8):
    write_preprocessor(path, [*RESERVED, *words], seq_length, {})
    (path / handles.METADATA_FILE).unlink()
    return str(path)


@pytest.mark.parametrize("name", NAMES)
def test_modules_tell_what_they_take(text_collection, name):
    taken = "strings" if name == "preprocessor" else "tokens"
    assert text_modules.takes(text_collection / f"acme/experts/{name}/1") == (
        taken
    )


def test_anybodys_encoder_is_known_by_its_graph(tmp_path, baseline_module):
    encoder = anybodys_encoder(tmp_path / "encoder")
    assert text_modules.takes(handles.resolve(encoder)) == "tokens"
    assert text_modules.takes(handles.resolve(baseline_module)) == "images"


@pytest.mark.parametrize(
    "named, expected",
    [
        ("https://h.org/x/acme/experts/baseline/1", "https://h.org/x/"),
        ("https://h.org/acme/experts/baseline", "https://h.org/"),
    ],
)
def test_a_preprocessor_is_found_beside_its_encoder(
    text_collection, monkeypatch, named, expected
):
    own = path_of(text_collection, "baseline")
    found = text_modules.preprocessor_of(own)
    assert found == path_of(text_collection, "preprocessor")
    told = handles.read_metadata(own)
    monkeypatch.setattr(handles, "read_metadata", lambda _: told)
    rest = "acme/experts/preprocessor/1"
    assert text_modules.preprocessor_of(named) == expected + rest
    with pytest.raises(ValueError, match="outside of the collection"):
        text_modules.preprocessor_of("https://h.org/other/1")


def test_features_are_those_of_the_parts(text_collection):
    encoder = path_of(text_collection, "animal-full")
    module = text_modules.TextModule(encoder)
    packed = load_module(path_of(text_collection, "preprocessor"))(
        tf.constant(TEXTS)
    )
    expected = load_module(encoder)(packed)
    mask = packed["input_mask"].numpy()[..., None].astype(np.float64)
    mean = (expected["sequence_output"].numpy() * mask).sum(1) / mask.sum(1)
    found = module(tf.constant(TEXTS)).numpy()
    np.testing.assert_allclose(found, mean, atol=1e-5)
    np.testing.assert_array_equal(found, expected["pooled_output"])
    assert np.isfinite(found).all()  # the empty text's too


@pytest.mark.slow
def test_anybodys_encoder_wants_its_preprocessor_named(tmp_path):
    encoder = anybodys_encoder(tmp_path / "encoder")
    with pytest.raises(ValueError, match="named with its preprocessor"):
        text_modules.TextModule(encoder)
    other = anybodys_preprocessor(tmp_path / "p", ["dog", "##s"])
    module = text_modules.TextModule(f"{encoder}@{other}")
    assert module(tf.constant(["dogs"])).shape == (1, 16)


@pytest.mark.slow
def test_a_preprocessor_of_another_vocabulary_is_refused(
    text_collection, tmp_path
):
    other = anybodys_preprocessor(tmp_path / "p", ["dog"])
    handle = f"{path_of(text_collection, 'baseline')}@{other}"
    with pytest.raises(ValueError, match="of another vocabulary"):
        text_modules.TextModule(handle)


@pytest.mark.slow
def test_a_preprocessor_of_longer_texts_is_refused(text_collection, tmp_path):
    vocabulary = text_collection / "acme/experts/preprocessor/1/assets.extra"
    words = (vocabulary / "vocabulary.txt").read_text().split("\n")[:-1]
    write_preprocessor(tmp_path / "p", words, 9, {})
    handle = f"{path_of(text_collection, 'baseline')}@{tmp_path / 'p'}"
    with pytest.raises(ValueError, match="at most 8 tokens, and .* of 9"):
        text_modules.TextModule(handle)


@pytest.mark.slow
def test_numbers_beyond_the_vocabulary_are_told(tmp_path):
    encoder = anybodys_encoder(tmp_path / "encoder", vocabulary_size=6)
    other = anybodys_preprocessor(tmp_path / "p", ["dog", "cat"])
    module = text_modules.TextModule(f"{encoder}@{other}")
    with pytest.raises(ValueError, match="must fit each other.*is not in"):
        module(tf.constant(["cat"]))


def test_an_image_module_is_no_preprocessor(
    text_collection, baseline_module, tmp_path
):
    encoder = anybodys_encoder(tmp_path / "encoder")
    module = text_modules.TextModule(
        f"{encoder}@{path_of(text_collection, 'baseline')}"
    )
    with pytest.raises(Exception, match="inputs|structure|match"):
        module(tf.constant(["a"]))


def test_an_encoder_that_was_moved_says_what_it_wants(
    text_collection, tmp_path
):
    moved = tmp_path / "moved"
    shutil.copytree(path_of(text_collection, "baseline"), moved)
    with pytest.raises(ValueError, match="outside of the collection that"):
        text_modules.TextModule(str(moved))
    beside = path_of(text_collection, "preprocessor")
    module = text_modules.TextModule(f"{moved}@{beside}")
    assert module(tf.constant(["a"])).shape == (1, 16)


def test_operations_are_those_of_the_products(tmp_path):
    encoder = load_module(anybodys_encoder(tmp_path / "encoder"))
    length, width = 32, 16
    products = 2 * length * 12 * width**2 + 2 * 2 * length**2 * width
    found = measure_encoder(encoder, length)
    assert products < found.flops < 1.5 * products
    assert found.parameters == TextEncoder(200, 64, 16, 1, 4).count_params()
