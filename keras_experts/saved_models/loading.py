"""Loading anybody's reusable SavedModels."""

import difflib
import re
from collections.abc import Callable
from collections.abc import Iterable

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import trackable_object_graph_pb2

from keras_experts.checks import first_line
from keras_experts.mediums import import_tensorflow_text
from keras_experts.saved_models import inspection
from keras_experts.saved_models.handles import resolve
from keras_experts.saved_models.references import split

EXPERT_PREFIX = "experts_"
DEFAULT_SIGNATURE = "serving_default"
INITIALIZER = "__saved_model_init_op"  # a signature that is none
UNKNOWN_OPERATION = "Op type not registered"  # TensorFlow's words


def attribute_of(expert: str) -> str:
    """Names the attribute of a bank's root that is an expert."""
    return EXPERT_PREFIX + re.sub(r"\W", "_", expert)


def load_module(
    handle: str, trust: bool = False, is_callable: bool = True
) -> Callable:
    """Loads a module as a function of its inputs.

    A module that is not callable itself, as older ones and those of Keras'
    `model.export()`, is called by its signature.

    Args:
        handle: str. Path or URL of a reusable SavedModel; `MODULE#name` is an
            expert of a bank, or a callable one level deep of anybody's.
        trust: bool. Whether to load a module whose graph reads or writes
            files, or runs Python.
        is_callable: bool. Whether to return a function; else the root object
            as it is.

    Raises:
        FileNotFoundError: if there is no such SavedModel.
        PermissionError: if it must be trusted and is not.
        ValueError: if it does not load, or has nothing to call.
    """
    path = resolve(handle)
    if not trust:
        inspection.check_operations(path, handle)
    try:
        root = _load(str(path))
    except Exception as error:
        raise ValueError(
            "A module must be a SavedModel that TensorFlow loads. "
            f"Received: {handle} ({first_line(error)})."
        ) from error
    return part_of(root, handle, is_callable)


def _load(path: str):
    """Loads a SavedModel, with tensorflow-text where it has its operations."""
    try:
        return tf.saved_model.load(path)
    except Exception as error:
        if UNKNOWN_OPERATION not in str(error):
            raise
    import_tensorflow_text("A module with operations of tensorflow-text")
    return tf.saved_model.load(path)


def part_of(root, handle: str, is_callable: bool = True) -> Callable:
    """Gives the part of a loaded module that a handle names, or the root.

    Args:
        root: what TensorFlow loaded.
        handle: str. As in `load_module`, and so is `is_callable`.

    Raises:
        ValueError: if there is no such part, or it has nothing to call.
    """
    module, part = split(handle)
    if part is not None:
        found = [
            getattr(root, name)
            for name in (attribute_of(part), part)
            if callable(getattr(root, name, None))
        ]
        if not found:
            experts = [
                name.removeprefix(EXPERT_PREFIX)
                for name in dir(root)
                if name.startswith(EXPERT_PREFIX)
            ]
            near = difflib.get_close_matches(part, experts) or experts[:10]
            raise ValueError(
                f"A module's part must be one of its {len(experts)}, such as "
                f"{near}. Received: {part!r} of {module}."
            )
        # The part's variables live as long as their root.
        found[0].keras_experts_root = root
        root = found[0]
    if is_callable and not callable(root):
        return _call_of_signature(root, handle)
    return root


def default_signature(signatures: Iterable[str]) -> str | None:
    """Returns the signature that stands for a module, or None.

    It is the one that TensorFlow Serving calls, or the only one.
    """
    names = [name for name in signatures if name != INITIALIZER]
    if DEFAULT_SIGNATURE in names:
        return DEFAULT_SIGNATURE
    return names[0] if len(names) == 1 else None


def _call_of_signature(root, handle: str) -> Callable:
    """Returns a function of the one input of a module without a root call."""
    signatures = getattr(root, "signatures", {})
    name = default_signature(signatures)
    if name is None:
        raise ValueError(
            "A module must be callable, or have the signature "
            f"{DEFAULT_SIGNATURE!r} or a single one. "
            f"Received: {handle} with {sorted(signatures)}."
        )
    function = load_signature(root, name, handle)

    def call(inputs):
        outputs = function(inputs)
        return next(iter(outputs.values())) if len(outputs) == 1 else outputs

    call.keras_experts_root = root  # its variables live as long as the function
    return call


def load_signature(root, name: str, handle: str) -> Callable:
    """Makes a signature a function of its inputs, one or a dict of them.

    Args:
        root: of `load_module`.
        name: str. Name of the signature.
        handle: str. What errors call the module.

    Returns:
        Function that gives a dict of outputs.

    Raises:
        ValueError: if there is no such signature.
    """
    signatures = getattr(root, "signatures", {})
    if name not in signatures:
        raise ValueError(
            f"A signature must be one of {sorted(signatures)}. "
            f"Received: {name!r} of {handle}."
        )
    function = signatures[name]
    keywords = function.structured_input_signature[1]

    def call(inputs, **arguments):
        if not isinstance(inputs, dict):
            free = [key for key in keywords if key not in arguments]
            if len(free) != 1:
                raise ValueError(
                    f"The signature takes a dict of {sorted(keywords)}. "
                    f"Received: one tensor for {name!r} of {handle}."
                )
            inputs = {free[0]: inputs}
        given = {
            key: tf.convert_to_tensor(value, keywords[key].dtype)
            for key, value in arguments.items()
        }
        inputs = {
            key: _fitted(value, keywords.get(key))
            for key, value in inputs.items()
        }
        return function(**inputs, **given)

    return call


def _fitted(tensor, spec):
    """Casts floats, and makes strings `(batch,)` a column if that is taken."""
    is_column = (
        getattr(spec, "dtype", None) == tf.string
        and len(spec.shape.dims or ()) == len(tensor.shape) + 1
    )
    if is_column:
        return tf.expand_dims(tensor, -1)
    return cast_float(tensor, spec)


def input_specs(function: Callable) -> list:
    """Lists what a module's traces take as inputs, structures of specs."""
    signatures = [
        trace.structured_input_signature[0]
        for trace in getattr(function, "concrete_functions", ())
    ]
    return [signature[0] for signature in signatures if signature]


def cast_floats(inputs, specs: list):
    """Casts floats to the types that a trace takes.

    Args:
        inputs: structure of tensors.
        specs: of `input_specs`. Where the types of one are given, or none has
            the structure of the inputs, nothing is cast.
    """
    fitting = fitting_specs(inputs, specs)
    if not fitting or any(_same_types(inputs, spec) for spec in fitting):
        return inputs
    return tf.nest.map_structure(
        cast_float, inputs, fitting[0], check_types=False
    )


def fitting_specs(inputs, specs: list) -> list:
    """Returns the specs, of `input_specs`, with the structure of inputs."""
    return [spec for spec in specs if _same_structure(inputs, spec)]


def cast_float(tensor, spec):
    """Casts a float tensor to a float type."""
    wanted = getattr(spec, "dtype", None)
    if wanted is None or not wanted.is_floating:
        return tensor
    given = tf.as_dtype(tensor.dtype)
    differs = given.is_floating and given != wanted
    return tf.cast(tensor, wanted) if differs else tensor


def _same_types(inputs, spec) -> bool:
    pairs = zip(tf.nest.flatten(inputs), tf.nest.flatten(spec), strict=True)
    return all(getattr(s, "dtype", None) in (None, t.dtype) for t, s in pairs)


def _same_structure(inputs, spec) -> bool:
    try:
        tf.nest.assert_same_structure(inputs, spec, check_types=False)
    except (TypeError, ValueError):
        return False
    return True


def read_weights(handle: str) -> dict[str, np.ndarray]:
    """Reads a module's variables by name, without loading its graph.

    Raises:
        FileNotFoundError: if there is no such SavedModel.
        ValueError: if its variables cannot be read.
    """
    prefix = resolve(handle) / "variables" / "variables"
    try:
        reader = tf.train.load_checkpoint(str(prefix))
        graph = trackable_object_graph_pb2.TrackableObjectGraph.FromString(
            reader.get_tensor("_CHECKPOINTABLE_OBJECT_GRAPH")
        )
        return {
            attribute.full_name: reader.get_tensor(attribute.checkpoint_key)
            for node in graph.nodes
            for attribute in node.attributes
            if attribute.full_name not in ("", "save_counter")
        }
    except Exception as error:
        raise ValueError(
            "A module's variables must be readable. "
            f"Received: {handle} ({first_line(error)})."
        ) from error
