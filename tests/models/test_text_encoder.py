"""The encoder of texts, against NumPy in float64."""

import keras
import numpy as np
import pytest
from scipy.special import erf

from keras_experts.layers.masked_mean import MaskedMean
from keras_experts.layers.text_embedding import TextEmbedding
from keras_experts.models.text_encoder import TextEncoder

LENGTH, WIDTH, HEADS = 6, 8, 2


@pytest.fixture(scope="module")
def encoder():
    keras.utils.set_random_seed(0)
    encoder = TextEncoder(20, LENGTH, WIDTH, depth=2, num_heads=HEADS)
    rng = np.random.default_rng(0)
    for variable in encoder.variables:  # norms and biases too
        variable.assign(rng.normal(0.5, 0.5, variable.shape))
    return encoder


def packed(lengths, rng, length=LENGTH):
    words = rng.integers(1, 20, (len(lengths), length)).astype(np.int32)
    mask = (np.arange(length) < np.array(lengths)[:, None]).astype(np.int32)
    types = rng.integers(0, 2, words.shape).astype(np.int32)
    return {
        "input_word_ids": words,
        "input_mask": mask,
        "input_type_ids": types,
    }


def normed(x, weights):
    centred = x - x.mean(-1, keepdims=True)
    deviation = np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-3)
    return centred / deviation * weights["gamma"] + weights["beta"]


def attended(x, mask, weights):
    """Attention of each head, written out text by text."""

    def project(part):
        kernel, bias = weights[f"{part}/kernel"], weights[f"{part}/bias"]
        return np.einsum("blc,chd->bhld", x, kernel) + bias[:, None]

    query, key, value = map(project, ("query", "key", "value"))
    scores = np.einsum("bhld,bhmd->bhlm", query, key) / np.sqrt(WIDTH // HEADS)
    scores = np.where(mask[:, None, None, :] == 1, scores, -np.inf)
    odds = np.exp(scores - scores.max(-1, keepdims=True))
    share = odds / odds.sum(-1, keepdims=True)
    found = np.einsum("bhlm,bhmd->blhd", share, value)
    kernel = weights["attention_output/kernel"]
    out = np.einsum("blhd,hdc->blc", found, kernel)
    return out + weights["attention_output/bias"]


def reference(encoder, inputs):
    values = {
        v.path: keras.ops.convert_to_numpy(v).astype(np.float64)
        for v in encoder.variables
    }

    def under(prefix):
        start = f"{prefix}/"
        found = {k: v for k, v in values.items() if k.startswith(start)}
        return {k.removeprefix(start): v for k, v in found.items()}

    words, mask, types = inputs.values()
    table = under("embedding")
    x = table["words"][words] + table["types"][types]
    x = x + table["places"][: words.shape[1]]
    for block in ("block1", "block2"):
        normal = normed(x, under(f"{block}_a_norm"))
        x = x + attended(normal, mask, under(f"{block}_attention"))
        up, down = under(f"{block}_expand"), under(f"{block}_contract")
        hidden = normed(x, under(f"{block}_b_norm")) @ up["kernel"] + up["bias"]
        hidden = hidden * (1 + erf(hidden / np.sqrt(2))) / 2
        x = x + hidden @ down["kernel"] + down["bias"]
    return normed(x, under("norm"))


def test_encoder_is_the_transformer_written_out(encoder, rng):
    inputs = packed([6, 3, 1], rng)
    outputs = encoder(inputs)
    expected = reference(encoder, inputs)
    there = inputs["input_mask"] == 1
    found = keras.ops.convert_to_numpy(outputs["sequence_output"])
    np.testing.assert_allclose(found[there], expected[there], atol=2e-4)
    means = [
        row[: int(m.sum())].mean(0)
        for row, m in zip(expected, inputs["input_mask"], strict=True)
    ]
    for key in ("default", "pooled_output"):
        found = keras.ops.convert_to_numpy(outputs[key])
        np.testing.assert_allclose(found, means, atol=2e-4)


def test_what_is_padding_changes_nothing(encoder, rng):
    inputs = packed([3, 2], rng)
    other = {key: value.copy() for key, value in inputs.items()}
    padding = inputs["input_mask"] == 0
    other["input_word_ids"][padding] = 7
    shorter = {key: value[:, :3] for key, value in inputs.items()}
    found = [
        keras.ops.convert_to_numpy(encoder(given)["default"])
        for given in (inputs, other, shorter)
    ]
    np.testing.assert_allclose(found[1], found[0], atol=1e-6)
    np.testing.assert_allclose(found[2], found[0], atol=1e-6)


def test_a_text_of_no_token_has_a_vector_of_zeros(encoder, rng):
    outputs = encoder(packed([0, 4], rng))
    found = keras.ops.convert_to_numpy(outputs["default"])
    assert (found[0] == 0).all() and (found[1] != 0).any()
    sequence = keras.ops.convert_to_numpy(outputs["sequence_output"])
    assert np.isfinite(sequence).all()


def test_encoder_is_saved_whole(encoder, rng, tmp_path):
    encoder.save(tmp_path / "encoder.keras")
    loaded = keras.saving.load_model(tmp_path / "encoder.keras")
    assert loaded.get_config() == encoder.get_config()
    inputs = packed([5, 2], rng)
    one, other = (
        keras.ops.convert_to_numpy(model(inputs)["default"])
        for model in (encoder, loaded)
    )
    np.testing.assert_allclose(one, other, atol=1e-6)


def test_parameters_are_those_counted_by_hand():
    block = 12 * 128**2 + 13 * 128  # kernels, biases and norms
    table = (8000 + 32 + 2) * 128
    encoder = TextEncoder(8000, 32, 128, depth=1)
    assert encoder.count_params() == table + block + 2 * 128


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: TextEncoder(10, 8, 10), "a multiple of `num_heads`"),
        (lambda: TextEmbedding(0, 8, 4), "`vocabulary_size` must be at least"),
        (lambda: TextEmbedding(5, 8, 4, 0), "`num_types` must be at least 1"),
    ],
)
def test_bad_sizes_get_their_sentence(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_mean_is_over_what_is_there():
    values = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
    mask = np.array([[1, 0, 1], [0, 0, 0]], np.int32)
    found = keras.ops.convert_to_numpy(MaskedMean()(values, mask))
    np.testing.assert_array_equal(found, [[2, 3], [0, 0]])
