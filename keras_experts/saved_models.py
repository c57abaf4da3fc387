"""Reusable SavedModels: writing our own, loading anybody's.

The format is TensorFlow Hub's "Reusable SavedModel" and its common API for
image feature vectors: the root is callable with `training`, lists its
variables once, and needs no class of ours to load.
"""

import json
import warnings
from collections.abc import Callable
from collections.abc import Sequence
from pathlib import Path

import tensorflow as tf

from keras_experts import files
from keras_experts.checks import first_line

# Outside `assets/`: TensorFlow ignores it, and hub archives may hold it.
METADATA_FILE = Path("assets.extra") / "keras_experts.json"
COLLECTION_FILE = "collection.json"
BASELINE = "baseline"  # kind and name of a collection's baseline
DEFAULT_IMAGE_SIZE = 224


def write_module(
    directory: str | Path,
    function: Callable,
    variables: Sequence[tf.Variable],
    trainable_variables: Sequence[tf.Variable],
    output_name: str,
    metadata: dict,
) -> None:
    """Writes a module from images to one output, whole or not at all.

    Args:
        directory: folder to make; must be new or empty.
        function: function of float images `(batch, height, width, 3)`, values
            in [0, 1], to a float tensor `(batch, outputs)`.
        variables: all variables the function reads.
        trainable_variables: those among them that fine-tuning may move.
        output_name: str. Name of the output in the serving signature.
        metadata: dict. What `read_metadata` gives back; JSON.

    Raises:
        FileExistsError: if the folder holds something.
    """
    images = tf.TensorSpec((None, None, None, 3), tf.float32, "inputs")
    shared = tf.function(function, input_signature=[images])

    def call(inputs, training=False):
        # The network is the same in both modes: there is no dropout and no
        # batch normalisation. Both traces call one function, so the graph is
        # stored once.
        return shared(inputs)

    root = tf.train.Checkpoint()
    root.variables = list(variables)
    root.trainable_variables = list(trainable_variables)
    root.regularization_losses = []
    root.__call__ = tf.function(call)
    for training in (False, True):
        root.__call__.get_concrete_function(images, training=training)

    @tf.function(input_signature=[images])
    def serve(inputs):
        return {output_name: shared(inputs)}

    with files.whole_folder(directory) as temporary:
        tf.saved_model.save(root, str(temporary), signatures=serve)
        extra = temporary / METADATA_FILE
        extra.parent.mkdir()
        extra.write_text(json.dumps(metadata, indent=2) + "\n")


def write_keras_module(
    directory: str | Path,
    model,
    output_name: str,
    metadata: dict,
) -> None:
    """Writes a Keras model from images in [0, 1] to one output."""
    write_module(
        directory,
        lambda images: model(images, training=False),
        [variable.value for variable in model.variables],
        [variable.value for variable in model.trainable_variables],
        output_name,
        metadata,
    )


def is_saved_model(path: str | Path) -> bool:
    """Tells whether a folder holds a SavedModel."""
    return (Path(path) / "saved_model.pb").exists()


def resolve(handle: str) -> Path:
    """Gives the local folder of a module, downloading it if need be.

    Args:
        handle: str. Path of a SavedModel, or a TensorFlow Hub handle (URL).

    Raises:
        FileNotFoundError: if there is no such SavedModel.
    """
    if "://" in handle:
        with warnings.catch_warnings():
            # tensorflow_hub 0.16.1 imports the deprecated pkg_resources.
            warnings.simplefilter("ignore")
            import tensorflow_hub as hub
        try:
            return Path(hub.resolve(handle))
        except Exception as error:
            raise FileNotFoundError(
                "A handle must lead to a module that can be downloaded. "
                f"Received: {handle} ({first_line(error)})."
            ) from error
    if not is_saved_model(handle):
        raise FileNotFoundError(
            "A module must be a folder with a saved_model.pb, or a URL. "
            f"Received: {handle!r}."
        )
    return Path(handle)


def load_module(handle: str):
    """Loads a module's root object, callable on images.

    Raises:
        FileNotFoundError: if there is no such SavedModel.
        ValueError: if it does not load, or its root is not callable.
    """
    path = resolve(handle)
    try:
        root = tf.saved_model.load(str(path))
    except Exception as error:
        raise ValueError(
            "A module must be a SavedModel that TensorFlow loads. "
            f"Received: {handle} ({first_line(error)})."
        ) from error
    if not callable(root):
        raise ValueError(
            "A module must be a reusable SavedModel, callable on images. "
            f"Received: {handle}, whose root is not callable."
        )
    return root


def read_metadata(handle: str) -> dict:
    """Reads what the exporter wrote about a module; {} for anybody's."""
    path = resolve(handle) / METADATA_FILE
    return files.read_json(path) if path.exists() else {}


def image_size(handle: str) -> int:
    """Gives the side of a module's images, pixels; 224 for anybody's."""
    return read_metadata(handle).get("image_size", DEFAULT_IMAGE_SIZE)
