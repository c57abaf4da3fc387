"""Features on disk, found by what they were computed from.

Features lie below the key of a module and its preprocessing, each beside the
digest of its image: a task that was relabelled or has grown finds what it had.
A file has the number of its images (uint32), their digests, and then their
features (float32): of other tasks only the digests are read. Its name is made
of the SHA-256 of either part, so that damage is noticed.
"""

import contextlib
import hashlib
import os
import shutil
import time
from collections.abc import Callable
from collections.abc import Collection
from pathlib import Path

import numpy as np

from keras_experts import files
from keras_experts.console import say

DIGEST_BYTES = 32
COUNT_BYTES = 4
MAX_BYTES = 20 * 2**30
ENDING = ".features"
UNFINISHED_SECONDS = 24 * 3600
# What was computed since then is lost where a selection is killed.
WRITE_SECONDS = 10.0


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
        for place, digest in enumerate(_as_bytes(digests)):
            places.setdefault(digest, []).append(place)
        found: dict[int, np.ndarray] = {}
        for path in sorted(self._folder_of(key).glob(f"*{ENDING}")):
            known = _read(path, places.keys())
            for digest, row in known.items():
                found.update(dict.fromkeys(places[digest], row))
            if known:
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
        ids = len(digests).to_bytes(COUNT_BYTES, "little") + digests.tobytes()
        rows = np.asarray(features, "<f4").tobytes()
        name = _digest(ids) + _digest(rows) + ENDING
        folder = self._folder_of(key)
        # There first: what is unfinished lies in it, where `evict` looks.
        folder.mkdir(parents=True, exist_ok=True)
        with files.whole_file(folder / name) as path:
            path.write_bytes(ids + rows)

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


class PendingWrites:
    """Features that are not on disk yet, written every ten seconds.

    Args:
        write: function of a candidate, an int array of images and their
            features.
    """

    def __init__(self, write: Callable):
        self._write = write
        self._rows: dict = {}
        self._written = time.monotonic()

    def add(self, candidate, indices: np.ndarray, rows: np.ndarray) -> None:
        """Adds features of some images."""
        self._rows.setdefault(candidate, []).append((indices, rows))
        if time.monotonic() - self._written > WRITE_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Writes all that is pending."""
        for candidate, parts in self._rows.items():
            indices, rows = zip(*parts, strict=True)
            self._write(
                candidate, np.concatenate(indices), np.concatenate(rows)
            )
        self._rows.clear()
        self._written = time.monotonic()


def _read(path: Path, wanted: Collection[bytes]) -> dict[bytes, np.ndarray]:
    """Reads what is wanted of a file, or deletes it where it is damaged."""
    try:
        with open(path, "rb") as file:
            count = file.read(COUNT_BYTES)
            number = int.from_bytes(count, "little")
            size = min(DIGEST_BYTES * number, os.fstat(file.fileno()).st_size)
            ids = file.read(size)
            is_whole = path.stem.startswith(_digest(count + ids))
            places = {}
            if is_whole:
                known = _as_bytes(np.frombuffer(ids, np.uint8))
                places = {d: i for i, d in enumerate(known) if d in wanted}
            rows = file.read() if places else b""
    except OSError:
        return {}  # another process evicted it, or it is not ours to read
    if not is_whole or (places and not path.stem.endswith(_digest(rows))):
        say(f"A damaged file of features is left out: {path}")
        with contextlib.suppress(OSError):  # a cache that may only be read
            path.unlink()
        return {}
    if not places:
        return {}
    features = np.frombuffer(rows, "<f4").reshape(number, -1)
    return {digest: features[place] for digest, place in places.items()}


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]


def _as_bytes(digests: np.ndarray) -> list[bytes]:
    """Gives digests, uint8 `(..., 32)` or flat, as one object each."""
    one = np.dtype(f"V{DIGEST_BYTES}")
    return np.ascontiguousarray(digests).view(one).ravel().tolist()


def _touch(path: Path) -> None:
    """Marks a file as used just now."""
    try:
        os.utime(path)
    except OSError:
        pass  # evicted, or a cache that may only be read
