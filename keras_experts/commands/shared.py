"""What the commands share."""

import contextlib
import json
import logging
import os
from collections.abc import Iterator

from keras_experts import files


class Misuse(Exception):
    """Flags that do not go together."""


def check_files(**paths: str | None) -> None:
    """Raises where a file to write is a folder, before any work.

    Args:
        **paths: by the flag's name, what it names; "-" is stdout.
    """
    for flag, path in paths.items():
        if path not in (None, "-") and os.path.isdir(path):
            raise Misuse(f"--{flag} must be a file. Received: {path!r}.")


def give_json(path: str | None, content: object) -> bool:
    """Writes JSON to a file, or prints it where the path is "-".

    Returns:
        Whether it was printed: then stdout holds nothing else.
    """
    if path == "-":
        print(json.dumps(content, indent=2))
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
