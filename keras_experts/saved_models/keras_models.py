"""Keras networks as modules of images: loading, checking, calling them."""

import hashlib
import tempfile
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from keras_experts import files
from keras_experts.checks import first_line
from keras_experts.mediums import IMAGES
from keras_experts.mediums import TEXTS
from keras_experts.saved_models import keras_files
from keras_experts.saved_models.keras_files import BYTE_RANGE
from keras_experts.saved_models.keras_files import UNIT_RANGE
from keras_experts.saved_models.keras_files import is_keras_file

RULE = (
    "A Keras network must take images (batch, side, side, 3), or strings "
    "(batch,) or (batch, 1), and return features (batch, channels)."
)


def is_network(module: object) -> bool:
    """Returns whether a module is a Keras model or the file of one."""
    return isinstance(module, keras.Model) or is_keras_file(module)


def name_of(module: str | Path | keras.Model) -> str:
    """Returns what to call a network."""
    is_model = isinstance(module, keras.Model)
    return module.name if is_model else Path(module).stem


def load_network(path: str | Path, trust: bool = False) -> keras.Model:
    """Loads the network of a `.keras` file.

    Args:
        path: of the file.
        trust: bool. Whether to load `Lambda` layers, which run Python code
            that the file holds.

    Raises:
        PermissionError: if the file must be trusted and is not.
        ValueError: if it does not load, or is not a network of images.
    """
    if keras_files.describe(path).has_lambda and not trust:
        raise PermissionError(
            "A Keras file with a Lambda layer runs Python code of its own: it "
            f"must be trusted (--trust, trust=True). Received: {path}."
        )
    try:
        network = keras.saving.load_model(
            path, compile=False, safe_mode=not trust
        )
    except Exception as error:
        raise ValueError(
            "A Keras file must hold a network whose layers are known here. "
            f"Received: {path} ({first_line(error)})."
        ) from error
    check_network(network, str(path))
    return network


def copy_network(
    module: str | Path | keras.Model, trust: bool = False
) -> keras.Model:
    """Returns a network to train, which shares no weights with the given one.

    Args:
        module: a Keras model, or the path of a `.keras` file.
        trust: bool. As in `load_network`.

    Raises:
        PermissionError: if the file must be trusted and is not.
        ValueError: if it is not a network of images, or cannot be copied.
    """
    if not isinstance(module, keras.Model):
        return load_network(module, trust)
    check_network(module, module.name)
    try:
        if medium_of(module) == TEXTS:
            return _copy_by_file(module)  # a clone loses its vocabulary
        network = keras.models.clone_model(module)
        network.set_weights(module.get_weights())
    except Exception as error:
        raise ValueError(
            "A Keras network to fine-tune must be Functional, Sequential, or "
            "be made anew by its `from_config`. "
            f"Received: {module.name} ({first_line(error)})."
        ) from error
    return network


def _copy_by_file(network: keras.Model) -> keras.Model:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"copy{keras_files.SUFFIX}")
        network.save(path)
        return keras.saving.load_model(path, compile=False)


def medium_of(module: str | Path | keras.Model) -> str | None:
    """Returns "texts" or "images" by a network's input, None if unknown."""
    expected = input_of(module)
    if expected is None:
        return None
    return TEXTS if expected.is_text else IMAGES


def check_network(network: keras.Model, name: str) -> None:
    """Raises unless a network takes images and returns features.

    A subclass of `keras.Model` tells no shapes: what it returns is checked
    when it is called.

    Args:
        network: keras.Model.
        name: str. What errors call it.

    Raises:
        ValueError: if it does not; the message has the shapes.
    """
    if not network.built:
        raise ValueError(
            f"{RULE} Received: {name}, which has no weights yet: it was saved "
            "before it knew the shape of its input."
        )
    inputs = getattr(network, "inputs", None)
    if not inputs:
        return
    if len(inputs) != 1:
        raise ValueError(f"{RULE} Received: {name}, with {len(inputs)} inputs.")
    shape = tuple(inputs[0].shape)
    if medium_of(network) == TEXTS:
        is_fit = len(shape) == 1 or shape[1:] in ((1,), (None,))
    else:
        is_fit = len(shape) == 4 and shape[3] in (3, None)
        is_fit = is_fit and shape[1] == shape[2]
    if not is_fit:
        raise ValueError(f"{RULE} Received: {name}, which takes {shape}.")
    shape = network.output_shape
    if isinstance(shape, dict):
        raise ValueError(
            f"{RULE} Received: {name}, which returns a dictionary of "
            f"{', '.join(sorted(shape))}; make a model of one of these."
        )
    if not isinstance(shape, tuple) or len(shape) != 2:
        advice = ""
        if isinstance(shape, tuple) and len(shape) == 4:
            advice = "; add a GlobalAveragePooling2D layer"
        raise ValueError(
            f"{RULE} Received: {name}, which returns {shape}{advice}."
        )


def check_image_size(module: str | Path | keras.Model, size: int) -> None:
    """Raises where a network takes images of another size than `size` pixels.

    Raises:
        ValueError: if it does.
    """
    expected = input_of(module)
    if expected is not None and expected.image_size not in (None, size):
        raise ValueError(
            "A Keras network must get images of its own size. Received: "
            f"{size} pixels for {name_of(module)}, which takes "
            f"{expected.shape}."
        )


def input_of(module: str | Path | keras.Model) -> keras_files.Input | None:
    """Returns the only input of a network, if it tells of one.

    Raises:
        ValueError: if the file is not a `.keras` file.
    """
    if not isinstance(module, keras.Model):
        inputs = keras_files.describe(module).inputs
    else:
        inputs = [
            keras_files.Input(tuple(tensor.shape), tensor.dtype)
            for tensor in getattr(module, "inputs", None) or ()
        ]
    return inputs[0] if len(inputs) == 1 else None


def range_of(
    module: str | Path | keras.Model,
    given: tuple[float, float] = UNIT_RANGE,
) -> tuple[float, float]:
    """Returns the pixel range that a network is fed.

    Args:
        module: a Keras model, or the path of a `.keras` file.
        given: two floats. What the user said; (0, 1) is the default, in place
            of which a network of integers gets 0 to 255.
    """
    expected = input_of(module)
    if expected is None or not expected.is_integer:
        return given
    return BYTE_RANGE if tuple(given) == UNIT_RANGE else given


def as_function(network: Callable) -> Callable:
    """Returns a function of float images or of strings, as modules are.

    Integers are rounded, and strings become a column, where a network takes
    these.
    """
    expected = None
    if isinstance(network, keras.Model):
        expected = input_of(network)
    if expected is not None and expected.is_text and len(expected.shape) > 1:
        return lambda texts: network(keras.ops.expand_dims(texts, -1))
    if expected is None or not expected.is_integer:
        return network

    def call(images):
        rounded = keras.ops.round(images)
        return network(keras.ops.cast(rounded, expected.dtype))

    return call


def digest_of(module: str | Path | keras.Model) -> str | None:
    """Returns what tells a network from others, hexadecimal.

    None where custom code is part of it: that may change without a trace.
    """
    if isinstance(module, keras.Model):
        return fingerprint_of(module)
    is_custom = bool(keras_files.describe(module).custom_classes)
    return None if is_custom else files.checksum(module)


def fingerprint_of(model: object) -> str | None:
    """Returns a digest of a Keras model's layers and weights, hexadecimal.

    None for anything that is not a Keras model, and for models with custom
    layers: what these compute is in their code.
    """
    if not isinstance(model, keras.Model):
        return None
    for layer in (model, *model._flatten_layers(include_self=False)):
        package = type(layer).__module__.partition(".")[0]
        is_known = package in keras_files.PACKAGES
        if not is_known or isinstance(layer, keras.layers.Lambda):
            return None
    digest = hashlib.sha256()
    try:
        digest.update(model.to_json().encode())
    except Exception:
        return None  # a model of a custom class that has no configuration
    for value in model.get_weights():
        digest.update(str((value.shape, value.dtype)).encode())
        digest.update(np.ascontiguousarray(value))
    for layer in model._flatten_layers(include_self=False):
        if hasattr(layer, "get_vocabulary"):  # not a weight
            digest.update(str(layer.get_vocabulary()).encode())
    return digest.hexdigest()
