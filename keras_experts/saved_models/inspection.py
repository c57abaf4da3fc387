"""What a SavedModel is, read from its file; nothing of it is run."""

import dataclasses
import re
from collections.abc import Iterable
from pathlib import Path

from tensorflow.core.framework.types_pb2 import DT_STRING
from tensorflow.core.protobuf import saved_model_pb2

# What a module of weights has no need of, by what it can do. TensorFlow loads
# no Python with a SavedModel, but its graph may do these.
SUSPICIOUS = {
    "reads files": re.compile(
        r"(Immutable)?ReadFile|\w*MatchingFiles\w*|\w*Reader(V\d)?|"
        r"\w*(TextLine|TFRecord|FixedLength|CSV|Sql|LMDB|Snapshot)\w*"
        r"Dataset\w*|Load(Dataset|Checkpoint)\w*|Restore\w*|ImmutableConst|"
        r"InitializeTableFromTextFile\w*"
    ),
    "writes files": re.compile(
        r"WriteFile|Save\w*|MergeV2Checkpoints|\w*CacheDataset\w*|"
        r"\w*SummaryFileWriter|CreateSummaryDbWriter"
    ),
    "runs Python": re.compile(r"(Eager)?PyFunc(Stateless)?"),
    "talks to the network": re.compile(
        r"Debug(Identity|NanCount|NumericSummary)\w*|RemoteCall|\w*Rpc\w*|"
        r"\w*DataService\w*|FileSystemSetConfiguration"
    ),
    "ends the process": re.compile(r"Abort"),
}
PRINTS_TO_FILE = "prints to a file"
# What a checkpoint is written and read with.
SAVER = re.compile(r"SaveV2|RestoreV2|MergeV2Checkpoints")
# What a vocabulary among the module's own assets is read with.
TABLE = re.compile(r"InitializeTableFromTextFile\w*")
PLAIN = re.compile(rf"{TABLE.pattern}|Const|Identity|NoOp")


@dataclasses.dataclass(frozen=True)
class Inspection:
    """What a SavedModel's file says.

    Attributes:
        signatures: dict of str to dict. Of each signature its `inputs` and
            `outputs`, by name as "float32 (?, 2048)".
        variables: list of (name, dtype, shape).
        operations: dict of str to str. Suspicious ones, and what they can do.
        num_bytes: int. Of all files.
    """

    signatures: dict[str, dict[str, dict[str, str]]]
    variables: list[tuple[str, str, tuple[int, ...]]]
    operations: dict[str, str]
    num_bytes: int


def inspect(path: Path) -> Inspection:
    """Reads what a SavedModel is.

    Args:
        path: folder of the SavedModel.

    Raises:
        ValueError: if saved_model.pb is none.
    """
    graph = read_graph(path)
    return Inspection(
        {
            name: {
                "inputs": _describe(signature.inputs),
                "outputs": _describe(signature.outputs),
            }
            for name, signature in sorted(graph.signature_def.items())
            if name != "__saved_model_init_op"
        },
        sorted(
            (
                node.variable.name,
                _dtype(node.variable.dtype),
                tuple(d.size for d in node.variable.shape.dim),
            )
            for node in graph.object_graph_def.nodes
            if node.HasField("variable")
            and node.variable.name != "save_counter"  # of the saver
        ),
        suspicious_operations(graph),
        sum(file.stat().st_size for file in path.rglob("*") if file.is_file()),
    )


def check_operations(path: Path, handle: str) -> None:
    """Raises where a module's graph could do more than compute.

    Raises:
        PermissionError: if it holds a suspicious operation.
        ValueError: if saved_model.pb is none.
    """
    found = suspicious_operations(read_graph(path))
    if found:
        what = ", ".join(f"{name} ({why})" for name, why in found.items())
        raise PermissionError(
            "A module that does more than compute must be trusted "
            f"(--trust, trust=True). Received: {handle} with {what}."
        )


def read_graph(path: Path):
    """Reads the `MetaGraphDef` of a SavedModel.

    Raises:
        ValueError: if saved_model.pb is none.
    """
    try:
        saved_model = saved_model_pb2.SavedModel.FromString(
            (path / "saved_model.pb").read_bytes()
        )
        return saved_model.meta_graphs[0]
    except Exception as error:
        raise ValueError(
            "A module must have a saved_model.pb that can be read. "
            f"Received: {path} ({type(error).__name__})."
        ) from error


def suspicious_operations(graph) -> dict[str, str]:
    """Lists the operations of a graph that do more than compute.

    Args:
        graph: `MetaGraphDef`.

    Returns:
        dict of str to str. What each can do, by its name.
    """
    functions = {
        function.signature.name: function
        for function in graph.graph_def.library.function
    }
    saver = _reachable(functions, _saver_calls(graph))
    called = _reachable(functions, _other_calls(graph))
    found = {}
    for name, function in functions.items():
        excused = [SAVER] if name in saver and name not in called else []
        if _takes_assets_alone(graph, function):
            excused.append(TABLE)
        found.update(_suspicious(function.node_def, excused))
    found.update(_suspicious(graph.graph_def.node, [SAVER]))
    return dict(sorted(found.items()))


def _suspicious(nodes: Iterable, excused: Iterable[re.Pattern]) -> dict:
    found = {}
    for node in nodes:
        if any(pattern.fullmatch(node.op) for pattern in excused):
            continue
        for what, pattern in SUSPICIOUS.items():
            if pattern.fullmatch(node.op):
                found[node.op] = what
        if node.op == "PrintV2":
            stream = node.attr["output_stream"].s
            if stream not in (b"stdout", b"stderr"):
                found[node.op] = PRINTS_TO_FILE
    return found


def _takes_assets_alone(graph, function) -> bool:
    """Tells whether no file name but an asset's can reach a function."""
    objects = graph.object_graph_def
    name = function.signature.name
    if name not in objects.concrete_functions:
        return False
    bound = [
        objects.nodes[place]
        for place in objects.concrete_functions[name].bound_inputs
    ]
    # A file's name is no argument, no constant, and made of nothing.
    arguments = len(function.signature.input_arg) - len(bound)
    made = any(
        not PLAIN.fullmatch(node.op) or node.attr["dtype"].type == DT_STRING
        for node in function.node_def
    )
    constant = any(node.HasField("constant") for node in bound)
    return not (arguments or made or constant)


def _saver_calls(graph) -> list[str]:
    """Lists the functions that the graph's own saver calls."""
    saver = graph.saver_def
    names = {
        name.partition(":")[0]
        for name in (
            saver.save_tensor_name,
            saver.restore_op_name,
            saver.filename_tensor_name,
        )
    }
    return [
        function
        for node in graph.graph_def.node
        if node.name in names
        for function in _called_by(node)
    ]


def _other_calls(graph) -> list[str]:
    """Lists the functions that users call, and those of other nodes."""
    saver = set(_saver_calls(graph))
    return [
        *graph.object_graph_def.concrete_functions,
        *(
            function
            for node in graph.graph_def.node
            for function in _called_by(node)
            if function not in saver
        ),
    ]


def _called_by(node) -> list[str]:
    names = []
    for value in node.attr.values():
        if value.HasField("func"):
            names.append(value.func.name)
        names += [function.name for function in value.list.func]
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


def _describe(tensors) -> dict[str, str]:
    return {
        name: f"{_dtype(info.dtype)} {_shape(info.tensor_shape)}"
        for name, info in sorted(tensors.items())
    }


def _dtype(number: int) -> str:
    from tensorflow import dtypes

    return dtypes.as_dtype(number).name


def _shape(shape) -> str:
    if shape.unknown_rank:
        return "(...)"
    sizes = ["?" if d.size < 0 else str(d.size) for d in shape.dim]
    return f"({', '.join(sizes)})"
