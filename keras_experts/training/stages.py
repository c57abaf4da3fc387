"""What the upstream stages share: settings, precision, finished results."""

import contextlib
import hashlib
import json
import shutil
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
from pathlib import Path

import gin
import keras
import numpy as np
import tensorflow as tf

from keras_experts import config
from keras_experts import files
from keras_experts.checks import check_at_least
from keras_experts.checks import difference
from keras_experts.console import say
from keras_experts.data.label_rows import Targets
from keras_experts.data.upstream import Upstream
from keras_experts.locking import locked
from keras_experts.models import run_folder
from keras_experts.training import distribution
from keras_experts.training.trainer import Training

# What a file holds, and not where it lies or how it is read.
PLACES = ("data_dir", "hierarchy", "classes", "experts")
PLACES += ("folder", "test_folder", "images", "test_images")
PLACES += ("train_texts", "test_texts")
PRECISIONS = {"float32": "float32", "bfloat16": "mixed_bfloat16"}


def describe(part: Callable | None) -> dict | None:
    """Describes a part that gin chose: its name and what gin bound."""
    if part is None:
        return None
    name = part.__name__
    try:
        bound = gin.get_bindings(name)
    except ValueError:  # not gin's
        bound = {}
    arguments = {
        key: describe(value) if callable(value) else value
        for key, value in sorted(bound.items())
        if key not in PLACES
    }
    return {"name": name, **arguments}


def check_lengths(num_steps: int, batch_size: int) -> None:
    """Raises unless both are at least 1."""
    check_at_least(num_steps=(num_steps, 1), batch_size=(batch_size, 1))


def describe_data(data: Upstream, targets: Targets) -> dict:
    """Describes upstream data by what can be compared without its images.

    Args:
        data: Upstream.
        targets: Targets of its training images.
    """
    num_images = data.train.num_examples
    counts = np.rint(targets.mean() * num_images).astype(int)
    return {
        "name": data.name,
        "num_images": num_images,
        "num_test_images": data.test.num_examples,
        "images_per_output": digest(map(str, counts)),
    }


@contextlib.contextmanager
def writing_to(
    directories: Sequence[Path], strategy: tf.distribute.Strategy
) -> Iterator[None]:
    """Keeps other runs from writing to the folders of a stage's results.

    Raises:
        BlockingIOError: if another run writes to one of them.
    """
    with contextlib.ExitStack() as locks:
        if distribution.is_chief(strategy):
            for directory in directories:
                locks.enter_context(locked(directory))
        yield


def read_finished(directory: Path, settings: dict) -> dict | None:
    """Reads the metadata of a finished result.

    Args:
        directory: folder of the result.
        settings: dict of all that the result would follow from now, the data
            included.

    Returns:
        dict, or None if there is no finished result.

    Raises:
        ValueError: if it was made with other settings or on other data.
    """
    if not run_folder.is_finished(directory):
        return None
    metadata = files.read_json(directory / run_folder.METADATA_FILE)
    # As they come back from a file: tuples are lists there.
    settings = json.loads(json.dumps(settings))
    different = difference(metadata.get("settings", {}), settings)
    if different:
        raise ValueError(
            "A finished result stays as it is; use another --workdir or remove "
            f"it. Received: {directory}, made with {different}."
        )
    # Of a run that was killed after it was finished.
    shutil.rmtree(directory / run_folder.CHECKPOINTS_FOLDER, ignore_errors=True)
    say(f"The finished result in {directory} is kept; nothing is trained.")
    return metadata


def digest(names: Iterable[str]) -> str:
    """Returns a short hash of a list of names."""
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:12]


def finish(
    directory: Path, metadata: dict, strategy: tf.distribute.Strategy
) -> None:
    """Writes what marks a result as finished, after all else.

    No worker goes on before it is there.
    """
    if distribution.is_chief(strategy):
        config.write_operative_config(directory)
        files.write_json(directory / run_folder.METADATA_FILE, metadata)
        shutil.rmtree(
            directory / run_folder.CHECKPOINTS_FOLDER, ignore_errors=True
        )
    distribution.sum_over_workers(strategy, [0])


def speed(training: Training) -> dict[str, float | None]:
    """Gives the throughputs of a run for its metadata."""
    return {
        name: None if value is None else round(value, 2)
        for name, value in (
            ("images_per_second", training.images_per_second),
            ("input_images_per_second", training.input_images_per_second),
        )
    }


@contextlib.contextmanager
def precision_of(name: str) -> Iterator[None]:
    """Builds networks that compute in a precision; weights are float32.

    Args:
        name: str. "float32" or "bfloat16".

    Raises:
        ValueError: if it is neither.
    """
    if name not in PRECISIONS:
        raise ValueError(
            f"`precision` must be one of {sorted(PRECISIONS)}. "
            f"Received: {name!r}."
        )
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(PRECISIONS[name])
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
