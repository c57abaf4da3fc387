"""Downloading modules as tensorflow_hub does, and trusting no archive.

Cache, lock and request are tensorflow_hub's: what it has downloaded is found
here, and the other way round.
"""

import contextlib
import functools
import urllib.request
import warnings
from collections.abc import Iterator
from pathlib import Path

from keras_experts.console import progress
from keras_experts.saved_models.handles import is_saved_model
from keras_experts.saved_models.unpacking import Counted
from keras_experts.saved_models.unpacking import unpack

DIGEST_HEADER = "X-Content-SHA256"
# A host that sends nothing for so long is left; the lock would stay for ever.
TIMEOUT_SECONDS = 60


def fetch(handle: str) -> Path:
    """Downloads a module into tensorflow_hub's cache, if it is not there.

    Args:
        handle: str. URL of a module, an archive in Google's storage
            (gs://...tar.gz), or what else tensorflow_hub finds on this machine.

    Raises:
        OSError: if it cannot be downloaded.
        ValueError: if it is no archive of regular files below its own root,
            of at most 16 GiB, that is a SavedModel and what the host
            announced, or if the cache is no folder of this machine.
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
    _check_cache(resolver.tfhub_cache_dir(use_temp=True))
    return Path(
        resolver.atomic_download(
            handle,
            functools.partial(_download, opened),
            compressed._module_dir(handle),
            compressed.LOCK_FILE_TIMEOUT_SEC,
        )
    )


def _download(opened, handle: str, folder: str) -> None:
    """Unpacks a module into a folder, which is kept if nothing is raised."""
    with _told_when_stalled(handle), opened(handle) as (file, size, digest):
        with progress(f"downloading {handle}", size) as bar:
            content = Counted(file, bar)
            # As tensorflow_hub has it, and only in Google's storage.
            plain = handle.startswith("gs://") and handle.endswith(".tar")
            unpack(content, Path(folder), handle, compressed=not plain)
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
