"""Files that appear whole or not at all."""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Gives a temporary path that takes the place of `path` at the end.

    The temporary name has the ending of the real one. Nothing is left when
    the block raises.
    """
    path = Path(path)
    folder = _temporary_folder(path)
    temporary = folder / path.name
    try:
        yield temporary
        # On the disk before its name is: a power cut leaves no empty file.
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        path.parent.mkdir(parents=True, exist_ok=True)
        os.replace(temporary, path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def whole_folder(path: str | Path) -> Iterator[Path]:
    """Gives a temporary folder that becomes `path` at the end.

    Raises:
        FileExistsError: if the folder holds something, or is a file.
    """
    path = Path(path)
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise FileExistsError(
            f"The folder must be new or empty. Received: {path}."
        )
    temporary = _temporary_folder(path)
    try:
        yield temporary
        temporary.chmod(0o755)
        path.parent.mkdir(parents=True, exist_ok=True)
        os.replace(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _temporary_folder(path: Path) -> Path:
    """Makes a folder on the same disk, above what is yet to be made."""
    above = next(
        folder for folder in path.absolute().parents if folder.exists()
    )
    try:
        return Path(tempfile.mkdtemp(prefix=".tmp-", dir=above))
    except OSError as error:
        raise type(error)(
            f"There must be a folder to write to. Received: {path} in {above} "
            f"({error.strerror})."
        ) from error


def cache_folder() -> Path:
    """Gives the folder of what can be computed again.

    `KERAS_EXPERTS_CACHE`, or `keras_experts` in the user's cache folder.
    """
    named = os.environ.get("KERAS_EXPERTS_CACHE")
    if named:
        return Path(named)
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(caches) / "keras_experts"


def checksum(path: str | Path) -> str:
    """Gives the SHA-256 of a file, hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_text(path: str | Path, text: str) -> None:
    """Writes a text file whole or not at all."""
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, content: object) -> None:
    """Writes JSON whole or not at all."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def open_text(path: str | Path, errors: str = "strict"):
    """Opens a text file to read.

    Args:
        path: of the file.
        errors: str. As in `open`: what becomes of bytes that are no UTF-8.

    Raises:
        FileNotFoundError: if there is no such file.
    """
    try:
        # Excel starts a CSV with a byte-order mark.
        return open(path, encoding="utf-8-sig", errors=errors, newline="")
    except OSError as error:
        raise FileNotFoundError(
            f"A file to read must exist. Received: {path} ({error.strerror})."
        ) from error


def read_json(path: str | Path) -> dict:
    """Reads a JSON file.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(
            f"The file must be JSON. Received: {path} ({error})."
        ) from error
