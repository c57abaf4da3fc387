"""One writer of a folder at a time."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from keras_experts.checks import check_utf8

LOCK_FILE = ".lock"


@contextlib.contextmanager
def locked(folder: str | Path) -> Iterator[None]:
    """Creates a folder and keeps other processes from writing to it.

    The operating system holds the lock, on the file `.lock`, and releases it
    when the process ends, however it ends. The file is deleted at the end, and
    so are folders that were created for it and hold nothing else.

    Args:
        folder: path of the folder that the block writes to.

    Raises:
        BlockingIOError: if the folder has a writer already.
        ValueError: if its path is not valid UTF-8, which TensorFlow needs.
    """
    folder = Path(folder)
    check_utf8("The path of a folder to write to", folder)
    created = [path for path in (folder, *folder.parents) if not path.exists()]
    file = _lock(folder)
    try:
        yield
    finally:
        # While it is locked: afterwards it may be the lock of another process.
        (folder / LOCK_FILE).unlink(missing_ok=True)
        file.close()
        with contextlib.suppress(OSError):  # a folder that is not empty
            for path in created:
                path.rmdir()


def _lock(folder: Path) -> TextIO:
    path = folder / LOCK_FILE
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise type(error)(
                f"Could not create the folder {folder}: {error.strerror}."
            ) from error
        try:
            file = open(path, "a")
        except FileNotFoundError:
            continue  # the last writer has just deleted the folder
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.close()
            raise BlockingIOError(
                f"Another process is writing to {folder}. Wait until it has "
                "ended, or use another folder."
            ) from error
        if _is_open_at(path, file):
            return file
        file.close()  # the last writer deleted it before it was locked here


def _is_open_at(path: Path, file: TextIO) -> bool:
    """Returns whether `path` is still the name of an open file."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False
