"""What tells modules from one another, for the cache."""

import contextlib
import dataclasses
import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path

from keras_experts import files
from keras_experts.mediums import IMAGES
from keras_experts.mediums import TEXTS
from keras_experts.saved_models import handles
from keras_experts.saved_models import inspection
from keras_experts.saved_models import keras_files
from keras_experts.saved_models import keras_models
from keras_experts.saved_models import references
from keras_experts.saved_models import text_modules
from keras_experts.saved_models.keras_files import check_range_of_ours
from keras_experts.saved_models.keras_models import check_network
from keras_experts.saved_models.keras_models import digest_of
from keras_experts.saved_models.keras_models import is_network
from keras_experts.selection.modules import Candidate
from keras_experts.selection.modules import Source

# Changes whenever the same module would give an image other features.
PREPROCESSING = "bilinear, float32, on white"
MAX_IMAGE_SIZE = 4096
# What a SavedModel computes follows from these; the rest is for people.
COMPUTING = ("saved_model.pb", "variables", "assets")
STATIC_IMAGES = re.compile(r"float32 \(\S+, (\d+), (\d+), 3\)")


@dataclasses.dataclass(frozen=True)
class Described:
    """What must be known of a candidate before it is loaded.

    Attributes:
        source: Source to load.
        part: str. Its part of the source, or None.
        key: str. Of its features in the cache, or None for a function that
            cannot be told from others.
    """

    source: Source
    part: str | None
    key: str | None


def describe(
    candidate: Candidate, memo: Path, medium: str = IMAGES
) -> Described:
    """Finds out what a candidate is, without loading it.

    Args:
        candidate: Candidate; downloaded if need be.
        memo: folder that keeps what reading whole modules gave.
        medium: str. What the task is of, "images" or "texts".

    Raises:
        FileNotFoundError: if there is no such module.
        ValueError: if it is no SavedModel, or does not take what the task is
            of.
    """
    if is_network(candidate.function or candidate.handle):
        return _describe_network(candidate, medium)
    if candidate.function is not None:
        size = 0
        if medium != TEXTS:
            size = _checked_size(candidate, handles.DEFAULT_IMAGE_SIZE)
        source = Source(
            *(candidate.handle, size, candidate.input_range),
            *(candidate.function, medium),
        )
        return Described(source, None, None)
    if Path(candidate.handle).suffix.lower() in keras_files.OLD_SUFFIXES:
        raise ValueError(
            "A Keras network must be a .keras file: load it and write it with "
            f"`model.save('name.keras')`. Received: {candidate.handle}."
        )
    module, part = references.split(candidate.handle)
    known = _recall(handles.resolve(module), memo)
    # All parts of a module are refused in the same words, and said once.
    text_modules.check_medium(module, known["takes"], medium)
    preprocessor = text_modules.preprocessor_for(
        candidate.handle, known["takes"]
    )
    if "backbone" in handles.read_metadata(module):
        check_range_of_ours(candidate.handle, candidate.input_range)
    if medium == TEXTS:
        return _describe_text(candidate, known, part, preprocessor, memo)
    size = _checked_size(candidate, known["image_size"])
    source = Source(module, size, candidate.input_range)
    return Described(source, part, _key(known["sha256"], source, part))


def _describe_network(candidate: Candidate, medium: str) -> Described:
    """As `describe`, of a Keras model or file."""
    module = candidate.function or candidate.handle
    own = keras_models.medium_of(module)
    if own is not None:
        text_modules.check_medium(candidate.handle, own, medium)
    if candidate.function is not None:
        check_network(candidate.function, candidate.name)
    digest = digest_of(module)
    size = 0
    if medium == IMAGES:
        size = _checked_size(candidate, handles.DEFAULT_IMAGE_SIZE)
        keras_models.check_image_size(module, size)
    source = Source(
        *(candidate.handle, size, candidate.input_range, candidate.function),
        medium=medium,
        has_custom_code=digest is None,
    )
    return Described(source, None, _key(digest, source, None))


def _describe_text(
    candidate: Candidate,
    known: dict,
    part: str | None,
    preprocessor: str | None,
    memo: Path,
) -> Described:
    """Describes a text module, whose features are its preprocessor's too.

    Args:
        candidate: Candidate.
        known: dict. Of `_recall`.
        part: str. Its part of the module, or None.
        preprocessor: str. Handle, or None where it takes strings.
        memo: as in `describe`.
    """
    module, digest = candidate.handle, known["sha256"]
    if preprocessor is not None:
        encoder, _ = references.split(candidate.handle)
        text_modules.check_fit(encoder, preprocessor)
        digest += _recall(handles.resolve(preprocessor), memo)["sha256"]
        module = f"{encoder}@{preprocessor}"
    source = Source(module, 0, candidate.input_range, medium=TEXTS)
    return Described(source, part, _key(digest, source, part))


def _checked_size(candidate: Candidate, default: int) -> int:
    size = default if candidate.image_size is None else candidate.image_size
    if not 1 <= size <= MAX_IMAGE_SIZE:
        raise ValueError(
            f"A module's images must have sides in [1, {MAX_IMAGE_SIZE}]. "
            f"Received: {size} for {candidate.handle}."
        )
    return size


def _key(fingerprint: str | None, source: Source, part: str | None):
    if fingerprint is None:
        return None
    content = (
        fingerprint,
        part,
        source.image_size,
        *source.input_range,
        PREPROCESSING,
    )
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _recall(path: Path, memo: Path) -> dict:
    """Gives a module's fingerprint and image size; reads it once."""
    name = hashlib.sha256(str(path.resolve()).encode()).hexdigest()
    place = memo / f"{name}.json"
    status = [
        # Archives set sizes and times; the rest is the disk's own.
        [
            *(str(file.relative_to(path)), info.st_size, info.st_mtime_ns),
            *(info.st_ctime_ns, info.st_ino),
        ]
        for file in _files(path, (*COMPUTING, "assets.extra"))
        for info in (file.stat(),)
    ]
    try:
        known = files.read_json(place)
        if known["status"] == status and "takes" in known:
            return known
    except (OSError, ValueError, KeyError, TypeError):
        pass  # not there, or damaged: made again
    known = {
        "status": status,
        "sha256": _of_files(path),
        "image_size": _image_size(path),
        "takes": text_modules.takes(path),
    }
    with contextlib.suppress(OSError):  # full, or a cache only to be read
        files.write_json(place, known)
    return known


def _files(path: Path, names: Iterable[str]) -> list[Path]:
    found: list[Path] = []
    for name in names:
        inner = path / name
        found += [inner] if inner.is_file() else sorted(inner.rglob("*"))
    return [file for file in found if file.is_file()]


def _of_files(path: Path) -> str:
    content = [
        [str(file.relative_to(path)), files.checksum(file)]
        for file in _files(path, COMPUTING)
    ]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _image_size(path: Path) -> int:
    """Gives the side that a module tells, or that its graph fixes."""
    metadata = handles.read_metadata(str(path))
    if "image_size" in metadata:
        return metadata["image_size"]
    told = inspection.inspect(path)
    inputs = list(told.call.get("inputs", ()))
    for signature in told.signatures.values():
        inputs += signature["inputs"].values()
    for described in inputs:
        match = STATIC_IMAGES.fullmatch(described)
        if match is not None and match[1] == match[2]:
            return int(match[1])
    return handles.DEFAULT_IMAGE_SIZE
