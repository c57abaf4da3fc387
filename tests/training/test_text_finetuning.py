"""Upstream stages and fine-tuning on texts."""

import io
import json
import sys
import types

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_text as text

from keras_experts import config
from keras_experts.cli import main
from keras_experts.data.tokens import Packer
from keras_experts.data.tokens import hide_words
from keras_experts.evaluation import prediction
from keras_experts.evaluation.prediction import predict
from keras_experts.mediums import PACKED
from keras_experts.models import heads
from keras_experts.models import run_folder
from keras_experts.models.text_encoder import TextEncoder
from keras_experts.saved_models import handles
from keras_experts.saved_models.loading import load_module
from keras_experts.saved_models.preprocessor import RESERVED
from keras_experts.saved_models.preprocessor import read_vocabulary
from keras_experts.saved_models.writing import write_encoder
from keras_experts.training import experts
from keras_experts.training import pretraining
from keras_experts.training.finetuning import finetune

RECIPE = {"num_images": 1600, "batch_size": 16, "base_learning_rate": 8.0}


@pytest.fixture(scope="module")
def encoder(text_collection):
    return str(text_collection / "acme/experts/animal-full/1")


@pytest.fixture(scope="module")
def tuned(encoder, text_files, make_once):
    def make(folder):
        finetune(encoder, text_files / "task.csv", folder / "out", **RECIPE)

    return make_once("tuned_text", make) / "out"


def test_a_run_on_texts_tells_of_them(text_run):
    _, baseline = run_folder.load_baseline(text_run)
    assert (baseline["medium"], baseline["seq_length"]) == ("texts", 8)
    words = read_vocabulary(text_run / "preprocessor")
    assert 5 < len(words) <= 120
    model = keras.saving.load_model(text_run / "baseline/model.keras")
    encoder = heads.backbone_of(model)
    assert encoder.vocabulary_size == len(words)
    told = handles.read_metadata(str(text_run / "preprocessor"))
    assert told["vocabulary_sha256"] == baseline["vocabulary_sha256"]
    assert not list(text_run.rglob("samples.jpg"))


def test_adapters_on_texts_get_their_sentence(text_run, text_files):
    texts = str(text_files / "upstream.csv")
    params = ['KIND="adapter"', "NUM_STEPS=2", f"TEXTS={texts!r}"]
    config.parse(["stages/wordnet_full.gin"], params)
    with pytest.raises(ValueError, match="trained whole, kind='full'"):
        experts.train_experts(text_run)


def test_texts_want_a_preprocessor_and_no_size(text_files, tmp_path):
    params = [
        f"TEXTS={str(text_files / 'upstream.csv')!r}",
        f"HIERARCHY={str(text_files / 'nodes.txt')!r}",
        "IMAGE_SIZE=32",
    ]
    config.parse(["stages/wordnet_baseline.gin"], params)
    with pytest.raises(ValueError, match="texts a `preprocessor`. Received"):
        pretraining.train_baseline(tmp_path)


def test_hidden_words_are_tokens_and_as_many_as_asked(text_run):
    pack = Packer(str(text_run / "preprocessor"))
    words = tf.constant("barks tail puppy")
    plain = pack(words).numpy()
    number = hidden = 0
    for seed in range(300):
        found = hide_words(words, tf.constant([seed, 1]), pack, 0.25).numpy()
        changed = found[0] != plain[0]
        assert (found[0][changed] == RESERVED.index("[MASK]")).all()
        assert (plain[0][changed] >= len(RESERVED)).all()
        np.testing.assert_array_equal(found[1:], plain[1:])
        number += (plain[0] >= len(RESERVED)).sum()
        hidden += changed.sum()
    # Four standard deviations around a quarter.
    spread = 4 * np.sqrt(0.25 * 0.75 / number)
    assert abs(hidden / number - 0.25) < spread


def test_fine_tuning_learns_a_task_of_texts(tuned):
    metrics = json.loads((tuned / "metrics.json").read_text())
    assert metrics["seq_length"] == 8 and metrics["num_classes"] == 4
    assert metrics["train_accuracy"] > 0.7  # of four classes
    assert np.sum(metrics["confusion"]) == metrics["num_test"]


@pytest.mark.slow
def test_the_classifier_takes_strings_and_agrees_with_its_network(
    tuned, text_run
):
    texts = tf.constant(["barks tail puppy", "thorns and petals", ""])
    module = load_module(str(tuned / "module"))
    model = keras.saving.load_model(tuned / "model.keras")
    pack = Packer(str(text_run / "preprocessor"))
    expected = model(pack.module(texts)).numpy()
    np.testing.assert_allclose(module(texts), expected, atol=1e-5)
    served = module.signatures["serving_texts"](texts)
    names = handles.read_metadata(str(tuned / "module"))["class_names"]
    best = [names[row].encode() for row in expected.argmax(axis=1)]
    assert served["classes"].numpy()[:, 0].tolist() == best
    odds = np.exp(expected) / np.exp(expected).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(
        served["probabilities"], -np.sort(-odds), atol=1e-5
    )


def test_texts_are_predicted_by_line_and_by_file(tuned, tmp_path, capsys):
    lines = ["text,id", "puppy barks,1", "", " ,2", "leash bone,3", ""]
    (tmp_path / "a.csv").write_text("\n".join(lines))
    (tmp_path / "b.txt").write_text("petal\nthorn")
    (tmp_path / "c.txt").write_bytes(b"\xff")
    rows = predict(tuned, [tmp_path / n for n in ("a.csv", "b.txt", "c.txt")])
    *rows, unreadable = rows
    assert unreadable["file"] == str(tmp_path / "c.txt")
    assert unreadable["named"] and "not UTF-8" in unreadable["error"]
    assert [(row["file"], row["row"], row["place"]) for row in rows] == [
        (str(tmp_path / "a.csv"), 1, "line 2"),
        (str(tmp_path / "a.csv"), 3, "line 5"),
        (str(tmp_path / "b.txt"), None, ""),
    ]
    assert sum(rows[0]["probabilities"].values()) == pytest.approx(1)
    said = capsys.readouterr().err.strip().splitlines()
    assert [line.partition(": ")[2] for line in said] == [
        "2 texts (column 'text', separated by commas); skipped 1 row: "
        "1 with an empty text (line 4)",
        "one text",
        "skipped, bytes that are not UTF-8",
    ]
    (row,) = predict(tuned, tmp_path / "c.txt")
    assert row["class"] is None and row["error"] == unreadable["error"]


@pytest.mark.slow
def test_tables_of_any_name_are_predicted_row_by_row(
    tuned, tmp_path, monkeypatch
):
    lines = ["Review\tid", "puppy, barks\t1", "leash bone\t2", ""]
    (tmp_path / "a.TSV").write_text("\n".join(lines))
    (tmp_path / "a.txt").write_text("\n".join(lines))
    content = types.SimpleNamespace(
        buffer=io.BytesIO((tmp_path / "a.txt").read_bytes())
    )
    monkeypatch.setattr(sys, "stdin", content)
    rows = predict(tuned, [tmp_path / "a.TSV", tmp_path / "a.txt", "-"])
    assert [row["row"] for row in rows] == [1, 2] * 3
    odds = [row["probabilities"] for row in rows]
    assert odds[:2] == odds[2:4] == odds[4:]
    (row, _) = predict(tuned, [tmp_path / "a.txt"], text_column="id")
    assert row["probabilities"] != odds[0]


def test_texts_are_predicted_in_batches(tuned, tmp_path, monkeypatch):
    batches = []

    def module(batch):
        batches.append(len(batch))
        return tf.zeros((len(batch), 4))

    monkeypatch.setattr(prediction, "load_module", lambda *_: module)
    lines = ["text", *(f"text {number}" for number in range(70))]
    (tmp_path / "a.csv").write_text("\n".join(lines))
    assert len(predict(tuned, [tmp_path / "a.csv"])) == 70
    assert batches == [32, 32, 6]


def write_with_a_table(path, words):
    """Writes a preprocessor as others do: with a file that fills a table."""
    file = path.with_name("words.txt")
    file.write_text("\n".join(words))
    tokenizer = text.BertTokenizer(str(file), lower_case=True)

    def pack(texts):
        tokens = tokenizer.tokenize(texts).merge_dims(1, 2)[:, :6]
        ids, mask = text.pad_model_inputs(tokens, 6)
        found = [tf.cast(part, tf.int32) for part in (ids, mask, 0 * ids)]
        return dict(zip(PACKED, found, strict=True))

    spec = tf.TensorSpec((None,), tf.string)
    root = tf.train.Checkpoint()
    root.tokenizer = tokenizer
    root.__call__ = tf.function(pack, input_signature=[spec])
    tf.saved_model.save(root, str(path))


@pytest.mark.slow
def test_anybodys_encoder_is_fine_tuned_with_its_preprocessor(
    text_files, tmp_path
):
    words = "dog cat rose oak petal thorn barks meows acorn puppy paw".split()
    write_with_a_table(tmp_path / "p", [*RESERVED, *words])
    write_encoder(tmp_path / "e", TextEncoder(30, 12, 8, 1, 2), {})
    pair = f"{tmp_path / 'e'}@{tmp_path / 'p'}"
    metrics = finetune(
        pair, text_files / "task.csv", tmp_path / "out", **RECIPE
    )
    assert metrics["train_accuracy"] > 0.4  # of four classes
    (tmp_path / "words.txt").unlink()  # the classifier has its own
    classify = load_module(str(tmp_path / "out/module"))
    assert classify(tf.constant(["petal"])).shape == (1, 4)
    before = load_module(str(tmp_path / "e")).variables
    after = keras.saving.load_model(tmp_path / "out/model.keras").variables
    assert any(
        tuple(a.shape) == tuple(b.shape) and np.abs(a - b).max() > 0
        for a in map(keras.ops.convert_to_numpy, before)
        for b in map(keras.ops.convert_to_numpy, after)
    )


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--flip"], "Only images are flipped"),
        (["--groups", "adapters"], "must be in the network"),
    ],
)
def test_what_is_of_images_gets_its_sentence(
    encoder, text_files, tmp_path, capsys, flags, message
):
    code = main(
        ["finetune", "--module", encoder, "--output", str(tmp_path / "o")]
        + ["--task", str(text_files / "task.csv"), "--num_images", "64"]
        + ["--batch_size", "8", *flags]
    )
    said = capsys.readouterr().err.strip().splitlines()
    assert code == 1 and message in said[-1]


def test_modules_and_tasks_of_other_kinds_are_told_apart(
    encoder, text_files, baseline_module, image_folder, tmp_path
):
    for module, task, kinds in (
        (encoder, image_folder, "takes texts, for a task of images"),
        (baseline_module, text_files / "task.csv", "takes images, for a task"),
    ):
        with pytest.raises(ValueError, match=kinds):
            finetune(module, task, tmp_path / "out")


@pytest.mark.slow
def test_groups_of_an_encoder_leave_the_rest_as_it_was(
    encoder, text_files, tmp_path
):
    task, output = text_files / "task.csv", tmp_path / "out"
    finetune(encoder, task, output, groups=["norms"], **RECIPE)
    model = keras.saving.load_model(output / "model.keras")
    after = {f"/{v.path}:0": v for v in model.variables}
    for variable in load_module(encoder).variables:
        name = f"/{variable.name}"
        (own,) = (v for path, v in after.items() if path.endswith(name))
        value = keras.ops.convert_to_numpy(own)
        same = np.array_equal(value, variable.numpy())
        assert same != ("norm" in name), name


def write_of_strings(path, is_trainable=True):
    """Writes a module that takes strings itself: one vector for each word."""
    buckets = 32
    vectors = tf.Variable(tf.random.stateless_normal((buckets, 8), (1, 2)))
    keys, values = tf.constant(["puppy"]), tf.constant([0], tf.int64)
    table = tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(keys, values), -1
    )

    def embed(texts):
        words = tf.strings.split(texts)
        ids = tf.strings.to_hash_bucket_fast(words.flat_values, buckets)
        known = table.lookup(words.flat_values)
        ids = words.with_flat_values(tf.where(known < 0, ids, known))
        found = tf.gather(vectors, ids)
        return tf.reduce_sum(found, axis=1)

    root = tf.train.Checkpoint()
    root.table, root.vectors = table, vectors
    root.variables = [vectors]
    root.trainable_variables = [vectors] if is_trainable else []
    spec = tf.TensorSpec((None,), tf.string)
    root.__call__ = tf.function(embed, input_signature=[spec])
    tf.saved_model.save(root, str(path))
    return str(path)


def test_a_module_of_strings_is_fine_tuned_through_its_own_input(
    text_files, tmp_path
):
    module = write_of_strings(tmp_path / "m")
    recipe = {**RECIPE, "base_learning_rate": 1.6}
    output = tmp_path / "out"
    metrics = finetune(module, text_files / "task.csv", output, **recipe)
    assert metrics["train_accuracy"] > 0.9
    assert "seq_length" not in metrics
    before = load_module(module).vectors.numpy()
    classify = load_module(str(output / "module"))
    after = [v.numpy() for v in classify.variables if v.shape == before.shape]
    assert np.abs(after[0] - before).max() > 0
    rows = predict(output, [text_files / "task.csv"])
    assert sum(rows[0]["probabilities"].values()) == pytest.approx(1)
    texts = tf.constant(["barks tail puppy", ""])
    model = keras.saving.load_model(output / "model.keras")
    np.testing.assert_allclose(classify(texts), model(texts), atol=1e-5)
