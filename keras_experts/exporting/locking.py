"""One writer of a collection at a time."""

import fcntl
from pathlib import Path
from typing import TextIO

# Stays in the collection: it is the lock on it that tells of a writer.
LOCK_FILE = ".lock"


def lock(folder: Path) -> TextIO:
    """Locks a collection until the file is closed or the process ends."""
    file = open(folder / LOCK_FILE, "a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise BlockingIOError(
            "A collection must have one writer at a time. "
            f"Received: {folder}, which has another."
        ) from error
    return file
