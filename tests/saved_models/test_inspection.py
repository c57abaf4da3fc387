"""What modules could do, read from their files before they are loaded."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from keras_experts.layers import HubLayer
from keras_experts.saved_models import inspection
from keras_experts.saved_models.loading import load_module

IMAGES = tf.TensorSpec((None, None, None, 3), tf.float32)


def save_module(folder, call):
    root = tf.train.Checkpoint()
    root.scale = tf.Variable(2.0, name="scale")
    root.variables = root.trainable_variables = [root.scale]
    root.__call__ = tf.function(
        lambda images: call(images) * root.scale, input_signature=[IMAGES]
    )
    tf.saved_model.save(root, str(folder))
    return folder


def mean(images):
    return tf.reduce_mean(images, (1, 2))


def reads(images):
    content = tf.io.read_file("/etc/hostname")
    return mean(images) + tf.cast(tf.strings.length(content), tf.float32)


def writes_in_a_branch(images):
    def write():
        tf.io.write_file("/tmp/never", "x")
        return mean(images)

    return tf.cond(tf.reduce_sum(images) > 1e9, write, lambda: mean(images))


def saves(images):
    tf.raw_ops.SaveV2(
        prefix="/tmp/never",
        tensor_names=["a"],
        shape_and_slices=[""],
        tensors=[images],
    )
    return mean(images)


def runs_python(images):
    return tf.py_function(mean, [images], tf.float32)


def prints_to_a_file(images):
    tf.print(images, output_stream="file:///tmp/never")
    return mean(images)


@pytest.mark.parametrize(
    "call, operation, what",
    [
        (reads, "ReadFile", "reads files"),
        (writes_in_a_branch, "WriteFile", "writes files"),
        (saves, "SaveV2", "writes files"),
        (runs_python, "EagerPyFunc", "runs Python"),
        (prints_to_a_file, "PrintV2", "prints to a file"),
    ],
)
def test_module_that_does_more_than_compute_must_be_trusted(
    tmp_path, call, operation, what
):
    path = str(save_module(tmp_path / "module", call))
    with pytest.raises(PermissionError, match=f"{operation} \\({what}\\)"):
        load_module(path)
    with pytest.raises(PermissionError, match="trust=True"):
        HubLayer(path)
    assert callable(load_module(path, trust=True))
    assert callable(HubLayer(path, trust=True))


def test_module_that_only_computes_needs_no_trust(tmp_path):
    path = save_module(tmp_path / "module", mean)
    found = inspection.inspect(path)
    # Its own saver reads and writes files, and is no matter.
    assert found.operations == {}
    assert found.variables == [("scale", "float32", ())]
    images = np.ones((1, 2, 2, 3), np.float32)
    np.testing.assert_allclose(load_module(str(path))(images), [[2, 2, 2]])


def test_vocabulary_among_the_assets_needs_no_trust(tmp_path):
    (tmp_path / "words.txt").write_text("a\nb\n")
    root = tf.Module()
    root.table = tf.lookup.StaticHashTable(
        tf.lookup.TextFileInitializer(
            str(tmp_path / "words.txt"),
            tf.string,
            tf.lookup.TextFileIndex.WHOLE_LINE,
            tf.int64,
            tf.lookup.TextFileIndex.LINE_NUMBER,
        ),
        -1,
    )
    root.__call__ = tf.function(
        lambda words: root.table.lookup(words),
        input_signature=[tf.TensorSpec((None,), tf.string)],
    )
    tf.saved_model.save(root, str(tmp_path / "module"))
    (tmp_path / "words.txt").unlink()
    module = load_module(str(tmp_path / "module"))
    assert module(tf.constant(["b", "c"])).numpy().tolist() == [1, -1]


def test_signatures_are_told_with_their_shapes(baseline_module):
    found = inspection.inspect(Path(baseline_module))
    (signature,) = found.signatures.values()
    assert signature["inputs"] == {"inputs": "float32 (?, ?, ?, 3)"}
    assert signature["outputs"] == {"features": "float32 (?, 256)"}
    assert found.operations == {}
    assert found.num_bytes > 4 * sum(
        int(np.prod(shape)) for _, _, shape in found.variables
    )


@pytest.mark.parametrize("content", [b"", b"no protocol buffer \xff\xff"])
def test_damaged_file_is_named(tmp_path, content):
    (tmp_path / "saved_model.pb").write_bytes(content)
    with pytest.raises(ValueError, match=f"can be read. Received: {tmp_path}"):
        inspection.inspect(tmp_path)
