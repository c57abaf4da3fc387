"""Downloading modules as tensorflow_hub does, without trusting any archive.

Cache and request are those of tensorflow_hub: what it has downloaded is found
here, and the other way round. The lock is our own, since that of tensorflow_hub
outlives a killed process.
"""

import contextlib
import functools
import hashlib
import os
import shutil
import time
import urllib.request
import warnings
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path

from keras_experts import files
from keras_experts.console import progress
from keras_experts.console import say
from keras_experts.locking import locked
from keras_experts.saved_models.handles import is_saved_model
from keras_experts.saved_models.unpacking import Counted
from keras_experts.saved_models.unpacking import unpack

DIGEST_HEADER = "X-Content-SHA256"
# A host that sends nothing for so long is left; the lock would stay for ever.
TIMEOUT_SECONDS = 60
# Beside the folder of a module in the cache: the sizes of its files, and a
# folder that is locked during the download.
SIZES_SUFFIX, LOCK_SUFFIX = ".files.json", ".downloading"
SECONDS_BETWEEN_LOOKS = 0.2  # while another process downloads a module


def fetch(handle: str) -> Path:
    """Downloads a module into tensorflow_hub's cache, if it is not there.

    A module whose files are incomplete in the cache is downloaded again.

    Args:
        handle: str. URL of a module, an archive in Google's storage
            (gs://...tar.gz), or anything else that tensorflow_hub finds on
            this machine.

    Raises:
        OSError: if it cannot be downloaded.
        ValueError: if it is not an archive of regular files below its own
            root, of at most 16 GiB, that is a SavedModel and what the host
            announced, or if the cache is not a folder of this machine.
    """
    with warnings.catch_warnings():
        # tensorflow_hub 0.16.1 imports the deprecated pkg_resources.
        warnings.simplefilter("ignore")
        import tensorflow_hub as hub
        from tensorflow_hub import compressed_module_resolver as compressed
        from tensorflow_hub import resolver

    http = compressed.HttpCompressedFileResolver()
    if http.is_supported(handle):
        opened = functools.partial(_open_url, http)
    elif compressed.GcsCompressedFileResolver().is_supported(handle):
        opened = _open_in_bucket
    else:
        return _check_folder(hub.resolve(handle), handle)
    cache = resolver.tfhub_cache_dir(use_temp=True)
    _check_cache(cache)
    name = hashlib.sha1(handle.encode()).hexdigest()  # as tensorflow_hub does
    folder = Path(cache).expanduser() / name
    if not _is_complete(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _only_downloader(folder.with_suffix(LOCK_SUFFIX), handle):
            if not _is_complete(folder):  # another process has waited too
                _replace(folder, functools.partial(_download, opened, handle))
    return folder


@contextlib.contextmanager
def _only_downloader(lock: Path, handle: str) -> Iterator[None]:
    """Waits until no other process downloads a module."""
    has_waited = False
    with contextlib.ExitStack() as stack:
        while True:
            try:
                stack.enter_context(locked(lock))
                break
            except BlockingIOError:
                if not has_waited:
                    say(f"Waiting for another process to download {handle}.")
                has_waited = True
                time.sleep(SECONDS_BETWEEN_LOOKS)
        # Killed processes leave it.
        stack.callback(shutil.rmtree, lock, ignore_errors=True)
        yield


def _replace(folder: Path, download: Callable[[Path], None]) -> None:
    """Downloads a module to a temporary folder, which then takes its place."""
    if folder.exists():
        say(f"The module in {folder} is incomplete and is downloaded again.")
    with files.temporary_folder(folder.parent) as temporary:
        new = temporary / "new"
        new.mkdir()
        download(new)
        sizes = {
            path.relative_to(new).as_posix(): path.stat().st_size
            for path in new.rglob("*")
            if path.is_file()
        }
        files.write_json(folder.with_suffix(SIZES_SUFFIX), sizes)
        if folder.exists():
            os.replace(folder, temporary / "old")
        os.replace(new, folder)


def _is_complete(folder: Path) -> bool:
    """Returns whether a module in the cache has all of its files."""
    listing = folder.with_suffix(SIZES_SUFFIX)
    if not listing.exists():  # tensorflow_hub has downloaded it, or nobody
        return is_saved_model(folder) and _has_variables(folder / "variables")
    try:
        return all(
            (folder / name).stat().st_size == size
            for name, size in files.read_json(listing).items()
        )
    except (OSError, ValueError):
        return False


def _has_variables(folder: Path) -> bool:
    """Returns whether a folder has all files of a checkpoint, if it exists."""
    shards = [path.name for path in folder.glob("variables.data-*-of-*")]
    total = int(shards[0].rpartition("-")[2]) if shards else 0
    has_index = (folder / "variables.index").exists()
    return not folder.exists() or (has_index and len(shards) == total > 0)


def _download(opened, handle: str, folder: Path) -> None:
    """Unpacks a module into a folder, which is kept if nothing is raised."""
    with _told_when_stalled(handle), opened(handle) as (file, size, digest):
        with progress(f"downloading {handle}", size) as bar:
            content = Counted(file, bar)
            # As tensorflow_hub has it, and only in Google's storage.
            plain = handle.startswith("gs://") and handle.endswith(".tar")
            unpack(content, folder, handle, compressed=not plain)
    if digest is not None and digest != content.hexdigest():
        raise ValueError(
            "A download must have the checksum that its host announces. "
            f"Received: {handle}, {content.hexdigest()[:12]} and not "
            f"{digest[:12]}."
        )
    if not is_saved_model(folder):
        raise ValueError(
            "An archive must hold a module, with saved_model.pb at its root. "
            f"Received: {handle}, without one."
        )


@contextlib.contextmanager
def _open_url(http, handle: str) -> Iterator[tuple]:
    """Opens a URL: file, bytes (0: not told) and SHA-256 or None."""
    request = urllib.request.Request(
        http._append_compressed_format_query(handle)
    )
    with urllib.request.urlopen(
        request, timeout=TIMEOUT_SECONDS, context=http._context
    ) as response:
        yield (
            response,
            response.length or 0,
            response.headers.get(DIGEST_HEADER),
        )


@contextlib.contextmanager
def _open_in_bucket(handle: str) -> Iterator[tuple]:
    """Opens an archive in Google's storage, as `_open_url` does."""
    import tensorflow as tf

    with tf.io.gfile.GFile(handle, "rb") as file:
        yield file, file.size(), None


@contextlib.contextmanager
def _told_when_stalled(handle: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if not isinstance(getattr(error, "reason", error), TimeoutError):
            raise
        raise TimeoutError(
            f"A host must send something within {TIMEOUT_SECONDS} seconds. "
            f"Received: nothing more of {handle}."
        ) from error


def _check_cache(folder: str) -> None:
    if "://" in folder:
        raise ValueError(
            "The cache (TFHUB_CACHE_DIR) must be a folder of this machine. "
            f"Received: {folder}."
        )


def _check_folder(folder: str, handle: str) -> Path:
    if "://" in folder:
        raise ValueError(
            "A module must be an archive (.tar.gz) or a folder of this "
            f"machine. Received: {handle}, which leads to {folder}."
        )
    return Path(folder)
