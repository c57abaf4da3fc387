"""What a graph can do beyond computing, however it is hidden there."""

import contextlib
import re

import pytest
import tensorflow as tf
from tensorflow.core.framework import op_def_pb2
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.client import pywrap_tf_session

from keras_experts.saved_models import inspection
from keras_experts.saved_models.operations import SUSPICIOUS

SCALAR = tf.TensorSpec((), tf.float32)
# What the names of operations, inputs and attributes say of files and hosts.
TELLING = re.compile(
    "file|path|dir|address|prefix|checkpoint|ckpt|uri|url|host_?name|graph_def",
    re.IGNORECASE,
)
# Each was read: none of them opens anything.
HARMLESS = {
    "CTCBeamSearchDecoder",  # paths through a lattice
    "CudnnRNN",  # and its kin: directions of a recurrent layer
    "CudnnRNNBackprop",
    "CudnnRNNBackpropV2",
    "CudnnRNNBackpropV3",
    "CudnnRNNCanonicalToParams",
    "CudnnRNNCanonicalToParamsV2",
    "CudnnRNNParamsSize",
    "CudnnRNNParamsToCanonical",
    "CudnnRNNParamsToCanonicalV2",
    "CudnnRNNV2",
    "CudnnRNNV3",
    "DirectedInterleaveDataset",
    "ExperimentalDirectedInterleaveDataset",
    "ExperimentalSetStatsAggregatorDataset",  # prefix of a counter
    "RiscSort",  # a direction
    "SetStatsAggregatorDataset",
    "ShardedFilename",  # makes a string
    "ShardedFilespec",
    "TensorSliceDataset",  # a mark that its strings are names of files
}


def save(folder, call=lambda number: number + 1, **attributes):
    """Saves a module that computes a number from a number."""
    root = tf.train.Checkpoint(scale=tf.Variable(2.0), **attributes)
    root.__call__ = tf.function(
        lambda number: call(number) * root.scale, input_signature=[SCALAR]
    )
    tf.saved_model.save(root, str(folder))
    return folder


@contextlib.contextmanager
def edited(folder):
    """Gives a module's graph and its functions by name; writes it back."""
    file = folder / "saved_model.pb"
    saved_model = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    (graph,) = saved_model.meta_graphs
    library = graph.graph_def.library.function
    yield graph, {function.signature.name: function for function in library}
    file.write_bytes(saved_model.SerializeToString())


def find(functions, part):
    (name,) = [name for name in functions if part in name]
    return functions[name]


def hide_in_saver(graph, functions):
    """Adds a function that saves, and names it in the module's saver."""

    @tf.function(input_signature=[SCALAR])
    def evil(number):
        saves(number)
        return number + 1

    function = graph.graph_def.library.function.add()
    function.CopyFrom(evil.get_concrete_function().function_def)
    function.signature.name = "evil"
    node = find(functions, "traced_save").node_def.add(name="n", op="NoOp")
    node.attr["_f"].func.name = "evil"
    return function


def call_by_name(graph, functions):
    call = find(functions, "lambda")
    call.node_def.add(name="e", op="evil", input=[call.node_def[0].name])


def call_in_attribute(graph, functions):
    node = find(functions, "lambda").node_def.add(name="e", op="NoOp")
    inner = node.attr["_f"].func
    inner.name = "harmless"
    inner.attr["_g"].list.func.add(name="evil")


def call_as_gradient(graph, functions):
    graph.graph_def.library.gradient.add(
        function_name=find(functions, "lambda").signature.name,
        gradient_func="evil",
    )


def call_as_custom_gradient(graph, functions):
    graph.graph_def.library.registered_gradients.add(
        gradient_func="evil", registered_op_type="CustomGradient-1"
    )


def call_as_method(graph, functions):
    node = graph.object_graph_def.nodes.add()
    node.function.concrete_functions.append("evil")


def call_as_signature(graph, functions):
    node = graph.object_graph_def.nodes.add()
    node.bare_concrete_function.concrete_function_name = "evil"


def call_in_graph(graph, functions):
    node = graph.graph_def.node.add(name="e", op="PartitionedCall")
    node.attr["f"].func.name = "evil"


def call_as_implementation(graph, functions):
    # Grappler puts one function in another's place that says so.
    function = graph.graph_def.library.function[-1]
    function.attr["api_implements"].s = b"lstm"


@pytest.mark.parametrize(
    "call",
    [
        call_by_name,
        call_in_attribute,
        call_as_gradient,
        call_as_custom_gradient,
        call_as_method,
        call_as_signature,
        call_in_graph,
        call_as_implementation,
    ],
)
def test_function_of_the_saver_that_others_call_is_not_excused(tmp_path, call):
    folder = save(tmp_path / "module")
    with edited(folder) as (graph, functions):
        hide_in_saver(graph, functions)
    assert inspection.inspect(folder).operations == {}
    with edited(folder) as (graph, functions):
        call(graph, functions)
    found = inspection.inspect(folder).operations
    assert found == {"SaveV2": "writes files"}


def test_saving_on_loading_is_not_excused(tmp_path):
    folder = save(tmp_path / "module")
    with edited(folder) as (graph, _):
        graph.graph_def.node.add(name="e", op="SaveV2")
    found = inspection.inspect(folder).operations
    assert found == {"SaveV2": "writes files"}


def saves(number):
    tf.raw_ops.SaveV2(
        prefix="/tmp/never",
        tensor_names=["a"],
        shape_and_slices=[""],
        tensors=[number],
    )
    return number


def records(number):
    data = tf.data.Dataset.from_tensors("x")._variant_tensor
    tf.raw_ops.DatasetToTFRecord(
        input_dataset=data, filename="/tmp/never", compression_type=""
    )
    return number


def reads_words(number):
    _, count = tf.raw_ops.GenerateVocabRemapping(
        new_vocab_file="/etc/hostname",
        old_vocab_file="/etc/hostname",
        new_vocab_offset=0,
        num_new_vocab=1,
    )
    return number + tf.cast(count, tf.float32)


def samples(number):
    _, _, expected = tf.raw_ops.FixedUnigramCandidateSampler(
        true_classes=tf.zeros((1, 1), tf.int64),
        num_true=1,
        num_sampled=1,
        unique=False,
        range_max=2,
        vocab_file="/etc/hostname",
    )
    return number + expected[0]


def registers(number):
    data = tf.data.Dataset.from_tensors(number)._variant_tensor
    place = tf.raw_ops.RegisterDataset(
        dataset=data,
        address="127.0.0.1:9",
        protocol="grpc",
        external_state_policy=0,
    )
    return number + tf.cast(place, tf.float32)


def unpacks_a_graph(number):
    data = tf.raw_ops.DatasetFromGraph(graph_def="")
    size = tf.raw_ops.DatasetCardinality(input_dataset=data)
    return number + tf.cast(size, tf.float32)


def reads_a_description(number):
    _, (value,) = tf.io.decode_proto(
        [""], "M", ["f"], [tf.float32], descriptor_source="/etc/hostname"
    )
    return number + value[0, 0]


@pytest.mark.parametrize(
    "call, operation, what",
    [
        (records, "DatasetToTFRecord", "writes files"),
        (reads_words, "GenerateVocabRemapping", "reads files"),
        (samples, "FixedUnigramCandidateSampler", "reads files"),
        (registers, "RegisterDataset", "talks to the network"),
        (unpacks_a_graph, "DatasetFromGraph", "runs a hidden graph"),
        (reads_a_description, "DecodeProtoV2", "reads files"),
    ],
)
def test_operation_that_does_more_than_compute_is_told(
    tmp_path, call, operation, what
):
    found = inspection.inspect(save(tmp_path / "module", call)).operations
    assert found == {operation: what}


def registered():
    buffer = pywrap_tf_session.TF_GetBuffer(pywrap_tf_session.TF_GetAllOpList())
    return op_def_pb2.OpList.FromString(buffer).op


def test_every_registered_operation_that_names_files_or_hosts_is_known():
    telling = {
        operation.name
        for operation in registered()
        for part in (operation, *operation.input_arg, *operation.attr)
        if TELLING.search(part.name)
    }
    unknown = {
        name
        for name in telling
        if not any(what.fullmatch(name) for what in SUSPICIOUS.values())
    }
    assert unknown - HARMLESS == set()
    # What TensorFlow has no longer is no matter.
    assert (HARMLESS - unknown) & {op.name for op in registered()} == set()


@pytest.mark.parametrize(
    "name, what",
    [
        ("ExperimentalDatasetToTFRecord", "writes files"),
        ("DistributedSave", "writes files"),
        ("DumpTensor", "writes files"),
        ("CalibrationStatisticsSaver", "writes files"),
        ("LoadAndRemapMatrix", "reads files"),
        ("RecordInput", "reads files"),
        ("Skipgram", "reads files"),
        ("DTensorRestoreV2", "reads files"),
        ("RegisterDatasetV2", "talks to the network"),
        ("XlaCustomCall", "runs native code"),
        ("XlaCustomCallV2", "runs native code"),
    ],
)
def test_rare_operation_is_known(tmp_path, name, what):
    folder = save(tmp_path / "module")
    with edited(folder) as (_, functions):
        find(functions, "lambda").node_def.add(name="e", op=name)
    assert inspection.inspect(folder).operations == {name: what}


def words_and_images(number, table):
    text = tf.strings.as_string(number)
    words = tf.strings.split([tf.strings.lower(text)], ".").to_tensor("")
    words = tf.strings.regex_replace(words, r"\d", "1")
    pixels = tf.io.decode_image(tf.io.encode_png(tf.zeros((2, 2, 3), tf.uint8)))
    pixels.set_shape((None, None, 3))
    pixels = tf.image.resize(tf.image.adjust_hue(pixels, 0.1), (4, 4))
    serialized = tf.io.parse_single_example(
        "", {"a": tf.io.FixedLenFeature((), tf.float32, 0.0)}
    )
    tf.print(number)
    hashed = tf.strings.to_hash_bucket_fast(words, 8)
    return (
        tf.reduce_sum(table.lookup(words))
        + tf.reduce_sum(tf.cast(hashed, tf.float32))
        + tf.reduce_sum(pixels)
        + serialized["a"]
    )


def test_words_and_images_are_no_matter(tmp_path):
    table = tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(["1"], [2.0]), 0.0
    )
    folder = save(
        tmp_path / "module",
        lambda number: words_and_images(number, table),
        table=table,
    )
    assert inspection.inspect(folder).operations == {}
    again = tf.saved_model.load(str(folder))
    tf.saved_model.save(again, str(tmp_path / "again"))
    assert inspection.inspect(tmp_path / "again").operations == {}


def test_gradients_of_a_module_are_no_matter(tmp_path):
    @tf.custom_gradient
    def rounded(number):
        return tf.round(number), lambda gradient: gradient

    folder = save(tmp_path / "module", rounded)
    with edited(folder) as (graph, _):
        assert len(graph.graph_def.library.registered_gradients) == 1
    assert inspection.inspect(folder).operations == {}
