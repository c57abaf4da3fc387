"""Images and texts through modules."""

import functools
import os
from collections import OrderedDict
from collections.abc import Iterator
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_experts.data.batches import evaluation_batches
from keras_experts.data.batches import first_damaged
from keras_experts.data.batches import untuned
from keras_experts.data.labeled_images import LabeledImages
from keras_experts.data.preprocessing import resize
from keras_experts.mediums import TEXTS
from keras_experts.saved_models import handles
from keras_experts.saved_models import keras_models
from keras_experts.selection.loaded_source import LoadedSource
from keras_experts.selection.modules import UNIT_RANGE
from keras_experts.selection.modules import Source

# Images of a batch, and its pixels: what a network makes of 16 images of 224
# pixels is read again while it is near (5 % faster than 50, on 2 cores).
BATCH_SIZES, BATCH_PIXELS = (8, 50), 16 * 224**2
TEXT_BATCH = 32
# Fewer pixels in all are faster without XLA: compiling an R50 takes about as
# long as it saves on so many (measured on 2 cores).
COMPILE_PIXELS = 8_000_000
# Scaled images that are kept for the next module.
KEPT_IMAGE_BYTES = 2**30
# Loaded modules that are kept, for when they are asked again, and what one
# takes beside its variables (78 MiB of an R26).
KEPT_MODULE_BYTES, GRAPH_BYTES = 2**31, 80 * 2**20

# Indices of images `(b,)`, a part, and its features `(b, channels)` or what is
# wrong with it.
FeatureBatch = tuple[np.ndarray, str | None, np.ndarray | ValueError]


class Embedder:
    """Runs images, or texts, through modules.

    Args:
        images: LabeledImages.
        trust: bool. As in `load_module`.

    Attributes:
        medium: str. What the examples are.
    """

    def __init__(self, images: LabeledImages, trust: bool = False):
        self.medium = images.medium
        self._images = images
        self._trust = trust
        self._loaded: OrderedDict[Source, LoadedSource] = OrderedDict()
        self._scaled_size = 0

    def features(
        self,
        source: Source,
        parts: Sequence[str | None],
        indices: np.ndarray,
    ) -> Iterator[FeatureBatch]:
        """Computes features of some images through some parts of a source.

        Args:
            source: Source.
            parts: of the source; None for the whole.
            indices: int array `(n,)` of images, each once.

        Yields:
            Of each batch and part the indices, the part and float32 features
            `(b, channels)`; or once, in their place, the error of a part.

        Raises:
            FileNotFoundError: if there is no such module.
            PermissionError: if it must be trusted and is not.
            ValueError: if it does not load.
        """
        forward = self._load(source)
        pixels = len(indices) * len(parts) * source.image_size**2
        forward.compiles = pixels > COMPILE_PIXELS
        left = list(parts)
        for chosen, batch in self._batches(source, np.asarray(indices)):
            for part in list(left):
                try:
                    rows = forward(batch, part, len(chosen))
                    forward.check_independence(batch, part, rows)
                except ValueError as error:
                    left.remove(part)
                    yield chosen, part, error
                else:
                    yield chosen, part, rows

    def _load(self, source: Source) -> LoadedSource:
        if source in self._loaded:
            self._loaded.move_to_end(source)
            return self._loaded[source]
        size = _num_bytes(source)
        while self._loaded and (
            size + sum(map(_num_bytes, self._loaded)) > KEPT_MODULE_BYTES
        ):
            self._loaded.popitem(last=False)
        self._loaded[source] = LoadedSource(source, self._trust)
        return self._loaded[source]

    def _batches(
        self, source: Source, indices: np.ndarray
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Gives indices, and scaled images in the source's range, or texts.

        Compiled code sees one shape: the last batch is filled with zeros.
        """
        if source.medium == TEXTS:
            yield from _text_batches(self._images, indices)
            return
        batch_size = min(batch_size_for(source.image_size), len(indices))
        low, high = source.input_range
        scaled = self._scaled_batches(source.image_size, indices, batch_size)
        for place, batch in enumerate(scaled):
            if source.input_range != UNIT_RANGE:
                batch = batch * np.float32(high - low) + np.float32(low)
            start = place * batch_size
            yield indices[start : start + batch_size], batch

    def _scaled_batches(self, size: int, indices: np.ndarray, batch_size: int):
        number = self._images.num_examples
        if number * size**2 * 12 > KEPT_IMAGE_BYTES:
            yield from _scale(self._images.subset(indices), size, batch_size)
            return
        if size != self._scaled_size:
            # One size at a time: pools rarely mix them.
            self._scaled = np.empty((number, size, size, 3), np.float32)
            self._is_scaled = np.zeros(number, bool)
            self._scaled_size = size
        new = indices[~self._is_scaled[indices]]
        if len(new):
            batches = _scale(self._images.subset(new), size, batch_size)
            for place, batch in enumerate(batches):
                rows = new[place * batch_size : (place + 1) * batch_size]
                self._scaled[rows] = batch[: len(rows)]
            self._is_scaled[new] = True
        for start in range(0, len(indices), batch_size):
            rows = self._scaled[indices[start : start + batch_size]]
            batch = np.zeros((batch_size, *rows.shape[1:]), np.float32)
            batch[: len(rows)] = rows
            yield batch


def _text_batches(
    images: LabeledImages, indices: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Gives indices and texts, of one number: empty ones fill the last."""
    batch_size = min(TEXT_BATCH, len(indices))
    for start in range(0, len(indices), batch_size):
        chosen = indices[start : start + batch_size]
        batch = np.full(batch_size, b"", object)
        batch[: len(chosen)] = images.read(chosen)
        yield chosen, batch


def batch_size_for(image_size: int) -> int:
    """Gives how many images of `image_size` pixels square go together."""
    least, most = BATCH_SIZES
    return min(max(BATCH_PIXELS // image_size**2, least), most)


def _num_bytes(source: Source) -> int:
    if source.function is not None:  # its variables are not ours to free
        return GRAPH_BYTES
    if keras_models.is_network(source.module):
        return os.path.getsize(source.module) + GRAPH_BYTES
    folder = Path(handles.resolve(source.module)) / "variables"
    variables = sum(path.stat().st_size for path in folder.glob("*"))
    return variables + GRAPH_BYTES


def _scale(
    images: LabeledImages, size: int, batch_size: int
) -> Iterator[np.ndarray]:
    """Decodes and scales images: batches of float32 in [0, 1].

    Raises:
        ValueError: if an image cannot be decoded.
    """
    batch_size = min(batch_size, images.num_examples)
    batches = evaluation_batches(
        images, batch_size, functools.partial(resize, image_size=size)
    )
    number = 0
    try:
        for batch in untuned(batches):
            yield batch["image"].numpy()
            number += batch_size
    except tf.errors.ResourceExhaustedError as error:
        raise ValueError(
            "Images of a module must fit into memory. "
            f"Received: {batch_size} of {size} pixels."
        ) from error
    except tf.errors.InvalidArgumentError as error:
        damaged = first_damaged(images, number)
        if damaged is None:
            raise
        raise ValueError(
            "Images of a task must be whole. "
            f"Received: {damaged}, which cannot be decoded."
        ) from error
