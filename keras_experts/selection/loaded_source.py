"""A loaded module: batches of images or texts to checked features."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from keras_experts.checks import first_line
from keras_experts.mediums import TEXTS
from keras_experts.saved_models import handles
from keras_experts.saved_models import keras_models
from keras_experts.saved_models.loading import load_module
from keras_experts.saved_models.loading import part_of
from keras_experts.saved_models.text_modules import TextModule
from keras_experts.selection.feature_checks import check_independence
from keras_experts.selection.modules import Source


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
            self._root = keras_models.as_function(source.function)
            return
        if keras_models.is_network(source.module):
            network = keras_models.load_network(source.module, trust)
            self._root = keras_models.as_function(network)
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
        """Returns finite float32 features of the first `number` examples.

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
