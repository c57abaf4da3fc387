"""Keras models as modules: each is written once as a SavedModel, and kept."""

import contextlib
import hashlib
import uuid
from pathlib import Path

import keras
import numpy as np

from keras_experts import files
from keras_experts.checks import first_line
from keras_experts.saved_models import handles
from keras_experts.saved_models.writing import write_keras_module

ENDING = ".keras"
# Layers of these packages are known by their names; other code may change.
KNOWN = ("keras", "keras_experts")


def is_keras_file(module: object) -> bool:
    """Tells whether a module is the path of a Keras file."""
    is_path = isinstance(module, str | Path)
    return is_path and str(module).endswith(ENDING) and Path(module).is_file()


def module_of(module: str | Path | keras.Model) -> str:
    """Gives a handle of a module; a Keras model's is of a SavedModel of it.

    Args:
        module: handle of a module, which is given back, or a Keras model of
            images in [0, 1], `(batch, height, width, 3)`, to features
            `(batch, channels)`, or the path of one's `.keras` file.

    Returns:
        str. The SavedModel lies in the cache, named by its content.

    Raises:
        ValueError: if the file does not load, or is no such model.
    """
    if isinstance(module, keras.Model):
        return _kept(module, module.name)
    if not is_keras_file(module):
        return str(module)
    path = Path(module)
    return _kept(_load(path), path.stem)


def fingerprint_of(model: object) -> str | None:
    """Gives what a Keras model computes, in hexadecimal.

    None of what is no Keras model, or has somebody's own layers: what these
    compute is in their code.
    """
    if not isinstance(model, keras.Model):
        return None
    for layer in (model, *model._flatten_layers(include_self=False)):
        package = type(layer).__module__.partition(".")[0]
        if package not in KNOWN or isinstance(layer, keras.layers.Lambda):
            return None
    digest = hashlib.sha256()
    try:
        digest.update(model.to_json().encode())
    except Exception:
        return None  # a model of somebody's own class that tells nothing
    for value in model.get_weights():
        digest.update(str((value.shape, value.dtype)).encode())
        digest.update(np.ascontiguousarray(value))
    return digest.hexdigest()


def _load(path: Path) -> keras.Model:
    try:
        return keras.saving.load_model(path, compile=False)
    except Exception as error:
        raise ValueError(
            "A Keras file must hold a model whose layers are known here. "
            f"Received: {path} ({first_line(error)})."
        ) from error


def _kept(model: keras.Model, name: str) -> str:
    # What no fingerprint tells from others is written anew each time.
    digest = fingerprint_of(model) or uuid.uuid4().hex
    content = hashlib.sha256(f"{digest} {name}".encode()).hexdigest()
    folder = files.cache_folder() / "keras_models" / content[:32]
    if not handles.is_saved_model(folder):
        shape = model.output_shape
        if not isinstance(shape, tuple) or len(shape) != 2:
            raise ValueError(
                "A Keras model must give features (batch, channels). "
                f"Received: {name}, which gives {shape}."
            )
        metadata: dict = {"name": name}
        if model.input_shape[1] is not None:
            metadata["image_size"] = model.input_shape[1]
        # Another process may write the same.
        with contextlib.suppress(FileExistsError):
            with files.whole_folder(folder) as directory:
                write_keras_module(directory, model, "features", metadata)
    return str(folder)
