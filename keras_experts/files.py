"""Files and folders that appear complete or not at all.

Work in progress lies in a temporary folder beside its target. Each such folder
is locked by the process that made it, so that the next process can tell the
folders of killed processes from those in use.
"""

import contextlib
import fcntl
import functools
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

TEMPORARY_PREFIX = ".tmp-keras_experts-"


@contextlib.contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path that replaces `path` at the end of the block.

    The temporary file has the name of the real one. Nothing is left when the
    block raises. A symbolic link stays a link: the file it leads to is
    replaced.
    """
    path = Path(os.path.realpath(Path(path).expanduser()))
    with _folder_beside(path) as folder:
        temporary = folder / path.name
        yield temporary
        # The content reaches the disk before the name does: a power cut
        # leaves no empty file.
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)


@contextlib.contextmanager
def whole_folder(path: str | Path) -> Iterator[Path]:
    """Yields a temporary folder that becomes `path` at the end of the block.

    Raises:
        FileExistsError: if `path` is a file, or a folder that is not empty.
    """
    path = Path(os.path.realpath(Path(path).expanduser()))
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise FileExistsError(
            f"The folder must be new or empty. Received: {path}."
        )
    with _folder_beside(path) as temporary:
        yield temporary
        temporary.chmod(0o755)
        os.replace(temporary, path)


def move_contents(source: Path, target: Path, last: str) -> None:
    """Moves what is in one folder into another, over what has the same name.

    Args:
        source: folder on the same disk; it is empty afterwards.
        target: folder that exists.
        last: str. Name of the file that marks the result as finished; it is
            moved after all others.
    """
    for path in sorted(source.iterdir(), key=lambda path: path.name == last):
        replaced = target / path.name
        if replaced.is_dir():
            shutil.rmtree(replaced)
        os.replace(path, replaced)


@contextlib.contextmanager
def _folder_beside(path: Path) -> Iterator[Path]:
    """Yields a temporary folder in the parent of `path`.

    Parents that are missing are created, and deleted again on an error.
    """
    missing = [parent for parent in path.parents if not parent.exists()]
    with contextlib.ExitStack() as stack:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            folder = stack.enter_context(temporary_folder(path.parent))
        except OSError as error:
            raise type(error)(
                f"Could not write {path}: {error.strerror}."
            ) from error
        try:
            yield folder
        except BaseException:
            stack.close()
            with contextlib.suppress(OSError):  # others may use them by now
                for parent in missing:
                    parent.rmdir()
            raise


@contextlib.contextmanager
def temporary_folder(directory: str | Path | None = None) -> Iterator[Path]:
    """Yields a new folder that is deleted at the end of the block.

    The folders that killed processes left in the same directory are deleted
    as well.

    Args:
        directory: existing folder to create it in, or None for the system's
            folder of temporary files.
    """
    directory = Path(directory or tempfile.gettempdir())
    _sweep(directory.absolute())
    folder, lock = _make_locked(directory)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _make_locked(directory: Path) -> tuple[Path, int]:
    """Creates a folder and returns it with the descriptor that locks it."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=TEMPORARY_PREFIX, dir=directory))
        with contextlib.suppress(FileNotFoundError):
            lock = os.open(folder, os.O_RDONLY)
            # A sweep that came in before the lock deletes the folder.
            if _lock(lock) is not False and folder.exists():
                return folder, lock
            os.close(lock)


def _lock(descriptor: int) -> bool | None:
    """Returns whether a lock was free; None where locks are not supported."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


@functools.cache
def _sweep(directory: Path) -> None:
    """Deletes what killed processes left, once per process and directory."""
    for folder in directory.glob(f"{TEMPORARY_PREFIX}*"):
        with contextlib.suppress(OSError):  # gone by now, or of another user
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                if _lock(descriptor):
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(descriptor)


def is_stream(path: str | Path) -> bool:
    """Returns whether writing to a path leaves no file of that name.

    So it is with devices, pipes, sockets, and the descriptors of this process
    (`/dev/stdout`, `/dev/fd/3`), which may lead to a file.
    """
    path = Path(path).expanduser().absolute()
    if not path.exists() or path.is_dir():
        return False
    parent = path.parent.resolve()
    is_descriptor = parent == Path("/dev") or parent.is_relative_to("/proc")
    return is_descriptor or not path.is_file()


def check_writable(path: str | Path) -> None:
    """Raises unless a file can be written, without leaving a trace.

    Raises:
        OSError: if it is a folder, may not be written, or its parent is
            missing or may not be written.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder")
    parent = Path(os.path.realpath(path)).parent
    if not is_stream(path) and not parent.is_dir():
        raise FileNotFoundError(f"the folder {parent} does not exist")
    if path.exists() and not os.access(path, os.W_OK):
        raise PermissionError(f"{path} may not be written to")
    if not is_stream(path):
        check_folder(parent)


def check_folder(path: str | Path) -> None:
    """Raises unless files can be written below a folder, which may be new.

    Raises:
        OSError: if it is a file, or files cannot be written there.
    """
    path = Path(path).expanduser().absolute()
    parent = next(p for p in (path, *path.parents) if p.exists())
    if not parent.is_dir():
        raise NotADirectoryError(f"{parent} is no folder")
    try:
        tempfile.TemporaryFile(dir=parent).close()
    except OSError as error:
        raise type(error)(
            f"cannot write to the folder {parent} ({error.strerror})"
        ) from error


def cache_folder() -> Path:
    """Returns the folder of results that can be computed again.

    `KERAS_EXPERTS_CACHE`, or `keras_experts` in the user's cache folder.
    """
    named = os.environ.get("KERAS_EXPERTS_CACHE")
    if named:
        return Path(named).expanduser()
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(caches).expanduser() / "keras_experts"


def checksum(path: str | Path) -> str:
    """Returns the SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_text(path: str | Path, text: str) -> None:
    """Writes a text file completely or not at all.

    Devices, pipes and open descriptors are written to; they are not replaced.
    """
    path = Path(path).expanduser()
    try:
        if is_stream(path):
            with open(path, "a", encoding="utf-8") as stream:
                stream.write(text)
            return
        with whole_file(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        if error.strerror is None:
            raise
        raise type(error)(
            f"Could not write {path}: {error.strerror}."
        ) from error


def to_json(content: object) -> str:
    """Returns JSON text.

    Raises:
        ValueError: if a number is NaN or infinite, which JSON does not have.
    """
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def write_json(path: str | Path, content: object) -> None:
    """Writes JSON completely or not at all.

    Raises:
        ValueError: as in `to_json`.
    """
    write_text(path, to_json(content))


def open_text(path: str | Path, errors: str = "strict"):
    """Opens a text file for reading.

    Args:
        path: path of the file.
        errors: str. What becomes of bytes that are not UTF-8, as in `open`.

    Raises:
        FileNotFoundError: if there is no such file.
    """
    path = Path(path).expanduser()
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
        ValueError: if it is not JSON.
    """
    try:
        return json.loads(Path(path).expanduser().read_text("utf-8-sig"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(
            f"The file must be JSON. Received: {path} ({error})."
        ) from error
