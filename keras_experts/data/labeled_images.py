"""A set of images with labels, decoded only when batches are made."""

import dataclasses
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from keras_experts.data.preprocessing import mix

# Elements in the shuffle buffer: encoded images of a few kilobytes each.
SHUFFLE_BUFFER = 50_000


@dataclasses.dataclass(frozen=True)
class LabeledImages:
    """Labelled images in a fixed order.

    Attributes:
        dataset: tf.data.Dataset of dicts with `image` (a string that holds an
            encoded image, or uint8 `(height, width, 3)`), `label` (int64) and,
            in upstream sets, `node` (int64, a row of the hierarchy).
        num_examples: int.
        class_names: list of str. Name of each label.
    """

    dataset: tf.data.Dataset
    num_examples: int
    class_names: list[str]

    def training_batches(
        self,
        batch_size: int,
        preprocess: Callable,
        targets: np.ndarray,
        seed: int,
        start_step: int = 0,
        mixup: float = 0.0,
    ) -> tf.data.Dataset:
        """Gives shuffled batches for ever, the same for the same seed.

        Args:
            batch_size: int. Examples in each batch.
            preprocess: function of an image and a seed `(2,)` to a float
                image of fixed size, values in [0, 1].
            targets: float array `(labels, outputs)`. What the model should
                give for each label.
            seed: int. Of the order and of the augmentation.
            start_step: int. Batches to leave out, as if they had been read.
            mixup: float. Alpha of the beta distribution of mixup, or 0.

        Returns:
            Dataset of dicts `image` `(batch, height, width, 3)` and `target`
            `(batch, outputs)`.
        """
        buffer = min(self.num_examples, SHUFFLE_BUFFER)
        rows = tf.constant(targets, tf.float32)

        def prepare(counter, example):
            # One stateless seed an example: the same after a restart.
            image = preprocess(example["image"], tf.stack([counter, seed]))
            return {"image": image, "target": tf.gather(rows, example["label"])}

        dataset = self.dataset.shuffle(buffer, seed=seed).repeat().enumerate()
        dataset = dataset.skip(start_step * batch_size)
        dataset = dataset.map(prepare, num_parallel_calls=tf.data.AUTOTUNE)
        dataset = dataset.batch(batch_size, drop_remainder=True)
        if mixup:
            dataset = dataset.enumerate(start_step).map(
                lambda step, batch: mix(batch, mixup, tf.stack([step, seed]))
            )
        return dataset.prefetch(2)

    def evaluation_batches(
        self, batch_size: int, preprocess: Callable
    ) -> tf.data.Dataset:
        """Gives all examples once, in order, in batches of one size.

        The last batch is filled up with zero images of label -1, so that
        compiled code sees one shape and no example is dropped.
        """
        padding = -self.num_examples % batch_size

        def prepare(example):
            return {
                "image": preprocess(example["image"]),
                "label": example["label"],
            }

        dataset = self.dataset.map(prepare, num_parallel_calls=tf.data.AUTOTUNE)
        if padding:
            shape = dataset.element_spec["image"].shape
            filler = tf.data.Dataset.from_tensors(
                {"image": tf.zeros(shape), "label": np.int64(-1)}
            )
            dataset = dataset.concatenate(filler.repeat(padding))
        dataset = dataset.batch(batch_size, drop_remainder=True).prefetch(2)
        # A slice is a filter, whose length tf.data does not know.
        number = (self.num_examples + padding) // batch_size
        return dataset.apply(tf.data.experimental.assert_cardinality(number))

    def take(self, num_examples: int) -> "LabeledImages":
        """Gives the first examples."""
        number = min(num_examples, self.num_examples)
        return dataclasses.replace(
            self, dataset=self.dataset.take(number), num_examples=number
        )

    def with_nodes(self, rows: np.ndarray) -> "LabeledImages":
        """Adds `node`: the row in a hierarchy of each example's class."""
        table = tf.constant(rows, tf.int64)
        dataset = self.dataset.map(
            lambda example: {
                **example,
                "node": tf.gather(table, example["label"]),
            }
        )
        return dataclasses.replace(self, dataset=dataset)

    def labels(self) -> np.ndarray:
        """Reads all labels, int64 `(num_examples,)`, without decoding."""
        dataset = self.dataset.map(lambda example: example["label"])
        batches = list(dataset.batch(4096).as_numpy_iterator())
        return np.concatenate(batches) if batches else np.zeros(0, np.int64)


def from_arrays(
    images: np.ndarray, labels: np.ndarray, class_names: list[str]
) -> LabeledImages:
    """Makes a set of uint8 images `(n, height, width, 1 or 3)` in memory.

    Raises:
        ValueError: if shapes or the type do not fit, or a label is no class.
    """
    images, labels = np.asarray(images), np.asarray(labels)
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise ValueError(
            "`images` must have shape (n, height, width[, 1 or 3]). "
            f"Received: {images.shape}."
        )
    if images.dtype != np.uint8:
        raise ValueError(
            "`images` must be uint8, values 0 to 255. "
            f"Received: {images.dtype}."
        )
    if labels.shape != (len(images),):
        raise ValueError(
            "`images` and `labels` must have the same length. "
            f"Received: {len(images)} images, labels of {labels.shape}."
        )
    if len(labels) and not (
        np.issubdtype(labels.dtype, np.integer)
        and 0 <= labels.min()
        and labels.max() < len(class_names)
    ):
        raise ValueError(
            f"`labels` must be whole numbers in [0, {len(class_names)}). "
            f"Received: {labels.dtype} with {np.unique(labels)[:10]}."
        )
    images = np.broadcast_to(images, (*images.shape[:3], 3))
    dataset = tf.data.Dataset.from_tensor_slices(
        {"image": images, "label": labels.astype(np.int64)}
    )
    return LabeledImages(dataset, len(images), list(class_names))
