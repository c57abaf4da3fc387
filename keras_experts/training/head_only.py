"""Training a classifier's head on features that are computed once."""

import dataclasses
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from keras_experts.data.fingerprints import digests
from keras_experts.data.labeled_images import LabeledImages
from keras_experts.models.heads import HEAD_NAME
from keras_experts.training.evaluation import Predictor
from keras_experts.training.runtime import Runtime


class HeadOnly:
    """The head of a classifier whose features do not change.

    The frozen network runs once for each different image, however long the
    head is trained and however often it is evaluated.

    Args:
        features: layer of images or tokens to features `(batch, channels)`.
        classifier: keras.Model, `add_head(features, ...)`.
        strategy: tf.distribute.Strategy that they were made with.
        runtime: Runtime.
        preprocess: function of an image, or a text, to what `features` takes.

    Attributes:
        model: keras.Model of features to logits; its weights are those of the
            classifier's head.
    """

    def __init__(
        self,
        features: keras.layers.Layer,
        classifier: keras.Model,
        strategy: tf.distribute.Strategy,
        runtime: Runtime,
        preprocess: Callable,
    ):
        head = classifier.get_layer(HEAD_NAME)
        with strategy.scope():
            inputs = keras.Input((head.kernel.shape[0],))
            self.model = keras.Model(inputs, head(inputs))
        self._compute = Predictor(features, strategy, runtime, preprocess)
        self._rows: dict[bytes, np.ndarray] = {}

    def features_of(self, images: LabeledImages) -> LabeledImages:
        """Returns images with their features, `(n, channels)`, to be read.

        Raises:
            ValueError: if an image cannot be decoded.
        """
        keys = [digest.tobytes() for digest in digests(images)]
        missing = {
            key: index
            for index, key in enumerate(keys)
            if key not in self._rows
        }
        if missing:
            subset = images.subset(np.array(list(missing.values())))
            rows = self._compute(subset, "computing features")
            self._rows.update(zip(missing, rows, strict=True))
        if not keys:
            return images
        table = np.stack([self._rows[key] for key in keys])
        return dataclasses.replace(images, read=lambda places: table[places])


def keep(features: tf.Tensor, *_) -> tf.Tensor:
    """Returns features as they are: they need no preprocessing."""
    return features
