"""Published BiT weights (.npz) into a network."""

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

import keras
import numpy as np


def bit_name(path: str) -> str:
    """Gives the published name of one of our variables.

    Args:
        path: str. "layer/variable", as in
            `block1_unit01_a_proj_standardized_conv2d/kernel`.
    """
    layer, variable = path.split("/")
    layer = re.sub(r"^root_", "root_block/", layer)
    layer = re.sub(r"^(block\d)_(unit\d\d)_([abc])_", r"\1/\2/\3/", layer)
    layer = layer.replace("/proj_", "/proj/")
    return f"resnet/{layer}/{variable}"


def named_variables(model: keras.Model) -> dict[str, keras.Variable]:
    """Gives a model's variables by "layer/variable", nested ones longer.

    The model's own name is left out, so that two models of one architecture
    have the same names.
    """
    names = {}
    for variable in model.variables:
        path = variable.path.removeprefix(f"{model.name}/")
        names[path] = variable
    return names


def fingerprint(model: keras.Model) -> str:
    """Gives the SHA-256 of a model's weights, with their names."""
    digest = hashlib.sha256()
    for name, variable in sorted(named_variables(model).items()):
        digest.update(name.encode())
        value = keras.ops.convert_to_numpy(variable)
        digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()


def load_bit_weights(model: keras.Model, path: str | Path) -> None:
    """Assigns published BiT weights to a headless network, whole or not at all.

    Adapters keep their values: the published files have none. The file's
    head is left out.

    Args:
        model: `BitResNet`.
        path: path of an .npz file with the names of Big Transfer, such as
            `resnet/block1/unit01/a/standardized_conv2d/kernel` (HWIO).

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is no .npz, or with the full lists of names
            that are missing, unexpected, or of another shape.
    """
    variables = {
        bit_name(name): variable
        for name, variable in named_variables(model).items()
        if not name.startswith("adapter")
    }
    weights = {
        name: value
        for name, value in read_npz(path).items()
        if not name.startswith("resnet/head/")
    }
    assign(variables, weights, f"the BiT weights {path}")


def read_npz(path: str | Path) -> dict[str, np.ndarray]:
    """Reads all arrays of an .npz file, without pickles.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no such file.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise
    except Exception as error:
        raise ValueError(
            "Weights must be an .npz file of plain arrays. "
            f"Received: {path} ({error})."
        ) from error


def assign(
    variables: dict[str, keras.Variable],
    values: dict[str, np.ndarray],
    source: str,
) -> None:
    """Assigns values to variables by name, or raises with every mismatch."""
    other_shape = [
        f"{name} (expected {tuple(variables[name].shape)}, "
        f"received {values[name].shape})"
        for name in variables.keys() & values.keys()
        if _squeezed(variables[name].shape) != _squeezed(values[name].shape)
    ]
    problems = {
        "missing": variables.keys() - values.keys(),
        "unexpected": values.keys() - variables.keys(),
        "of another shape": other_shape,
    }
    if any(problems.values()):
        raise ValueError(
            f"Names and shapes must match those of {source}. Received: "
            + "; ".join(
                _listed(kind, names) for kind, names in problems.items()
            )
            + "."
        )
    for name, variable in variables.items():
        variable.assign(np.reshape(values[name], variable.shape))


def _squeezed(shape: Iterable[int]) -> tuple[int, ...]:
    # Some published files store a norm's (c,) as (1, 1, 1, c).
    return tuple(size for size in shape if size != 1)


def _listed(kind: str, names: Iterable[str]) -> str:
    names = sorted(names)
    return f"{len(names)} {kind}" + (f": {', '.join(names)}" if names else "")
