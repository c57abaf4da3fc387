"""The description of a network in a `.keras` file, read without loading."""

import dataclasses
import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

from keras_experts.checks import first_line

SUFFIX = ".keras"
OLD_SUFFIXES = (".h5", ".hdf5")
# The code of layers of these packages is known by their names.
PACKAGES = ("keras", "keras_experts")
LAMBDA = "Lambda"
UNIT_RANGE, BYTE_RANGE = (0.0, 1.0), (0.0, 255.0)


@dataclasses.dataclass(frozen=True)
class Input:
    """One input of a network.

    Attributes:
        shape: tuple of int or None. Batch size first.
        dtype: str.
    """

    shape: tuple[int | None, ...]
    dtype: str

    @property
    def image_size(self) -> int | None:
        """The side of square images of a fixed size, in pixels, or None."""
        is_square = len(self.shape) == 4 and self.shape[1] == self.shape[2]
        return self.shape[1] if is_square else None

    @property
    def is_text(self) -> bool:
        """True if the network takes strings."""
        return self.dtype == "string"

    @property
    def is_integer(self) -> bool:
        """True if the network takes whole numbers, as image files hold."""
        return "int" in self.dtype


@dataclasses.dataclass(frozen=True)
class Description:
    """The configuration of a network in a file.

    Attributes:
        inputs: list of Input; empty where the file does not name them, as
            for a subclass of `keras.Model`.
        classes: set of (class name, package) of all its layers and of what
            these are made with.
    """

    inputs: list[Input]
    classes: set[tuple[str, str]]

    @property
    def has_lambda(self) -> bool:
        """True if loading the file runs Python code that it holds."""
        return any(name == LAMBDA for name, _ in self.classes)

    @property
    def custom_classes(self) -> list[str]:
        """The classes and functions whose code neither Keras nor we have."""
        return sorted(
            name for name, package in self.classes if package not in PACKAGES
        )


def is_keras_file(module: object) -> bool:
    """Returns whether a module is the path of a `.keras` file."""
    return (
        isinstance(module, str | Path)
        and Path(module).suffix.lower() == SUFFIX
        and Path(module).is_file()
    )


def check_range_of_ours(handle: str, input_range: tuple[float, float]) -> None:
    """Raises if a module of keras_experts is to be fed another pixel range.

    Raises:
        ValueError: if it is.
    """
    if tuple(input_range) != UNIT_RANGE:
        raise ValueError(
            "Modules of keras_experts take images in [0, 1]. "
            f"Received: input_range={tuple(input_range)} for {handle}."
        )


def describe(path: str | Path) -> Description:
    """Reads the configuration of a network.

    Raises:
        ValueError: if the file is not a `.keras` file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            content = json.loads(archive.read("config.json"))
        return Description(list(_inputs(content)), set(_classes(content)))
    except Exception as error:  # anything may be in a file
        raise ValueError(
            "A Keras file must be what `model.save` wrote. "
            f"Received: {path} ({first_line(error)})."
        ) from error


def read_metadata(path: str | Path) -> dict:
    """Returns what a Keras file says of itself, as a module's metadata."""
    metadata: dict = {"name": Path(path).stem}
    inputs = describe(path).inputs
    if len(inputs) == 1 and inputs[0].image_size is not None:
        metadata["image_size"] = inputs[0].image_size
    return metadata


def read_variables(
    path: str | Path,
) -> list[tuple[str, str, tuple[int, ...]]]:
    """Returns the name, the type and the shape of each weight in a file.

    Raises:
        ValueError: if the weights cannot be read.
    """
    import h5py

    found = []

    def visit(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset) and "optimizer/" not in name:
            found.append((name, item.dtype.name, item.shape))

    try:
        with zipfile.ZipFile(path) as archive:
            content = io.BytesIO(archive.read("model.weights.h5"))
        with h5py.File(content) as weights:
            weights.visititems(visit)
    except (KeyError, OSError, zipfile.BadZipFile) as error:
        raise ValueError(
            "A Keras file must hold weights that can be read. "
            f"Received: {path} ({first_line(error)})."
        ) from error
    return found


def _inputs(content: dict) -> Iterator[Input]:
    """Yields the inputs of the network itself, not of networks inside it."""
    for layer in content["config"].get("layers", ()):
        shape = layer["config"].get("batch_shape")
        if layer["class_name"] == "InputLayer" and shape is not None:
            yield Input(tuple(shape), layer["config"]["dtype"])


def _classes(content: object) -> Iterator[tuple[str, str]]:
    """Yields the name and the package of each class in a configuration."""
    if isinstance(content, list):
        for value in content:
            yield from _classes(value)
    if not isinstance(content, dict):
        return
    if "registered_name" in content:
        module, name = content.get("module"), content["class_name"]
        registered = content["registered_name"] or ""
        if module == "builtins":  # a function, of Keras unless it has a package
            name = registered = str(content["config"])
            module = None if ">" in name else "keras"
        # What is not of Keras has its package in its registered name.
        package = module or registered.partition(">")[0]
        yield name, package.partition(".")[0]
    for value in content.values():
        yield from _classes(value)
