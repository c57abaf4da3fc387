"""Preprocessors, against tensorflow-text's own BertTokenizer."""

import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_text as text

from keras_experts.saved_models import preprocessor
from keras_experts.saved_models.handles import read_metadata
from keras_experts.saved_models.loading import load_module

LENGTH = 10
CORPUS = [
    "Crème brûlée is a dessert of custard.",
    "Ein Straßenhund bellt; the hound's bark",
    "an unaffable, ill-tempered person (slang)",
    "12 months of the year 2024",
]
TEXTS = [*CORPUS, "", "   ", "zebra ☃ 漢字", "x" * 300, "bark " * 50]


@pytest.fixture(scope="module")
def vocabulary():
    return preprocessor.learn_vocabulary([t.encode() for t in CORPUS * 20], 150)


@pytest.fixture(scope="module")
def module(vocabulary, tmp_path_factory):
    path = tmp_path_factory.mktemp("made") / "preprocessor"
    preprocessor.write_preprocessor(path, vocabulary, LENGTH, {"name": "own"})
    return path


@pytest.fixture(scope="module")
def loaded(module):
    return load_module(str(module))


def reference(texts, vocabulary):
    """Tokens by another class of tensorflow-text, with its table."""
    keys = tf.constant(vocabulary)
    places = tf.range(len(vocabulary), dtype=tf.int64)
    table = tf.lookup.StaticVocabularyTable(
        tf.lookup.KeyValueTensorInitializer(keys, places), 1
    )
    tokenizer = text.BertTokenizer(table, lower_case=True)
    return tokenizer.tokenize(texts).merge_dims(1, 2).to_list()


def packed_by_hand(rows, length=LENGTH):
    words = np.zeros((len(rows), length), np.int32)
    for place, row in enumerate(rows):
        marked = [2, *row[: length - 2], 3]
        words[place, : len(marked)] = marked
    return words


def test_vocabulary_begins_with_the_marks_and_is_kept(vocabulary, module):
    assert vocabulary[:5] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    assert len(vocabulary) == len(set(vocabulary)) <= 150
    assert preprocessor.read_vocabulary(module) == vocabulary
    told = read_metadata(str(module))
    assert (told["kind"], told["name"]) == ("preprocessor", "own")
    assert (told["seq_length"], told["vocabulary_size"]) == (
        LENGTH,
        len(vocabulary),
    )


def test_tokens_are_those_of_the_reference(loaded, vocabulary):
    expected = reference(TEXTS, vocabulary)
    assert loaded.tokenize(tf.constant(TEXTS)).to_list() == expected
    words = packed_by_hand(expected)
    found = loaded(tf.constant(TEXTS))
    np.testing.assert_array_equal(found["input_word_ids"], words)
    np.testing.assert_array_equal(found["input_mask"], words != 0)
    np.testing.assert_array_equal(found["input_type_ids"], 0 * words)
    assert {value.dtype for value in found.values()} == {tf.int32}


def test_accents_and_case_make_no_difference(loaded):
    one, other = loaded.tokenize(
        tf.constant(["Crème Brûlée", "creme brulee"])
    ).to_list()
    assert one == other


def test_bytes_that_are_no_utf8_do_not_end_the_graph(loaded):
    found = loaded(tf.constant([b"a \xff\xfe dog", b"\xc3"]))
    assert found["input_mask"].numpy().sum(axis=1).min() >= 2


def test_a_very_long_document_is_its_beginning(loaded):
    long = "custard bark year " * 100_000
    found = loaded(tf.constant([long, long[:200]]))["input_word_ids"].numpy()
    np.testing.assert_array_equal(found[0], found[1])
    assert found[0, -1] == 3


@pytest.mark.parametrize("length", [None, 7, 16])
def test_two_segments_share_the_length(loaded, vocabulary, length):
    first, second = ["a dessert of custard bark"], ["the year"]
    rows = [reference(side, vocabulary)[0] for side in (first, second)]
    room = (length or LENGTH) - 3
    while sum(map(len, rows)) > room:  # the longer one gives way
        longer = max(rows, key=len)
        longer.pop()
    expected = [2, *rows[0], 3, *rows[1], 3]
    types = [0] * (len(rows[0]) + 2) + [1] * (len(rows[1]) + 1)
    keywords = {} if length is None else {"seq_length": length}
    tokens = [loaded.tokenize(tf.constant(side)) for side in (first, second)]
    found = loaded.bert_pack_inputs(tokens, **keywords)
    ends = [0] * ((length or LENGTH) - len(expected))
    assert found["input_word_ids"].numpy()[0].tolist() == expected + ends
    assert found["input_type_ids"].numpy()[0].tolist() == types + ends


@pytest.mark.slow
def test_hub_loads_it_in_a_fresh_process(module, vocabulary):
    code = f"""
import json, warnings
import tensorflow as tf
import tensorflow_hub as hub
import tensorflow_text
import tf_keras
path = {str(module)!r}
texts = tf.constant(["the hound's bark", "custard"])
loaded = hub.load(path)
layer = hub.KerasLayer(path)
tokenize = hub.KerasLayer(loaded.tokenize)
pack = hub.KerasLayer(loaded.bert_pack_inputs, arguments=dict(seq_length=6))
inputs = tf_keras.layers.Input((), dtype=tf.string)
model = tf_keras.Model(inputs, pack([tokenize(inputs)]))
print(json.dumps([
    loaded(texts)["input_word_ids"].numpy().tolist(),
    layer(texts)["input_word_ids"].numpy().tolist(),
    model(texts)["input_word_ids"].numpy().tolist(),
]))
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr[-2000:]
    whole, layer, short = json.loads(result.stdout.splitlines()[-1])
    rows = reference(["the hound's bark", "custard"], vocabulary)
    assert whole == layer == packed_by_hand(rows).tolist()
    assert short == packed_by_hand(rows, 6).tolist()


def test_a_length_without_room_for_a_token_is_refused(vocabulary, tmp_path):
    with pytest.raises(ValueError, match="`seq_length` must be .* at least 3"):
        preprocessor.write_preprocessor(tmp_path / "p", vocabulary, 2, {})
