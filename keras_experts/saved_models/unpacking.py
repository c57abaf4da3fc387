"""Unpacking archives from outside, trusting nothing that they say.

What an archive unpacks to is counted as it comes, headers and all, before
`tarfile` keeps any of it.
"""

import gzip
import hashlib
import tarfile
import zlib
from pathlib import Path
from pathlib import PurePosixPath

from keras_experts.console import Bar

MAX_FILES = 10_000
MAX_BYTES = 16 * 2**30
# Weights hardly compress, those of a new layer (zeros) do. What unpacks to so
# many times its size, beyond the first bytes, is no module.
MAX_RATIO = 200
FREE_BYTES = 16 * 2**20
# Headers, which tarfile reads whole, and what fills up to a block.
MAX_BYTES_BETWEEN = 2**16
MAX_NAME_LENGTH = 1000
CHUNK_BYTES = 2**14
NUM_TOLD = 100  # characters of what an archive says, in an error
UNREADABLE = (
    tarfile.TarError,
    zlib.error,
    EOFError,
    OSError,
    RecursionError,  # headers of headers
)


class Counted:
    """A file to read once, that counts and digests what is read.

    Args:
        file: file object.
        bar: progress bar that counts bytes, or None.
    """

    def __init__(self, file, bar: Bar | None = None):
        self._file = file
        self._bar = bar
        self._digest = hashlib.sha256()
        self.num_bytes = 0

    def read(self, size: int = -1) -> bytes:
        content = self._file.read(size)
        self._digest.update(content)
        self.num_bytes += len(content)
        if self._bar is not None:
            self._bar.advance(len(content))
        return content

    def hexdigest(self) -> str:
        return self._digest.hexdigest()


class Bounded:
    """What an archive unpacks to, and never more of it than is allowed.

    Args:
        content: Counted. The archive.
        name: str. What errors call it.
        compressed: bool. Whether it is one of gzip's.
    """

    def __init__(self, content: Counted, name: str, compressed: bool = True):
        self._content = content
        self._name = name
        self._file = gzip.GzipFile(fileobj=content) if compressed else content
        self._num_bytes = 0
        self.expect(0)

    def expect(self, size: int) -> None:
        """Allows a file of so many bytes, and a header after it."""
        self._limit = self._num_bytes + size + MAX_BYTES_BETWEEN

    def read(self, size: int) -> bytes:
        content = self._file.read(size)
        self._num_bytes += len(content)
        ratio_limit = FREE_BYTES + MAX_RATIO * self._content.num_bytes
        if self._num_bytes > min(MAX_BYTES, ratio_limit):
            raise _too_large(self._name)
        if self._num_bytes > self._limit:
            raise ValueError(
                f"An archive must hold at most {MAX_BYTES_BETWEEN:,} bytes "
                f"between its files. Received: {self._name}, with more."
            )
        return content


def unpack(
    content: Counted, folder: Path, name: str, compressed: bool = True
) -> None:
    """Unpacks an archive of regular files below its own root.

    Args:
        content: Counted. The archive.
        folder: where to; must exist.
        name: str. What errors call the archive.
        compressed: bool. Whether it is a .tar.gz and not a .tar.

    Raises:
        OSError: of the disk or the network.
        ValueError: if it is no such archive, not whole, or too large.
    """
    try:
        bounded = Bounded(content, name, compressed)
        with tarfile.open(
            fileobj=bounded, mode="r|", bufsize=CHUNK_BYTES
        ) as archive:
            for number, member in enumerate(archive, 1):
                if number > MAX_FILES:
                    raise _too_large(name)
                _check_member(member, name)
                bounded.expect(member.size)
                archive.extract(member, folder, filter="data")
                bounded.expect(0)
        # Checksums stand at the end.
        while bounded.read(CHUNK_BYTES):
            pass
    except TimeoutError:
        raise
    except UNREADABLE as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # of the disk or the network
        raise ValueError(
            "A module must be a whole archive (.tar.gz). "
            f"Received: {name} ({type(error).__name__}: {_told(str(error))})."
        ) from error


def _too_large(name: str) -> ValueError:
    return ValueError(
        f"An archive must unpack to at most {MAX_FILES:,} files, "
        f"{MAX_BYTES:,} bytes and {MAX_RATIO} times its size. "
        f"Received: {name}, with more."
    )


def _check_member(member: tarfile.TarInfo, name: str) -> None:
    path = PurePosixPath(member.name)
    inside = not path.is_absolute() and ".." not in path.parts
    whole = member.isfile() and not member.issparse()
    if not inside or "\0" in member.name or not (whole or member.isdir()):
        raise ValueError(
            "An archive must hold whole files and folders below its own root "
            f"and no links. Received: {name} with {_told(member.name)!r}."
        )
    if len(member.name) > MAX_NAME_LENGTH:
        raise ValueError(
            "An archive must name its files in at most "
            f"{MAX_NAME_LENGTH:,} characters. "
            f"Received: {name} with {_told(member.name)!r}."
        )


def _told(text: str) -> str:
    return text if len(text) <= NUM_TOLD else f"{text[:NUM_TOLD]}..."
