"""Writing reusable SavedModels.

The format is TensorFlow Hub's "Reusable SavedModel" and its common API for
image feature vectors: the root is callable with `training`, lists its
variables once, and needs no class of ours to load.
"""

import functools
import inspect
import shutil
import uuid
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Sequence
from pathlib import Path

import keras
import tensorflow as tf
from tensorflow.core.protobuf import fingerprint_pb2

from keras_experts import files
from keras_experts.mediums import PACKED
from keras_experts.saved_models.handles import METADATA_FILE

# Any batch, any size; values in [0, 1].
IMAGES = tf.TensorSpec((None, None, None, 3), tf.float32, "inputs")
# What encoders of texts take: any batch, any length.
TOKENS = {key: tf.TensorSpec((None, None), tf.int32, key) for key in PACKED}
FINGERPRINT_FILE = "fingerprint.pb"


def reusable_object(
    call: Callable,
    traces: Iterable[tuple[tuple, dict]],
    variables: Sequence[tf.Variable],
    trainable_variables: Sequence[tf.Variable],
    penalties: Sequence[Callable] = (),
) -> tf.train.Checkpoint:
    """Makes what loads as a callable object, with no class of ours.

    Args:
        call: function of the inputs; that which is large in it should be a
            call of a traced function, since each trace is stored.
        traces: the arguments and keyword arguments to trace it with.
        variables: all variables it reads.
        trainable_variables: those among them that fine-tuning may move.
        penalties: functions of nothing to regularisation losses.
    """
    root = tf.train.Checkpoint()
    root.variables = list(variables)
    root.trainable_variables = list(trainable_variables)
    root.regularization_losses = [
        tf.function(penalty, input_signature=()) for penalty in penalties
    ]
    root.__call__ = tf.function(call)
    for arguments, keywords in traces:
        root.__call__.get_concrete_function(*arguments, **keywords)
    return root


def write_module(
    directory: str | Path,
    root: tf.train.Checkpoint,
    signatures: dict[str, Callable],
    metadata: dict,
    extras: Iterable[Path] = (),
) -> None:
    """Writes a module, whole or not at all.

    Two processes that write the same module write the same bytes.

    Args:
        directory: folder to make; must be new or empty.
        root: of `reusable_object`.
        signatures: traced functions by name.
        metadata: dict. What `read_metadata` gives back; JSON.
        extras: files to keep beside the metadata, in `assets.extra`.

    Raises:
        FileExistsError: if the folder holds something.
    """
    with files.whole_folder(directory) as temporary:
        tf.saved_model.save(root, str(temporary), signatures)
        _derive_identifier(temporary / FINGERPRINT_FILE)
        written = temporary / METADATA_FILE
        written.parent.mkdir()
        written.write_text(files.to_json(metadata))
        for extra in extras:
            shutil.copyfile(extra, written.with_name(extra.name))


def _derive_identifier(path: Path) -> None:
    """Replaces the random identifier in a fingerprint by one of its content."""
    fingerprint = fingerprint_pb2.FingerprintDef.FromString(path.read_bytes())
    fingerprint.ClearField("uuid")
    content = fingerprint.SerializeToString(deterministic=True)
    # TensorFlow writes identifiers as decimal numbers.
    identifier = uuid.uuid5(uuid.NAMESPACE_OID, content.hex())
    fingerprint.uuid = str(identifier.int)
    path.write_bytes(fingerprint.SerializeToString(deterministic=True))


def write_keras_module(
    directory: str | Path,
    model: keras.Model,
    output_name: str,
    metadata: dict,
    extras: Iterable[Path] = (),
    signatures: dict[str, Callable] | None = None,
) -> None:
    """Writes a Keras model from images in [0, 1] to one output.

    Args:
        directory: folder to make; must be new or empty.
        model: from float images `(batch, height, width, 3)` to a float tensor
            `(batch, outputs)`.
        output_name: str. Name of the output in the serving signature.
        metadata: dict. As in `write_module`.
        extras: files, as in `write_module`.
        signatures: traced functions by name, beside `serving_default`.
    """
    # A network of a fixed size takes no other.
    images = tf.TensorSpec(model.input_shape, tf.float32, IMAGES.name)
    root, forward = keras_object(model, images)

    @tf.function(input_signature=[images])
    def serve(inputs):
        return {output_name: forward(inputs)}

    signatures = {"serving_default": serve, **(signatures or {})}
    write_module(directory, root, signatures, metadata, extras)


def write_encoder(
    directory: str | Path,
    encoder: keras.Model,
    metadata: dict,
    extras: Iterable[Path] = (),
) -> None:
    """Writes an encoder of texts, as TensorFlow Hub's common API wants it.

    Args:
        directory: folder to make; must be new or empty.
        encoder: from a dict of int32 `(batch, length)` to a dict of floats,
            as `TextEncoder`.
        metadata: dict. As in `write_module`.
        extras: files, as in `write_module`.
    """
    root, forward = keras_object(encoder, TOKENS)

    @tf.function(input_signature=[TOKENS[key] for key in PACKED])
    def serve(input_word_ids, input_mask, input_type_ids):
        tensors = (input_word_ids, input_mask, input_type_ids)
        return forward(dict(zip(PACKED, tensors, strict=True)))

    write_module(directory, root, {"serving_default": serve}, metadata, extras)


def keras_object(
    model: Callable, inputs, keras_model: keras.Model | None = None
) -> tuple[tf.train.Checkpoint, Callable]:
    """Makes a Keras model what loads as a callable object.

    Args:
        model: keras.Model, or a function with its arguments.
        inputs: structure of tf.TensorSpec.
        keras_model: whose variables a function uses.

    Returns:
        The object, and the traced function of inputs that predicts.
    """
    keras_model = model if keras_model is None else keras_model
    forward = {
        training: tf.function(
            functools.partial(model, training=training),
            input_signature=[inputs],
        )
        for training in (False, True)
    }
    if not _tells_training(keras_model):
        forward[True] = forward[False]  # stored once

    def call(inputs, training=False):
        return forward[training](inputs)

    root = reusable_object(
        call,
        [((inputs,), {"training": training}) for training in (False, True)],
        [variable.value for variable in keras_model.variables],
        [variable.value for variable in keras_model.trainable_variables],
        _penalties(keras_model),
    )
    return root, forward[False]


def _tells_training(model: keras.Model) -> bool:
    """Tells whether a model does something else in training."""
    return any(
        "training" in inspect.signature(layer.call).parameters
        for layer in model._flatten_layers(include_self=False)
        if not isinstance(layer, keras.Model)  # which pass it on
    )


def _penalties(model: keras.Model) -> list[Callable]:
    """Lists a model's regularisation losses."""
    return [
        functools.partial(variable.regularizer, variable.value)
        for variable in model.trainable_variables
        if getattr(variable, "regularizer", None) is not None
    ]
