"""Keras models as modules: each is written once as a SavedModel, and kept."""

import contextlib
import hashlib
from pathlib import Path

import keras
import numpy as np

from keras_experts import files
from keras_experts.checks import first_line
from keras_experts.saved_models import handles
from keras_experts.saved_models.writing import write_keras_module

ENDING = ".keras"


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
        digest = hashlib.sha256(module.to_json().encode())
        for value in module.get_weights():
            digest.update(np.ascontiguousarray(value))
        return _kept(digest.hexdigest(), module.name, lambda: module)
    if not is_keras_file(module):
        return str(module)
    path = Path(module)
    return _kept(files.checksum(path), path.stem, lambda: _load(path))


def _load(path: Path) -> keras.Model:
    try:
        return keras.saving.load_model(path, compile=False)
    except Exception as error:
        raise ValueError(
            "A Keras file must hold a model whose layers are known here. "
            f"Received: {path} ({first_line(error)})."
        ) from error


def _kept(digest: str, name: str, load) -> str:
    folder = files.cache_folder() / "keras_models" / digest[:32]
    if not handles.is_saved_model(folder):
        model = load()
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
