"""What the commands share."""

import contextlib
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path

from keras_experts import files


class Misuse(Exception):
    """Flags that do not go together."""


def check_data_set(flag: str, name: str, data_dir: str | None) -> None:
    """Raises unless a path exists, or a TFDS data set has been prepared.

    Args:
        flag: str. Flag that names it.
        name: str. Path, TFDS name, or "-" for stdin.
        data_dir: str. The folder of TFDS data sets, or None.

    Raises:
        Misuse: if there is neither.
    """
    default = os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")
    folder = Path(data_dir or default).expanduser()
    data_set = re.split("[:/]", name)[0]
    is_path = name == "-" or Path(name).exists()
    if not is_path and not (folder / data_set).is_dir():
        raise Misuse(
            f"--{flag} {name} does not exist: it is no path, and no data set "
            f"of TFDS in {folder}."
        )


def give_json(path: str | None, content: object) -> bool:
    """Writes JSON to a file, or prints it if the path is "-".

    Returns:
        Whether it was printed: then stdout must hold nothing else.
    """
    if path == "-":
        print(files.to_json(content), end="")
        return True
    if path is not None:
        files.write_json(path, content)
    return False


def configure_strategies(options) -> None:
    """Gives strategies what gin files and --hierarchy say."""
    from keras_experts import config
    from keras_experts.selection import registry

    registry.import_strategies()
    bindings = list(options.gin_param)
    if options.hierarchy is not None:
        hierarchy = f"NameMatching.hierarchy = {options.hierarchy!r}"
        bindings.insert(0, hierarchy)
    config.parse(options.gin_file, bindings)


def percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"


@contextlib.contextmanager
def _silent_stderr() -> Iterator[None]:
    """Sends what C++ libraries print on loading into the void.

    TensorFlow prints to file descriptor 2 before any setting counts.
    """
    kept = os.dup(2)
    void = os.open(os.devnull, os.O_WRONLY)
    os.dup2(void, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(void)


def load_tensorflow() -> None:
    """Imports TensorFlow without its start-up lines."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with _silent_stderr():
        import tensorflow as tf

        # Several workers must be told of each other before devices are used.
        if "TF_CONFIG" not in os.environ:
            tf.config.list_logical_devices()
    for name in ("absl", "tensorflow"):
        logging.getLogger(name).setLevel(logging.ERROR)
