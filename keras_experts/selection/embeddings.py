"""A task's images through a module."""

import functools

import numpy as np
import tensorflow as tf

from keras_experts.checks import first_line
from keras_experts.console import Bar
from keras_experts.data.batches import FILLED
from keras_experts.data.batches import evaluation_batches
from keras_experts.data.labeled_images import LabeledImages
from keras_experts.data.preprocessing import resize
from keras_experts.saved_models import handles
from keras_experts.saved_models.loading import load_module

BATCH_SIZE = 100
# Fewer pixels in all are faster without XLA: compiling an R50 takes about as
# long as it saves on so many (measured on 2 cores).
COMPILE_PIXELS = 8_000_000


def embed(
    handle: str,
    images: LabeledImages,
    bar: Bar | None = None,
    trust: bool = False,
) -> np.ndarray:
    """Computes the features of all images, in their order.

    Args:
        handle: str. Path or URL of a module.
        images: LabeledImages.
        bar: progress bar that counts images, or None.
        trust: bool. As in `load_module`.

    Returns:
        Float32 array `(num_examples, channels)`.

    Raises:
        FileNotFoundError: if there is no such module.
        PermissionError: if it must be trusted and is not.
        ValueError: if it does not load, does not take such images, or gives
            something else than finite features that differ.
    """
    module = load_module(handle, trust)
    image_size = handles.image_size(handle)
    batches = evaluation_batches(
        images,
        min(BATCH_SIZE, images.num_examples),
        functools.partial(resize, image_size=image_size),
    )
    pixels = images.num_examples * image_size**2
    forward = tf.function(module, jit_compile=pixels > COMPILE_PIXELS)
    features = []
    for batch in batches:
        try:
            outputs = forward(batch["image"])
        except (tf.errors.OpError, TypeError, ValueError) as error:
            if features:
                raise
            # Some modules hold operations that XLA does not compile.
            forward = module
            outputs = _try_module(handle, module, batch["image"], error)
        kept = _check_shape(handle, outputs, batch["image"])
        kept = kept[batch["label"].numpy() != FILLED]
        features.append(kept)
        if bar is not None:
            bar.advance(len(kept))
    return _check_values(handle, np.concatenate(features))


def _try_module(handle: str, module, images: tf.Tensor, compiling: Exception):
    try:
        return module(images)
    except Exception as error:
        raise ValueError(
            "A module must take float images (batch, height, width, 3). "
            f"Received: {handle}, which fails on {tuple(images.shape)} "
            f"({first_line(error)})."
        ) from compiling


def _check_shape(handle: str, outputs: object, images: tf.Tensor):
    shape = getattr(outputs, "shape", None)
    if shape is None or len(shape) != 2 or shape[0] != len(images):
        received = type(outputs).__name__ if shape is None else tuple(shape)
        raise ValueError(
            "A module must give features (batch, channels). "
            f"Received: {handle}, which gives {received}."
        )
    return np.asarray(outputs, np.float32)


def _check_values(handle: str, features: np.ndarray) -> np.ndarray:
    bad = np.count_nonzero(~np.isfinite(features).all(axis=1))
    if bad:
        raise ValueError(
            "A module must give finite features. Received: "
            f"{handle}, with NaN or infinity for {bad} of {len(features)} "
            "images."
        )
    if len(features) > 1 and (features == features[0]).all():
        raise ValueError(
            "A module must give features that differ between images. "
            f"Received: {handle}, the same for all {len(features)}."
        )
    return features
