"""Downloading modules as tensorflow_hub does, and trusting no archive.

Cache, lock and request are tensorflow_hub's: what it has downloaded is found
here, and the other way round.
"""

import hashlib
import tarfile
import urllib.request
import warnings
import zlib
from pathlib import Path
from pathlib import PurePosixPath

from keras_experts.console import Bar
from keras_experts.console import progress

MAX_FILES = 10_000
MAX_BYTES = 16 * 2**30
# Weights hardly compress, those of a new layer (zeros) do. What unpacks to so
# many times its size, beyond the first bytes, is no module.
MAX_RATIO = 200
FREE_BYTES = 64 * 2**20
CHUNK_BYTES = 2**20
DIGEST_HEADER = "X-Content-SHA256"


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


def fetch(handle: str) -> Path:
    """Downloads a module into tensorflow_hub's cache, if it is not there.

    Args:
        handle: str. URL of a module.

    Raises:
        OSError: if it cannot be downloaded.
        ValueError: if it is no archive of regular files below its own root,
            of at most 16 GiB, or not the one that the host announced.
    """
    with warnings.catch_warnings():
        # tensorflow_hub 0.16.1 imports the deprecated pkg_resources.
        warnings.simplefilter("ignore")
        import tensorflow_hub as hub
        from tensorflow_hub import compressed_module_resolver
        from tensorflow_hub import resolver

    class CheckedResolver(
        compressed_module_resolver.HttpCompressedFileResolver
    ):
        def __call__(self, handle):
            def download(handle, folder):
                request = urllib.request.Request(
                    self._append_compressed_format_query(handle)
                )
                with self._call_urlopen(request) as response:
                    length = int(response.headers.get("Content-Length", 0))
                    with progress(f"downloading {handle}", length) as bar:
                        content = Counted(response, bar)
                        unpack(content, Path(folder), handle)
                    _check_digest(content, response.headers, handle)

            return resolver.atomic_download(
                handle,
                download,
                compressed_module_resolver._module_dir(handle),
                self._lock_file_timeout_sec(),
            )

    checked = CheckedResolver()
    if checked.is_supported(handle):
        return Path(checked(handle))
    return Path(hub.resolve(handle))


def unpack(content: Counted, folder: Path, name: str) -> None:
    """Unpacks an archive of regular files below its own root.

    Args:
        content: Counted. The archive, compressed or not.
        folder: where to; must exist.
        name: str. What errors call the archive.

    Raises:
        ValueError: if it is no such archive, or too large.
    """
    total = 0
    number = 0
    try:
        with tarfile.open(fileobj=content, mode="r|*") as archive:
            for member in archive:
                number += 1
                total += member.size
                limit = FREE_BYTES + MAX_RATIO * content.num_bytes
                if number > MAX_FILES or total > min(MAX_BYTES, limit):
                    raise ValueError(
                        f"An archive must unpack to at most {MAX_FILES:,} "
                        f"files, {MAX_BYTES:,} bytes and {MAX_RATIO} times "
                        f"its size. Received: {name}, with more."
                    )
                _check_member(member, name)
                archive.extract(member, folder, filter="data")
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # of the disk or the network
        raise ValueError(
            "A module must be a whole archive (.tar.gz). "
            f"Received: {name} ({type(error).__name__}: {error})."
        ) from error
    # What stands after the archive's end belongs to its digest.
    while content.read(CHUNK_BYTES):
        pass


def _check_member(member: tarfile.TarInfo, name: str) -> None:
    path = PurePosixPath(member.name)
    inside = not path.is_absolute() and ".." not in path.parts
    if not inside or not (member.isfile() or member.isdir()):
        raise ValueError(
            "An archive must hold files and folders below its own root and "
            f"no links. Received: {name} with {member.name!r}."
        )


def _check_digest(content: Counted, headers, handle: str) -> None:
    announced = headers.get(DIGEST_HEADER)
    if announced is not None and announced != content.hexdigest():
        raise ValueError(
            "A download must have the checksum that its host announces. "
            f"Received: {handle}, {content.hexdigest()[:12]} and not "
            f"{announced[:12]}."
        )
