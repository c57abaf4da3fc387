"""What a SavedModel is, read from its file; nothing of it is run."""

import dataclasses
from pathlib import Path

from tensorflow.core.protobuf import saved_model_pb2

from keras_experts.saved_models import keras_files
from keras_experts.saved_models.operations import suspicious_operations


@dataclasses.dataclass(frozen=True)
class Inspection:
    """What a SavedModel's file says.

    Attributes:
        call: dict of str to list of str. The distinct `inputs`, names of
            further `arguments` and `outputs` of what the root object is as a
            function; empty where it is none.
        signatures: dict of str to dict. Of each signature its `inputs` and
            `outputs`, by name as "float32 (?, 2048)".
        variables: list of (name, dtype, shape).
        operations: dict of str to str. Suspicious ones, and what they can do;
            files too, where loading them does more than that.
        num_bytes: int. Of all files.
    """

    call: dict[str, list[str]]
    signatures: dict[str, dict[str, dict[str, str]]]
    variables: list[tuple[str, str, tuple[int, ...]]]
    operations: dict[str, str]
    num_bytes: int


def inspect(path: Path) -> Inspection:
    """Reads what a SavedModel or a Keras file is, without running it.

    Args:
        path: folder of the SavedModel, or the path of the `.keras` file.

    Raises:
        ValueError: if it is neither.
    """
    if keras_files.is_keras_file(path):
        return _inspect_keras_file(path)
    saved_model = read_saved_model(path)
    graph = saved_model.meta_graphs[0]
    try:
        call = _describe_call(graph.object_graph_def)
    except Exception:
        call = {}  # written by another TensorFlow, or by no TensorFlow
    return Inspection(
        call,
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
        suspicious_operations(saved_model, path),
        sum(file.stat().st_size for file in path.rglob("*") if file.is_file()),
    )


def _inspect_keras_file(path: Path) -> Inspection:
    description = keras_files.describe(path)
    inputs = [
        f"{each.dtype} {_shape_text(each.shape)}" for each in description.inputs
    ]
    operations = {}
    if description.has_lambda:
        operations[keras_files.LAMBDA] = "runs Python code of the file"
    for name in description.custom_classes:
        operations[name] = "runs Python code that is registered"
    return Inspection(
        {"inputs": inputs, "arguments": [], "outputs": []},
        {},
        keras_files.read_variables(path),
        operations,
        path.stat().st_size,
    )


def _shape_text(shape: tuple[int | None, ...]) -> str:
    return f"({', '.join('?' if n is None else str(n) for n in shape)})"


def check_operations(path: Path, handle: str) -> None:
    """Raises where a module's graph could do more than compute.

    Raises:
        PermissionError: if it holds a suspicious operation.
        ValueError: if saved_model.pb is none.
    """
    found = suspicious_operations(read_saved_model(path), path)
    if found:
        what = ", ".join(f"{name} ({why})" for name, why in found.items())
        raise PermissionError(
            "A module that does more than compute must be trusted "
            f"(--trust, trust=True). Received: {handle} with {what}."
        )


def read_saved_model(path: Path):
    """Reads the `SavedModel` protocol buffer of one, with a graph or more.

    Raises:
        ValueError: if saved_model.pb is none.
    """
    try:
        saved_model = saved_model_pb2.SavedModel.FromString(
            (path / "saved_model.pb").read_bytes()
        )
        saved_model.meta_graphs[0]  # without one it is none
        return saved_model
    except Exception as error:
        raise ValueError(
            "A module must have a saved_model.pb that can be read. "
            f"Received: {path} ({type(error).__name__})."
        ) from error


def _describe_call(objects) -> dict[str, list[str]]:
    """Tells what the root object takes and gives when it is called."""
    children = objects.nodes[0].children if objects.nodes else ()
    places = [c.node_id for c in children if c.local_name == "__call__"]
    if not places:
        return {}
    function = objects.nodes[places[0]].function
    traces = [
        objects.concrete_functions[n] for n in function.concrete_functions
    ]
    inputs, outputs = [], []
    for trace in traces:
        (positional, _) = _decode(trace.canonicalized_input_signature)
        inputs += [_structure(value) for value in positional[:1]]
        outputs.append(_structure(_decode(trace.output_signature)))
    names = _decode(function.function_spec.fullargspec).args
    return {
        "inputs": list(dict.fromkeys(inputs)),
        "arguments": [name for name in names if name != "self"][1:],
        "outputs": list(dict.fromkeys(outputs)),
    }


def _decode(value):
    # TensorFlow's own reader of what it writes; it makes specs, runs nothing.
    from tensorflow.python.saved_model import nested_structure_coder

    return nested_structure_coder.decode_proto(value)


def _structure(value) -> str:
    """Writes a structure of specs as `_describe` writes tensors."""
    if isinstance(value, dict):
        parts = [f"{key}: {_structure(value[key])}" for key in sorted(value)]
        return "{" + ", ".join(parts) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_structure, value)) + "]"
    if not (hasattr(value, "shape") and hasattr(value, "dtype")):
        return str(value)
    return f"{value.dtype.name} {_shape(value.shape.as_proto())}"


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
    return _shape_text(tuple(None if d.size < 0 else d.size for d in shape.dim))
