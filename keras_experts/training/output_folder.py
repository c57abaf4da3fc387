"""The output folder of fine-tuning: unfinished work first, then the result."""

import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

from keras_experts.locking import LOCK_FILE
from keras_experts.locking import locked

METRICS_FILE = "metrics.json"  # marks the result as finished
UNFINISHED = ".unfinished"
RESULT = "result"


@contextlib.contextmanager
def new_output(output: Path) -> Iterator[None]:
    """Locks an output folder that holds no result yet.

    Raises:
        BlockingIOError: if another process writes to it.
        FileExistsError: if it holds a result or anything else.
    """
    if output.exists() and not output.is_dir():
        raise FileExistsError(
            f"The folder must be new or empty. Received: {output}, a file."
        )
    with locked(output):
        if (output / METRICS_FILE).exists():
            # Of a process that was killed after the result was whole.
            shutil.rmtree(output / UNFINISHED, ignore_errors=True)
            raise FileExistsError(
                "The folder must be new or empty. "
                f"Received: {output}, which holds a finished result."
            )
        is_ours = (output / UNFINISHED).exists()
        if not is_ours and any(p.name != LOCK_FILE for p in output.iterdir()):
            raise FileExistsError(
                "The folder must be new or empty. "
                f"Received: {output}, which holds other files."
            )
        yield


def unfinished_folder(output: Path, settings: dict) -> Path:
    """Returns the folder of the unfinished work with these settings."""
    content = json.dumps(settings, sort_keys=True).encode()
    return output / UNFINISHED / hashlib.sha256(content).hexdigest()[:8]


def new_result(unfinished: Path) -> Path:
    """Creates an empty folder to write the result to."""
    result = unfinished / RESULT
    shutil.rmtree(result, ignore_errors=True)  # of a process that was killed
    result.mkdir()
    return result
