"""What modules could do, read from their files before they are loaded."""

import contextlib
import functools
import json
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from keras_experts import cli
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


@contextlib.contextmanager
def edited(folder):
    """Gives a module as a protocol buffer, and writes it back."""
    file = folder / "saved_model.pb"
    saved_model = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    yield saved_model
    file.write_bytes(saved_model.SerializeToString())


@pytest.fixture
def words(tmp_path):
    """A module with a vocabulary among its assets."""
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
    return tmp_path / "module"


def test_vocabulary_among_the_assets_needs_no_trust(words, tmp_path):
    module = load_module(str(words))
    assert module(tf.constant(["b", "c"])).numpy().tolist() == [1, -1]
    tf.saved_model.save(module, str(tmp_path / "again"))
    module = load_module(str(tmp_path / "again"))
    assert module(tf.constant(["b", "c"])).numpy().tolist() == [1, -1]


@pytest.mark.parametrize(
    "name",
    ["/etc/hostname", "../../words.txt", "file:///etc/hostname", "a\0b"],
    ids=["absolute", "up", "scheme", "zero"],
)
def test_asset_outside_the_module_is_told(words, name):
    with edited(words) as saved_model:
        saved_model.meta_graphs[0].asset_file_def[0].filename = name
    found = inspection.inspect(words).operations
    assert found == {f"asset {name!r}": "reads files outside the module"}
    with pytest.raises(PermissionError, match="outside the module"):
        load_module(str(words))


def test_asset_that_is_a_link_out_of_the_module_is_told(words):
    (words / "assets" / "words.txt").unlink()
    (words / "assets" / "words.txt").symlink_to("/etc/hostname")
    found = inspection.inspect(words).operations
    assert found == {"asset 'words.txt'": "reads files outside the module"}
    (words / "assets" / "words.txt").unlink()
    (words / "assets" / "words.txt").symlink_to("other.txt")
    (words / "assets" / "other.txt").write_text("a\n")
    assert inspection.inspect(words).operations == {}


READS = {"InitializeTableFromTextFileV2": "reads files"}


def functions_of(graph):
    """Gives the function that fills the table, and the one to call."""
    library = graph.graph_def.library.function
    (fills,) = [
        function
        for function in library
        if any(node.op in READS for node in function.node_def)
    ]
    (call,) = [f for f in library if "lambda" in f.signature.name]
    return fills, call


def test_table_filled_from_elsewhere_is_told(words):
    with edited(words) as saved_model:
        fills, call = functions_of(saved_model.meta_graphs[0])
        call.node_def.add(name="e", op=fills.signature.name)
    assert inspection.inspect(words).operations == READS


def test_file_name_that_an_operation_makes_is_told(words):
    with edited(words) as saved_model:
        graph = saved_model.meta_graphs[0]
        fills, _ = functions_of(graph)
        named = graph.graph_def.library.function.add()
        named.signature.name = "Identity"  # a name of TensorFlow's own
        made = named.node_def.add(name="e", op="Const")
        made.attr["dtype"].type = tf.string.as_datatype_enum
        fills.node_def.add(name="e", op="Identity")
    assert inspection.inspect(words).operations == READS


def test_file_name_that_a_resource_gives_is_told(words):
    with edited(words) as saved_model:
        objects = saved_model.meta_graphs[0].object_graph_def
        fills, _ = functions_of(saved_model.meta_graphs[0])
        bound = objects.concrete_functions[fills.signature.name].bound_inputs
        (place,) = [p for p in bound if objects.nodes[p].HasField("asset")]
        objects.nodes[place].resource.device = ""
    assert inspection.inspect(words).operations == READS


def save_in_format_1(folder, call, tags=("serve",)):
    """Saves a module of TensorFlow 1 that runs an operation on loading."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        images = tf.compat.v1.placeholder(tf.float32, IMAGES.shape)
        first = tf.compat.v1.get_default_graph().get_operations()
        output = call(images)
        last = tf.compat.v1.get_default_graph().get_operations()
        signature = tf.compat.v1.saved_model.predict_signature_def(
            {"images": images}, {"output": output}
        )
        builder = tf.compat.v1.saved_model.Builder(str(folder))
        main = [op for op in last if op not in first and op.type == "SaveV2"]
        for number, tag in enumerate(tags):
            add = (
                builder.add_meta_graph
                if number
                else (
                    functools.partial(
                        builder.add_meta_graph_and_variables, session
                    )
                )
            )
            add(
                [tag],
                {"serving_default": signature},
                main_op=main[0] if main else None,
            )
        builder.save()
    return folder


ON_LOADING = {"saved_model.pb": "runs operations on loading"}


def test_module_of_tensorflow_1_is_told_with_what_it_runs(tmp_path):
    plain = save_in_format_1(tmp_path / "plain", mean)
    assert inspection.inspect(plain).operations == ON_LOADING
    with pytest.raises(PermissionError, match="runs operations on loading"):
        load_module(str(plain))
    assert load_module(str(plain), trust=True, is_callable=False).signatures
    saving = save_in_format_1(tmp_path / "saving", saves)
    found = inspection.inspect(saving).operations
    assert found == {"SaveV2": "writes files", **ON_LOADING}


def test_every_graph_of_a_module_is_read(tmp_path):
    path = save_module(tmp_path / "module", mean)
    with edited(path) as saved_model:
        second = saved_model.meta_graphs.add()
        second.graph_def.node.add(name="e", op="WriteFile")
    found = inspection.inspect(path).operations
    assert found == {"WriteFile": "writes files", **ON_LOADING}


def test_call_is_told_with_what_it_takes_and_gives(collection):
    bank = inspection.inspect(collection / "acme/experts/bank/1")
    images = "float32 (?, ?, ?, 3)"
    assert bank.call == {
        "inputs": [
            images,
            f"{{expert: int64 (...), images: {images}}}",
            f"{{expert: int32 (...), images: {images}}}",
        ],
        "arguments": ["training", "expert"],
        "outputs": ["float32 (?, 256)"],
    }


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


def test_keras_file_is_inspected_without_loading_it(tmp_path, capfd):
    images = keras.Input((32, 32, 3))
    network = keras.applications.MobileNetV2(
        weights=None, alpha=0.35, input_tensor=images, include_top=False
    )
    pooled = keras.layers.GlobalAveragePooling2D()(network.output)
    doubled = keras.layers.Lambda(lambda features: features * 2)(pooled)
    network = keras.Model(images, doubled)
    path = str(tmp_path / "small.keras")
    network.save(path)
    assert cli.main(["inspect", path, "--json", "-"]) == 0
    content = json.loads(capfd.readouterr().out)
    assert content["parameters"] == network.count_params()
    assert content["num_variables"] == len(network.variables)
    assert content["call"]["inputs"] == ["float32 (?, 32, 32, 3)"]
    assert content["metadata"] == {"name": "small", "image_size": 32}
    assert list(content["operations"]) == ["Lambda"]
    assert cli.main(["inspect", path]) == 0
    assert "--trust" in capfd.readouterr().out
