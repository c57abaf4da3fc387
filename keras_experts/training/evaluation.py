"""What a network gives for all images of a set."""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from keras_experts.console import progress
from keras_experts.data.batches import FILLED
from keras_experts.data.batches import evaluation_batches
from keras_experts.data.batches import first_damaged
from keras_experts.data.label_rows import Targets
from keras_experts.data.labeled_images import LabeledImages
from keras_experts.training import distribution
from keras_experts.training.runtime import Runtime

BATCH_SIZE = 64  # of a replica
SCORED_ROWS = 1024


class Predictor:
    """Runs a network over sets of images; no image is left out.

    Args:
        model: keras.Model from what `preprocess` gives; made in the
            strategy's scope.
        strategy: tf.distribute.Strategy.
        runtime: Runtime.
        preprocess: function of an image, or a text, to what the model takes.
        reduce: function of the model's outputs `(batch, outputs)` to what is
            kept of them, `(batch, ...)`; all of them without it.
    """

    def __init__(
        self,
        model: keras.Model,
        strategy: tf.distribute.Strategy,
        runtime: Runtime,
        preprocess: Callable,
        reduce: Callable | None = None,
    ):
        self._strategy = strategy
        self._preprocess = preprocess

        def forward(images: tf.Tensor) -> tf.Tensor:
            outputs = model(images, training=False)
            return outputs if reduce is None else reduce(outputs)

        compiled = tf.function(forward, jit_compile=runtime.compile_replicas)

        def replica_forward(batch):
            # Not `compiled` itself: strategy.run would compile all replicas
            # as one program, which has but one device.
            return compiled(batch["image"]), batch["label"]

        @tf.function
        def gather(batch):
            outputs, labels = strategy.run(replica_forward, (batch,))
            return (
                strategy.gather(outputs, axis=0),
                strategy.gather(labels, axis=0),
            )

        self._gather = gather

    def __call__(
        self, images: LabeledImages, title: str = "evaluation"
    ) -> np.ndarray:
        """Gives the network's outputs for all images, in their order.

        Raises:
            ValueError: if an image cannot be decoded; it is named.
        """

        def batches(replicas, number) -> tf.data.Dataset:
            return evaluation_batches(
                images,
                BATCH_SIZE,
                self._preprocess,
                replicas,
                number,
            )

        found: list[np.ndarray] = []
        try:
            with (
                distribution.workers_stay(self._strategy),
                progress(title, images.num_examples) as bar,
            ):
                for batch in distribution.distribute(self._strategy, batches):
                    outputs, labels = self._gather(batch)
                    kept = labels.numpy() != FILLED
                    found.append(outputs.numpy()[kept])
                    bar.advance(int(kept.sum()))
        except tf.errors.InvalidArgumentError as error:
            damaged = first_damaged(images, sum(map(len, found)))
            if damaged is None:
                raise
            raise ValueError(
                "Images to evaluate on must be whole; what was trained is "
                f"saved. Received: {damaged}, which cannot be decoded."
            ) from error
        return np.concatenate(found)


def largest_of_first(num_classes: int) -> Callable:
    """Makes the function of logits to the class with the largest one.

    Args:
        num_classes: int. The first outputs, which are classes; ancestors
            among the outputs do not compete.
    """
    return lambda logits: tf.argmax(logits[:, :num_classes], axis=-1)


def hits(predicted: np.ndarray, targets: Targets) -> np.ndarray:
    """Tells whether each predicted class is one of the image's own.

    Args:
        predicted: int array `(n,)`, class labels.
        targets: Targets of the classes.

    Returns:
        Bool array `(n,)`.
    """
    right = np.zeros(len(predicted), bool)
    for first in range(0, len(predicted), SCORED_ROWS):
        rows = np.arange(first, len(predicted))[:SCORED_ROWS]
        right[rows] = targets(rows)[np.arange(len(rows)), predicted[rows]] > 0
    return right
