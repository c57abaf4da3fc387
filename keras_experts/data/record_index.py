"""Where each image of a prepared TFDS data set lies, found once.

TFDS' files are read from front to back. Shuffling well, slices of the data for
many experts and going on where a run stopped want any image at any time, so the
place of each one's bytes is looked up in one pass over each file, and kept.
"""

import dataclasses
import hashlib
import json
import os
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_experts import files
from keras_experts.console import progress
from keras_experts.data.label_rows import LabelRows

# A record of a TFRecord file: its length in 8 bytes, 4 bytes of checksum, the
# data, 4 bytes of checksum.
BEFORE, AFTER = 12, 4
VERSION = 1
# Files that a reader keeps open; large sets have more than a process may open.
MAX_OPEN = 100


@dataclasses.dataclass(frozen=True)
class RecordIndex:
    """The images of some files, and their labels.

    Attributes:
        paths: list of str. The files.
        file: int32 array `(n,)`. The file of each image.
        offset: int64 array `(n,)`. Its first byte there.
        length: int32 array `(n,)`. Its bytes.
        labels: for each label feature LabelRows, whose values are those in
            the files, or places in `texts` where these are strings.
        texts: for each text feature its different strings, sorted.
    """

    paths: list[str]
    file: np.ndarray
    offset: np.ndarray
    length: np.ndarray
    labels: dict[str, LabelRows]
    texts: dict[str, list[str]]

    def name_of(self, image: int) -> str:
        """Names an image: its file, and its first byte there."""
        return f"{self.paths[self.file[image]]} at {self.offset[image]}"


def index_files(
    paths: Sequence[str],
    image_key: str | None,
    label_keys: Sequence[str],
    parts: Sequence[tuple[int, int | None]],
) -> RecordIndex:
    """Finds the images in files, or recalls where they are.

    Args:
        paths: TFRecord files of `tf.train.Example`.
        image_key: str. The feature that is an encoded image, or None to look
            at labels only.
        label_keys: the features that are labels, numbers or texts.
        parts: of each file the examples to leave out at its beginning, and
            the number to take then (None for the rest).

    Raises:
        OSError: if a file cannot be read.
        ValueError: if a file is damaged or has no such features.
    """
    found = []
    with progress("looking up images", len(paths)) as bar:
        for path in paths:
            found.append(_index_file(path, image_key, label_keys))
            bar.advance(1)
    kept = [
        slice(skip, None if take is None else skip + take)
        for skip, take in parts
    ]
    labels, texts = {}, {}
    for key in label_keys:
        labels[key], texts[key] = _join(
            [(part[key], part[f"{key}/lengths"]) for part in found], kept
        )
    sizes = [len(f["offset"][k]) for f, k in zip(found, kept, strict=True)]

    def all_of(name: str) -> np.ndarray:
        return np.concatenate(
            [f[name][k] for f, k in zip(found, kept, strict=True)]
        )

    return RecordIndex(
        list(map(str, paths)),
        np.repeat(np.arange(len(paths), dtype=np.int32), sizes),
        all_of("offset"),
        all_of("length"),
        labels,
        {key: values for key, values in texts.items() if values is not None},
    )


class RecordReader:
    """Reads images by their number, from any thread.

    Args:
        index: RecordIndex.
    """

    def __init__(self, index: RecordIndex):
        self._index = index
        self._files: dict[int, int] = {}
        self._lock = threading.Lock()

    def __call__(self, indices: np.ndarray) -> np.ndarray:
        """Gives an object array of encoded images."""
        images = np.empty(len(indices), object)
        index = self._index
        for place, number in enumerate(indices):
            image = self._read(number)
            if len(image) < index.length[number]:
                raise OSError(
                    "A data set must not change while it is read. Received: "
                    f"{index.paths[index.file[number]]}, which got shorter."
                )
            images[place] = image
        return images

    def _read(self, number: int) -> bytes:
        length = int(self._index.length[number])
        handle, kept = self._open(int(self._index.file[number]))
        try:
            return os.pread(handle, length, int(self._index.offset[number]))
        finally:
            if not kept:
                os.close(handle)

    def _open(self, file: int) -> tuple[int, bool]:
        """Opens a file, and tells whether it stays open."""
        with self._lock:
            if file in self._files:
                return self._files[file], True
            handle = os.open(self._index.paths[file], os.O_RDONLY)
            kept = len(self._files) < MAX_OPEN
            if kept:
                self._files[file] = handle
            return handle, kept

    def __del__(self):
        for handle in self._files.values():
            os.close(handle)


def _index_file(
    path: str, image_key: str | None, label_keys: Sequence[str]
) -> dict[str, np.ndarray]:
    status = os.stat(path)
    identity = [VERSION, str(Path(path).resolve()), status.st_size]
    identity += [status.st_mtime_ns, image_key, *label_keys]
    digest = hashlib.sha256(json.dumps(identity).encode()).hexdigest()
    cached = files.cache_folder() / "index" / f"{digest[:32]}.npz"
    try:
        # Opened here: NumPy leaves a file open that is no archive.
        with (
            open(cached, "rb") as file,
            np.load(file, allow_pickle=False) as arrays,
        ):
            return dict(arrays)
    except Exception:  # not there yet, or damaged: it is made again
        arrays = _scan(path, image_key, label_keys)
    with files.whole_file(cached) as temporary:
        np.savez(temporary, **arrays)
    return arrays


def _scan(
    path: str, image_key: str | None, label_keys: Sequence[str]
) -> dict[str, np.ndarray]:
    import tensorflow as tf
    from google.protobuf.message import DecodeError

    offsets, sizes = [], []
    values = {key: [] for key in label_keys}
    lengths = {key: [] for key in label_keys}
    position = number = 0
    try:
        for record in tf.data.TFRecordDataset(path).as_numpy_iterator():
            features = tf.train.Example.FromString(record).features.feature
            if image_key is not None:
                (image,) = features[image_key].bytes_list.value
                offsets.append(position + BEFORE + record.index(image))
                sizes.append(len(image))
            else:
                offsets.append(0)
                sizes.append(0)
            for key in label_keys:
                row = _row(features, key)
                values[key] += row
                lengths[key].append(len(row))
            position += BEFORE + len(record) + AFTER
            number += 1
    except (tf.errors.OpError, DecodeError, ValueError) as error:
        raise ValueError(
            "A file of a data set must be whole, with one image and the "
            f"labels {', '.join(label_keys)} an example. Received: {path}, "
            f"example {number} ({type(error).__name__})."
        ) from error
    arrays = {
        "offset": np.array(offsets, np.int64),
        "length": np.array(sizes, np.int32),
    }
    for key in label_keys:
        arrays[key] = np.array(values[key] or np.zeros(0, np.int64))
        arrays[f"{key}/lengths"] = np.array(lengths[key], np.int32)
    return arrays


def _row(features, key: str) -> list:
    if key not in features:  # where there is no label, it is there and empty
        raise ValueError(f"There must be a feature {key}. Received: none.")
    feature = features[key]
    if feature.bytes_list.value:
        return [text.decode("utf-8") for text in feature.bytes_list.value]
    return list(feature.int64_list.value or feature.float_list.value)


def _join(
    parts: list[tuple[np.ndarray, np.ndarray]], kept: list[slice]
) -> tuple[LabelRows, list[str] | None]:
    """Joins the rows of files; texts become places in a sorted list."""
    values, lengths = [], []
    for (value, length), rows in zip(parts, kept, strict=True):
        ends = np.cumsum(length)
        inside = length[rows]
        if len(inside):
            last = ends[rows][-1]
            values.append(value[last - inside.sum() : last])
        lengths.append(inside)
    flat = np.concatenate(values) if values else np.zeros(0, np.int64)
    texts = None
    if flat.dtype.kind == "U":
        unique, flat = np.unique(flat, return_inverse=True)
        texts = unique.tolist()
    return LabelRows.of_lengths(flat, np.concatenate(lengths)), texts
