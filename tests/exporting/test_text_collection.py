"""Text encoders as a collection: written, loaded elsewhere, served."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_experts.data.tokens import Packer
from keras_experts.exporting.collection import export_run
from keras_experts.exporting.collection_writer import Publication
from keras_experts.layers import HubLayer
from keras_experts.models import heads
from keras_experts.models import run_folder
from keras_experts.saved_models import handles
from keras_experts.saved_models.inspection import inspect
from keras_experts.saved_models.loading import load_module

TEXTS = ["the dog barks", "a red rose of thorns", ""]
EXPERTS = ("animal", "plant")
FULL = ["animal-full", "plant-full"]


def path_of(collection, name):
    return str(collection / "acme/experts" / name / "1")


@pytest.fixture(scope="module")
def tokens(text_run):
    return Packer(str(text_run / "preprocessor")).batch(tf.constant(TEXTS))


def test_features_are_equal_before_and_after_export(
    text_run, text_collection, tokens
):
    names = {"baseline": text_run / "baseline"}
    names |= {f"{n}-full": text_run / "experts/full" / n for n in EXPERTS}
    packed = load_module(path_of(text_collection, "preprocessor"))(
        tf.constant(TEXTS)
    )
    for name, folder in names.items():
        model = keras.saving.load_model(folder / run_folder.MODEL_FILE)
        expected = model.get_layer(heads.FEATURES_NAME)(tokens)
        found = load_module(path_of(text_collection, name))(packed)["default"]
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_modules_are_those_of_the_common_api(text_collection):
    told = inspect(handles.resolve(path_of(text_collection, "animal-full")))
    taken = "input_mask: int32 (?, ?), input_type_ids: int32 (?, ?), "
    assert told.call["inputs"] == [f"{{{taken}input_word_ids: int32 (?, ?)}}"]
    given = {
        "default": "float32 (?, 16)",
        "pooled_output": "float32 (?, 16)",
        "sequence_output": "float32 (?, ?, 16)",
    }
    signature = told.signatures["serving_default"]
    assert signature["outputs"] == given
    assert not told.operations
    preprocessor = path_of(text_collection, "preprocessor")
    assert not inspect(handles.resolve(preprocessor)).operations


@pytest.mark.slow
def test_hub_loads_the_pair_in_a_fresh_process(text_collection, tokens):
    encoder = path_of(text_collection, "plant-full")
    code = f"""
import json, sys
import tensorflow as tf
import tensorflow_hub as hub
import tensorflow_text
import tf_keras
preprocess = hub.KerasLayer({path_of(text_collection, "preprocessor")!r})
encode = hub.KerasLayer({encoder!r}, trainable=True)
texts = tf.constant({TEXTS!r})
inputs = tf_keras.layers.Input((), dtype=tf.string)
model = tf_keras.Model(inputs, encode(preprocess(inputs))["default"])
loaded = hub.load({encoder!r})(preprocess(texts))
print(len(model.trainable_variables), "keras_experts" in sys.modules)
given = (model(texts), loaded["default"])
print(json.dumps([features.numpy().tolist() for features in given]))
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr[-2000:]
    *_, counted, printed = result.stdout.splitlines()
    layer, loaded = json.loads(printed)
    parts = {
        key: tokens[:, row]
        for row, key in enumerate(
            ("input_word_ids", "input_mask", "input_type_ids")
        )
    }
    expected = load_module(encoder)(parts)["default"]
    np.testing.assert_allclose(layer, expected, atol=1e-5)
    np.testing.assert_allclose(loaded, expected, atol=1e-5)
    number = len(load_module(encoder).trainable_variables)
    assert counted == f"{number} False"


def test_hub_layer_runs_both_in_a_keras_model(text_collection, tmp_path):
    preprocess = HubLayer(path_of(text_collection, "preprocessor"))
    encode = HubLayer(
        path_of(text_collection, "baseline"),
        trainable=True,
        output_key="default",
    )
    inputs = keras.Input((), dtype="string")
    model = keras.Model(inputs, encode(preprocess(inputs)))
    texts = tf.constant(TEXTS)
    assert model(texts).shape == (3, 16)
    assert len(encode.trainable_variables) == len(encode.variables)
    model.save(tmp_path / "m.keras")
    loaded = keras.saving.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(loaded(texts), model(texts), atol=1e-6)


def test_rows_and_cards_tell_what_texts_want(text_collection):
    rows = {row["name"]: row for row in handles.read_rows(text_collection)}
    assert list(rows) == ["preprocessor", "baseline", *FULL]
    expert = rows["animal-full"]
    assert expert["preprocessor"] == "acme/experts/preprocessor/1"
    assert (expert["medium"], expert["seq_length"]) == ("texts", 8)
    digests = {row["vocabulary_sha256"] for row in rows.values()}
    assert len(digests) == 1
    cards = text_collection / "docs/acme/models/experts"
    card = (cards / "animal-full/1.md").read_text()
    for line in (
        '"animal" subtree',
        "<!-- task: text-embedding -->",
        "of 8 texts",
        'hub.load("acme/experts/preprocessor/1")',
    ):
        assert line in card
    assert "image" not in card
    card = (cards / "preprocessor/1.md").read_text()
    assert "<!-- task: text-preprocessing -->" in card


@pytest.mark.slow
def test_a_second_export_adds_no_version(text_run, text_collection, tmp_path):
    first = export_run(text_run, tmp_path / "c", Publication("acme"))
    again = export_run(text_run, tmp_path / "c", Publication("acme"))
    assert [r["handle"] for r in again] == [r["handle"] for r in first]
    kept = handles.read_rows(text_collection)
    assert [r["digest"] for r in first] == [r["digest"] for r in kept]


@pytest.mark.slow
def test_select_ranks_a_served_collection(
    text_collection, text_files, tmp_path, monkeypatch
):
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path))
    from keras_experts.selection.selector import select

    command = [sys.executable, "-m", "keras_experts.cli", "serve"]
    with subprocess.Popen(
        [*command, str(text_collection), "--port", "0"],
        stdout=subprocess.PIPE,
        text=True,
    ) as host:
        try:
            address = host.stdout.readline().strip()
            urls = [
                f"{address}acme/experts/baseline/1",
                f"{address}acme/experts/animal-full",
            ]
            task = text_files / "task.csv"
            served = select(task, urls, cache=False)
        finally:
            host.terminate()
    local = [path_of(text_collection, n) for n in ("baseline", "animal-full")]
    expected = select(task, local, cache=False)
    scores = {e.module: e.score for e in served.ranking}
    assert not served.skipped
    assert [scores[url] for url in urls] == [
        {e.module: e.score for e in expected.ranking}[path] for path in local
    ]


def test_samples_of_texts_are_refused(text_run, tmp_path):
    publication = Publication("acme", samples=True)
    with pytest.raises(ValueError, match="images alone .--samples.*a run on"):
        export_run(text_run, tmp_path / "out", publication)
    assert not (tmp_path / "out").exists()
