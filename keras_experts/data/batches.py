"""Batches as tf.data, in an order that follows from the step alone.

Which image stands where is a function of the seed and of the place: a run that
goes on at any step reads what an unbroken one would, without reading what comes
before, and so does a run on another number of replicas.
"""

import dataclasses
import hashlib
from collections.abc import Callable
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from keras_experts.data.label_rows import Targets
from keras_experts.data.labeled_images import LabeledImages
from keras_experts.data.preprocessing import mix

# With fewer rounds the orders of two epochs resemble each other (measured:
# correlations of 0.4 at TensorFlow's own 4, of chance from 16 on).
SHUFFLE_ROUNDS = 16
# The label of what fills up the last batches; -1 is an image without a class.
FILLED = -2


@dataclasses.dataclass(frozen=True)
class Stream:
    """An endless sequence of images, shuffled anew each time they are through.

    Attributes:
        images: LabeledImages.
        targets: Targets of all images.
        seed: int. Of the order and of the augmentation.
        indices: int array. The images that take part, or None for all.
    """

    images: LabeledImages
    targets: Targets
    seed: int
    indices: np.ndarray | None = None

    @property
    def num_examples(self) -> int:
        """Images that take part."""
        if self.indices is None:
            return self.images.num_examples
        return len(self.indices)


@dataclasses.dataclass(frozen=True)
class BatchPlan:
    """Which streams a step reads, and which part of it a replica.

    A step holds `group_size` groups of `batch_size` images, each of another
    stream; streams take turns, so that each one gives exactly `num_updates`
    groups. Where the last step has groups left over, they are idle.

    Attributes:
        num_streams: int.
        num_updates: int. Groups each stream gives.
        batch_size: int. Images of a group, over all replicas.
        group_size: int. Groups of a step, at most `num_streams`.
    """

    num_streams: int
    num_updates: int
    batch_size: int
    group_size: int = 1

    def __post_init__(self):
        if not 1 <= self.group_size <= self.num_streams:
            raise ValueError(
                "The experts of a step must be at least 1 and at most all "
                f"{self.num_streams}. Received: {self.group_size}."
            )

    @property
    def num_steps(self) -> int:
        """Steps until each stream has given all its groups."""
        return -(-self.num_streams * self.num_updates // self.group_size)

    def groups(self, step):
        """Tells which stream's turn each group of a step is.

        Args:
            step: int64 tensor or NumPy integer.

        Returns:
            Three arrays `(group_size,)`: the stream, which of its updates
            this is, and whether the group counts (not idle).
        """
        place = step * self.group_size + np.arange(self.group_size)
        stream, update = place % self.num_streams, place // self.num_streams
        return stream, update, update < self.num_updates


def stream_seed(seed: int, name: str) -> int:
    """Gives a seed of a name's own, in [0, 2**31)."""
    digest = hashlib.sha256(f"{seed} {name}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def training_batches(
    streams: Sequence[Stream],
    plan: BatchPlan,
    preprocess: Callable,
    first_step: int = 0,
    replicas: Sequence[int] = (0,),
    num_replicas: int = 1,
    mixup: float = 0.0,
) -> tf.data.Dataset:
    """Gives the batches of some replicas, one after the other, step by step.

    Args:
        streams: Stream, as many as the plan has.
        plan: BatchPlan.
        preprocess: function of an image and a seed `(2,)` to a float image of
            fixed size, values in [0, 1].
        first_step: int. Where to begin.
        replicas: ints. Of all replicas those to read for.
        num_replicas: int. All replicas; divides the plan's batch size.
        mixup: float. Alpha of the beta distribution of mixup within a batch
            of one replica, or 0.

    Returns:
        Dataset of dicts `image` `(group_size * batch_size / num_replicas,
        height, width, 3)`, group by group, and `target` `(..., outputs)`.
    """
    share = plan.batch_size // num_replicas
    local = len(replicas)
    sizes = tf.constant([s.num_examples for s in streams], tf.int64)
    seeds = tf.constant([s.seed for s in streams], tf.int64)
    places = tf.constant(list(replicas), tf.int64)
    read = _reader(streams)

    def locate(element):
        """Gives stream, shuffled index and seed of each image: `(batch,)`."""
        step, replica = element // local, tf.gather(places, element % local)
        stream, update, _ = plan.groups(step)
        first = update * plan.batch_size + replica * share
        position = first[:, None] + tf.range(share, dtype=tf.int64)
        position = tf.reshape(position, (-1,))
        stream = tf.repeat(stream, share)
        number, seed = tf.gather(sizes, stream), tf.gather(seeds, stream)
        epoch = position // number
        index = tf.raw_ops.RandomIndexShuffle(
            index=position % number,
            seed=tf.stack([seed, seed, epoch], axis=1),
            max_index=number - 1,
            rounds=SHUFFLE_ROUNDS,
        )
        return stream, index, tf.stack([position, seed], axis=1)

    def load(element):
        stream, index, seed = locate(element)
        image, target = read(stream, index)
        return {"image": image, "target": target, "seed": seed}

    def prepare(example):
        image = preprocess(example["image"], example["seed"])
        return {"image": image, "target": example["target"]}

    dataset = tf.data.Dataset.range(first_step * local, plan.num_steps * local)
    dataset = dataset.map(load, num_parallel_calls=tf.data.AUTOTUNE).unbatch()
    dataset = dataset.map(prepare, num_parallel_calls=tf.data.AUTOTUNE)
    size = plan.group_size * share
    dataset = dataset.batch(size, drop_remainder=True)
    if mixup:
        seed = streams[0].seed
        dataset = dataset.enumerate(first_step * local).map(
            lambda place, batch: mix(batch, mixup, tf.stack([place, seed]))
        )
    return dataset.prefetch(2 * local)


def evaluation_batches(
    images: LabeledImages,
    batch_size: int,
    preprocess: Callable,
    replicas: Sequence[int] = (0,),
    num_replicas: int = 1,
) -> tf.data.Dataset:
    """Gives all images once, in order, in batches of one size.

    What is missing in the last ones is filled up with zero images of label -2,
    so that compiled code sees one shape and no image is dropped.

    Args:
        images: LabeledImages.
        batch_size: int. Images of a batch of one replica.
        preprocess: function of an image to a float image of fixed size.
        replicas: ints. Of all replicas those to read for.
        num_replicas: int. All replicas, which take turns.

    Returns:
        Dataset of dicts `image` `(batch_size, height, width, 3)` and `label`
        int64 `(batch_size,)`: -2 for what is filled up.
    """
    rounds = -(-images.num_examples // (batch_size * num_replicas))
    local = len(replicas)
    places = tf.constant(list(replicas), tf.int64)
    number = images.num_examples
    dtype = _image_type(images)

    def load(element):
        turn, replica = element // local, tf.gather(places, element % local)
        first = (turn * num_replicas + replica) * batch_size
        index = first + tf.range(batch_size, dtype=tf.int64)
        image, label = tf.numpy_function(
            lambda i: _read_some(images, i), (index,), (dtype, tf.int64)
        )
        return {"image": _shaped(image), "label": _shaped(label, (None,))}

    def prepare(example):
        image = preprocess(example["image"])
        kept = tf.cast(example["label"] != FILLED, image.dtype)
        return {"image": image * kept, "label": example["label"]}

    dataset = tf.data.Dataset.range(rounds * local)
    dataset = dataset.map(load, num_parallel_calls=tf.data.AUTOTUNE).unbatch()
    dataset = dataset.map(prepare, num_parallel_calls=tf.data.AUTOTUNE)
    dataset = dataset.batch(batch_size, drop_remainder=True).prefetch(2 * local)
    number = tf.data.experimental.assert_cardinality(rounds * local)
    return dataset.apply(number)


def _read_some(images: LabeledImages, index: np.ndarray):
    """Reads images; those behind the last are the first, with label -2."""
    inside = index < images.num_examples
    index = np.where(inside, index, 0)
    labels = np.where(inside, images.labels[index], FILLED)
    return images.read(index), labels


def _reader(streams: Sequence[Stream]) -> Callable:
    """Makes the graph's function of streams and indices to what they hold."""
    dtype = _image_type(streams[0].images)
    num_outputs = streams[0].targets.num_outputs

    def read(stream: np.ndarray, index: np.ndarray):
        images: list[np.ndarray] = []
        targets: list[np.ndarray] = []
        # Images of one stream stand together.
        ends = np.flatnonzero(np.diff(stream)) + 1
        for part in np.split(np.arange(len(stream)), ends):
            source = streams[stream[part[0]]]
            rows = index[part]
            if source.indices is not None:
                rows = source.indices[rows].astype(np.int64)
            images.append(source.images.read(rows))
            targets.append(source.targets(rows))
        return np.concatenate(images), np.concatenate(targets)

    def graph(stream: tf.Tensor, index: tf.Tensor):
        image, target = tf.numpy_function(
            read, (stream, index), (dtype, tf.float32)
        )
        return _shaped(image), _shaped(target, (None, num_outputs))

    return graph


def _image_type(images: LabeledImages) -> tf.DType:
    """Tells whether images come encoded or as pixels, from the first."""
    sample = images.read(np.zeros(1, np.int64))
    return tf.string if sample.dtype == object else tf.uint8


def _shaped(tensor: tf.Tensor, shape: tuple | None = None) -> tf.Tensor:
    """Tells the shape that a Python function hides."""
    if shape is None:
        encoded = tensor.dtype == tf.string
        shape = (None,) if encoded else (None, None, None, 3)
    tensor.set_shape(shape)
    return tensor
