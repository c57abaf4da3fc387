"""Images and texts through modules."""

import functools
import os
from collections import OrderedDict
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_experts.checks import first_line
from keras_experts.data.batches import evaluation_batches
from keras_experts.data.batches import first_damaged
from keras_experts.data.batches import untuned
from keras_experts.data.labeled_images import LabeledImages
from keras_experts.data.preprocessing import resize
from keras_experts.mediums import TEXTS
from keras_experts.saved_models import handles
from keras_experts.saved_models import keras_models
from keras_experts.saved_models.loading import load_module
from keras_experts.saved_models.loading import part_of
from keras_experts.saved_models.text_modules import TextModule
from keras_experts.selection.feature_checks import check_independence
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

    def _load(self, source: Source) -> "LoadedSource":
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


class LoadedSource:
    """A loaded source: batches of images and a part to features."""

    def __init__(self, source: Source, trust: bool):
        self.compiles = False
        self._source = source
        self._trust = trust
        self._calls: dict[str | None, _Call] = {}
        self._experts: dict[str, int] = {}
        self._checked: set[str | None] = set()
        self._is_ours = False
        if source.function is not None:
            self._root = keras_models.on_floats(source.function)
            return
        if keras_models.is_network(source.module):
            network = keras_models.load_network(source.module, trust)
            self._root = keras_models.on_floats(network)
            return
        metadata = handles.read_metadata(source.module)
        self._is_ours = "backbone" in metadata
        if source.medium == TEXTS:
            self._root = TextModule(source.module, trust)
            return
        self._root = load_module(source.module, trust, is_callable=False)
        if metadata.get("kind") == handles.BANK:
            names = [row["name"] for row in metadata["experts"]]
            order = enumerate([handles.BASELINE, *names], start=-1)
            self._experts = {name: index for index, name in order}
            # The index is an argument: all experts are compiled once.
            self._bank = _Call(lambda x, e: self._root(x, expert=e))

    def __call__(
        self, images: np.ndarray, part: str | None, number: int
    ) -> np.ndarray:
        """Gives finite float32 features `(number, channels)` of the first.

        Raises:
            ValueError: if there is no such part, it does not take such images,
                or gives something else.
        """
        name = self._source.name_of(part)
        try:
            outputs = self._call(tf.constant(images), part)
        except _Refused as refused:
            if self._source.medium == TEXTS:
                raise ValueError(
                    "A text module must give features of texts. "
                    f"Received: {name} ({first_line(refused.reason)})."
                ) from refused.reason
            raise ValueError(
                "A module must take float images (batch, height, width, 3). "
                f"Received: {name}, which fails on {images.shape} "
                f"({first_line(refused.reason)})."
            ) from refused.reason
        return _checked(name, outputs, len(images), number)

    def check_independence(
        self, batch: np.ndarray, part: str | None, rows: np.ndarray
    ) -> None:
        """Raises if a part's features depend on their batch; checks it once.

        Modules of ours are known not to.
        """
        if not self._is_ours and part not in self._checked:
            self._checked.add(part)
            check_independence(
                lambda examples, number: self(examples, part, number),
                batch,
                rows,
                self._source.name_of(part),
            )

    def _call(self, images: tf.Tensor, part: str | None):
        if part in self._experts:
            index = tf.constant(self._experts[part])
            return self._bank(self.compiles, images, index)
        if part not in self._calls:
            can_compile = self._source.medium != TEXTS
            self._calls[part] = _Call(self._part(part), can_compile)
        return self._calls[part](self.compiles, images)

    def _part(self, part: str | None) -> Callable:
        is_text = self._source.medium == TEXTS
        is_network = keras_models.is_network(self._source.module)
        if self._source.function is not None or is_network:
            return self._root
        if is_text and part is None:
            return self._root
        return part_of(self._root, self._source.name_of(part))


class _Refused(Exception):
    """A module failed on a batch."""

    def __init__(self, reason: Exception):
        super().__init__(str(reason))
        self.reason = reason


class _Call:
    """A function, compiled with XLA where that pays and it can be.

    Args:
        function: function of tensors.
        can_compile: bool. Whether XLA may be tried. It must not be for
            functions of strings: XLA ends the process on some of them.
    """

    def __init__(self, function: Callable, can_compile: bool = True):
        self._function = function
        self._compiled = (
            tf.function(function, jit_compile=True) if can_compile else None
        )
        self._traced = tf.function(function)
        self._broken: set[Callable] = set()

    def __call__(self, compiles: bool, *arguments):
        # Some modules hold operations that XLA does not compile, and some
        # functions are not made for tracing.
        ways = [self._compiled] if compiles else []
        for way in (*ways, self._traced):
            if way is not None and way not in self._broken:
                try:
                    return way(*arguments)
                except Exception:
                    self._broken.add(way)
        try:
            return self._function(*arguments)
        except Exception as error:
            raise _Refused(error) from error


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


def _checked(
    name: str, outputs: object, batch_size: int, number: int
) -> np.ndarray:
    shape = getattr(outputs, "shape", None)
    if shape is None or len(shape) != 2 or shape[0] != batch_size:
        received = type(outputs).__name__ if shape is None else tuple(shape)
        raise ValueError(
            "A module must give features (batch, channels). "
            f"Received: {name}, which gives {received}."
        )
    try:
        features = np.asarray(outputs, np.float32)[:number]
    except Exception as error:
        raise ValueError(
            "A module must give features that are numbers. Received: "
            f"{name}, which gives {type(outputs).__name__}."
        ) from error
    bad = np.count_nonzero(~np.isfinite(features).all(axis=1))
    if bad:
        raise ValueError(
            "A module must give finite features. Received: "
            f"{name}, with NaN or infinity for {bad} of {number} examples."
        )
    return features
