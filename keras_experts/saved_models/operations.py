"""What a SavedModel could do beyond computing, read from its graphs.

TensorFlow loads no Python with a SavedModel, but its operations may read and
write files, and more.
"""

import os
import re
from collections.abc import Iterable
from pathlib import Path

from tensorflow.core.framework.types_pb2 import DT_RESOURCE
from tensorflow.core.framework.types_pb2 import DT_STRING

# What a module of weights has no need of, by what it can do. A test holds this
# against every operation that TensorFlow has.
SUSPICIOUS = {
    "reads files": re.compile(
        r"(Immutable)?ReadFile|\w*MatchingFiles\w*|\w*Reader(V\d)?|"
        r"\w*(TextLine|TFRecord|FixedLength|CSV|Sql|LMDB|Snapshot)\w*"
        r"Dataset\w*|Load(Dataset|Checkpoint)\w*|(DTensor)?Restore\w*|"
        r"ImmutableConst|InitializeTableFromTextFile\w*|RecordInput|Skipgram|"
        r"GenerateVocabRemapping|LoadAndRemapMatrix|"
        r"FixedUnigramCandidateSampler"
    ),
    "writes files": re.compile(
        r"WriteFile|Save\w*|MergeV2Checkpoints|\w*CacheDataset\w*|"
        r"\w*SummaryFileWriter|CreateSummaryDbWriter|\w*DatasetToTFRecord|"
        r"DistributedSave|DumpTensor|CalibrationStatisticsSaver"
    ),
    "runs Python": re.compile(r"(Eager)?PyFunc(Stateless)?"),
    "runs native code": re.compile(r"XlaCustomCall(V\d)?"),
    # In a string, where nothing here looks.
    "runs a hidden graph": re.compile(r"DatasetFromGraph|MlirPassthroughOp"),
    "talks to the network": re.compile(
        r"Debug(Identity|NanCount|NumericSummary)\w*|RemoteCall|\w*Rpc\w*|"
        r"\w*DataService\w*|RegisterDataset(V\d)?|FileSystemSetConfiguration"
    ),
    "ends the process": re.compile(r"Abort"),
}
# What is suspicious by an attribute that is not one of these.
HARMLESS_ATTRIBUTES = {
    "PrintV2": ("output_stream", rb"stdout|stderr", "prints to a file"),
    "DecodeProtoV2": (
        "descriptor_source",
        rb"local://|bytes://[\s\S]*",
        "reads files",
    ),
    "EncodeProto": (
        "descriptor_source",
        rb"local://|bytes://[\s\S]*",
        "reads files",
    ),
}
# What a checkpoint is written and read with.
SAVER = re.compile(r"SaveV2|RestoreV2|MergeV2Checkpoints")
# What a vocabulary among the module's own assets is read with.
TABLE = re.compile(r"InitializeTableFromTextFile\w*")
PLAIN = re.compile(
    rf"{TABLE.pattern}|Const|Identity|NoOp|(Stateful)?PartitionedCall"
)
ON_LOADING = "runs operations on loading"
OUTSIDE = "reads files outside the module"
NAME_LENGTH = 80


def suspicious_operations(saved_model, path: Path) -> dict[str, str]:
    """Lists what of a SavedModel does more than compute.

    Args:
        saved_model: `SavedModel` protocol buffer.
        path: its folder.

    Returns:
        dict of str to str. What each operation or file can do, by its name.
    """
    graphs = saved_model.meta_graphs
    found = {}
    for graph in graphs:
        found |= _of_graph(graph) | _of_assets(graph, path)
    # TensorFlow takes this for its first format, and runs what initializes it.
    if len(graphs) != 1 or not graphs[0].HasField("object_graph_def"):
        found["saved_model.pb"] = ON_LOADING
    return dict(sorted(found.items()))


def _of_assets(graph, path: Path) -> dict[str, str]:
    module = os.path.realpath(path)
    found = {}
    for asset in graph.asset_file_def:
        name = asset.filename
        # TensorFlow ends a name at its first zero.
        outside = "\0" in name or "://" in name
        if not outside:
            file = os.path.realpath(path / "assets" / name)
            outside = not Path(file).is_relative_to(module)
        if outside:
            found[f"asset {name[:NAME_LENGTH]!r}"] = OUTSIDE
    return found


def _of_graph(graph) -> dict[str, str]:
    library = graph.graph_def.library.function
    functions = {function.signature.name: function for function in library}
    saver = _functions_of_the_saver(graph, functions)
    readers = _readers_of_assets(graph, functions)
    found = _of_nodes(graph.graph_def.node, [])
    for function in library:
        name = function.signature.name
        excused = [SAVER] if name in saver else []
        excused += [TABLE] if name in readers else []
        found |= _of_nodes(function.node_def, excused)
    return found


def _of_nodes(nodes: Iterable, excused: Iterable[re.Pattern]) -> dict[str, str]:
    found = {}
    for node in nodes:
        if any(pattern.fullmatch(node.op) for pattern in excused):
            continue
        for what, pattern in SUSPICIOUS.items():
            if pattern.fullmatch(node.op):
                found[node.op] = what
        if node.op in HARMLESS_ATTRIBUTES:
            name, harmless, what = HARMLESS_ATTRIBUTES[node.op]
            # Where it is not there it has TensorFlow's default.
            if name in node.attr and not re.fullmatch(
                harmless, node.attr[name].s
            ):
                found[node.op] = what
    return found


def _readers_of_assets(graph, functions: dict) -> set[str]:
    """Lists the functions that no file name but an asset's can reach."""
    calls = {
        name: {
            called
            for node in function.node_def
            for called in _called_by(node)
            if called in functions
        }
        for name, function in functions.items()
    }
    users = set(_called_by_users(graph))
    readers = {
        name
        for name, function in functions.items()
        if not any(
            _makes_strings(node, functions) for node in function.node_def
        )
        and (name not in users or _is_bound_to_assets(graph, function))
    }
    while True:
        others = functions.keys() - readers
        wrong = {name for name in readers if calls[name] & others}
        wrong |= {called for name in others for called in calls[name]} & readers
        if not wrong:
            return readers
        readers -= wrong


def _makes_strings(node, functions: dict) -> bool:
    if not PLAIN.fullmatch(node.op) and node.op not in functions:
        return True
    return "dtype" in node.attr and node.attr["dtype"].type == DT_STRING


def _is_bound_to_assets(graph, function) -> bool:
    """Tells whether all that a function is given are assets and tables."""
    objects = graph.object_graph_def
    name = function.signature.name
    if name not in objects.concrete_functions:
        return False
    bound = objects.concrete_functions[name].bound_inputs
    inputs = function.signature.input_arg
    return len(inputs) == len(bound) and all(
        argument.type == DT_RESOURCE or objects.nodes[place].HasField("asset")
        for argument, place in zip(inputs, bound)
    )


def _functions_of_the_saver(graph, functions: dict) -> set[str]:
    """Lists the functions that nothing but the graph's own saver can call."""
    saver = {
        name.partition(":")[0]
        for name in (
            graph.saver_def.save_tensor_name,
            graph.saver_def.restore_op_name,
        )
    }
    calls: dict[bool, list[str]] = {True: [], False: []}
    for node in graph.graph_def.node:
        calls[node.name in saver] += _called_by(node)
    own = _reachable(functions, calls[True])
    others = [name for name in functions if name not in own]
    others += calls[False] + _called_by_users(graph)
    return own - _reachable(functions, others)


def _called_by_users(graph) -> list[str]:
    """Lists the functions that loading, calling and training may call."""
    library = graph.graph_def.library
    objects = graph.object_graph_def
    names = [*objects.concrete_functions]
    for node in objects.nodes:
        names += node.function.concrete_functions
        names.append(node.bare_concrete_function.concrete_function_name)
        names.append(node.captured_tensor.concrete_function)
    names += [entry.gradient_func for entry in library.gradient]
    names += [entry.gradient_func for entry in library.registered_gradients]
    # TensorFlow may put such a function in another's place.
    names += [
        function.signature.name
        for function in library.function
        if "api_implements" in function.attr
    ]
    return names


def _called_by(node) -> list[str]:
    # The name of a function is an operation too.
    names = [node.op]
    values = list(node.attr.values())
    while values:
        value = values.pop()
        called = [value.func] if value.HasField("func") else []
        for function in (*called, *value.list.func):
            names.append(function.name)
            values += function.attr.values()
    return names


def _reachable(functions: dict, names: Iterable[str]) -> set[str]:
    found: set[str] = set()
    left = list(names)
    while left:
        name = left.pop()
        if name in found or name not in functions:
            continue
        found.add(name)
        for node in functions[name].node_def:
            left += _called_by(node)
    return found
