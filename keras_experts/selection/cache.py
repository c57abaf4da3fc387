"""Features on disk, found by what they were computed from.

Features lie below the key of a module and its preprocessing, each beside the
digest of its image: a task that was relabelled or has grown finds what it had.
A file's name is the SHA-256 of its content, so that damage is noticed.
"""

import contextlib
import hashlib
import io
import os
import shutil
import time
from pathlib import Path

import numpy as np

from keras_experts import files
from keras_experts.console import say

DIGEST_BYTES = 32
MAX_BYTES = 20 * 2**30
ENDING = ".npz"
UNFINISHED_SECONDS = 24 * 3600


class FeatureCache:
    """Features of images by the keys of modules.

    Several processes may read and write it at a time.

    Args:
        folder: where it lies; made if it is not there.
        max_bytes: int. What it may hold after `evict`.
    """

    def __init__(self, folder: str | Path, max_bytes: int = MAX_BYTES):
        self._folder = Path(folder)
        self._max_bytes = max_bytes

    def read(self, key: str, digests: np.ndarray) -> dict[int, np.ndarray]:
        """Reads what is there of some images' features.

        Args:
            key: str. Of the module and its preprocessing, hexadecimal.
            digests: uint8 array `(n, 32)`, of the images.

        Returns:
            dict of places in `digests` to float32 arrays `(channels,)`; places
            without features are not in it. A damaged file is deleted.
        """
        places: dict[bytes, list[int]] = {}
        for place, digest in enumerate(digests):
            places.setdefault(digest.tobytes(), []).append(place)
        found: dict[int, np.ndarray] = {}
        for path in sorted(self._folder_of(key).glob(f"*{ENDING}")):
            content = _read(path)
            if content is None:
                continue
            known, features = content
            wanted = False
            for digest, row in zip(known, features, strict=True):
                for place in places.get(digest.tobytes(), ()):
                    found[place] = row
                    wanted = True
            if wanted:
                _touch(path)
        return found

    def write(
        self, key: str, digests: np.ndarray, features: np.ndarray
    ) -> None:
        """Keeps the features of some images.

        Args:
            key: str. As in `read`.
            digests: uint8 array `(n, 32)`.
            features: float32 array `(n, channels)`.
        """
        buffer = io.BytesIO()
        np.savez(buffer, digests=digests, features=features)
        content = buffer.getvalue()
        name = hashlib.sha256(content).hexdigest() + ENDING
        folder = self._folder_of(key)
        # There first: what is unfinished lies in it, where `evict` looks.
        folder.mkdir(parents=True, exist_ok=True)
        with files.whole_file(folder / name) as path:
            path.write_bytes(content)

    def evict(self) -> int:
        """Deletes what was used least recently, down to the limit.

        Returns:
            int. Files that were deleted.
        """
        for path in self._folder.glob("*/*/.tmp-*/*"):  # of killed writers
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > UNFINISHED_SECONDS:
                    shutil.rmtree(path.parent, ignore_errors=True)
        entries = []
        for path in self._folder.glob(f"*/*/*{ENDING}"):
            try:
                status = path.stat()
            except FileNotFoundError:
                continue  # another process was faster
            entries.append((status.st_mtime, status.st_size, path))
        total = sum(size for _, size, _ in entries)
        evicted = 0
        for _, size, path in sorted(entries, key=lambda entry: entry[0]):
            if total <= self._max_bytes:
                break
            path.unlink(missing_ok=True)
            total -= size
            evicted += 1
        return evicted

    def _folder_of(self, key: str) -> Path:
        return self._folder / key[:2] / key


def _read(path: Path) -> tuple[np.ndarray, np.ndarray] | None:
    """Reads one file, or deletes it where it is not what it was."""
    try:
        content = path.read_bytes()
    except OSError:
        return None  # another process evicted it, or it is not ours to read
    if hashlib.sha256(content).hexdigest() != path.stem:
        say(f"A damaged file of features is left out: {path}")
        with contextlib.suppress(OSError):  # a cache that may only be read
            path.unlink()
        return None
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        return archive["digests"], archive["features"]


def _touch(path: Path) -> None:
    """Marks a file as used just now."""
    try:
        os.utime(path)
    except OSError:
        pass  # evicted, or a cache that may only be read
