"""Batches as tf.data, in an order that follows from the step alone.

Which image stands where is a function of the seed and of the place: a run that
goes on at any step reads what an unbroken one would, without reading what comes
before, and so does a run on another number of replicas.
"""

from collections.abc import Callable
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from keras_experts.data.labeled_images import LabeledImages
from keras_experts.data.preprocessing import decode
from keras_experts.data.preprocessing import mix
from keras_experts.data.streams import BatchPlan
from keras_experts.data.streams import Stream
from keras_experts.mediums import TEXTS

# With fewer rounds the orders of two epochs resemble each other (measured:
# correlations of 0.4 at TensorFlow's own 4, of chance from 16 on).
SHUFFLE_ROUNDS = 16
# The label of what fills up the last batches; -1 is an image without a class.
FILLED = -2


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
        mixup: float. Alpha of the beta distribution of mixup within a group
            of one replica, or 0.

    Returns:
        Dataset of dicts `image` `(group_size * batch_size / num_replicas,
        height, width, 3)`, group by group, and `target` `(..., outputs)`.
    """
    local = len(replicas)
    read = _reader(streams)
    locate = _locator(streams, plan, replicas, num_replicas)

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
    size = plan.group_size * (plan.batch_size // num_replicas)
    dataset = dataset.batch(size, drop_remainder=True)
    if mixup:
        blend = _mixer(streams, plan, replicas, num_replicas, mixup)
        dataset = dataset.enumerate(first_step * local).map(blend)
    return dataset.prefetch(2 * local)


def evaluation_batches(
    images: LabeledImages,
    batch_size: int,
    preprocess: Callable,
    replicas: Sequence[int] = (0,),
    num_replicas: int = 1,
) -> tf.data.Dataset:
    """Gives all images once, in order, in batches of one size.

    The last ones are filled up with zero images, or empty texts, of label -2,
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
    spec = _spec(images)

    def load(element):
        turn, replica = element // local, tf.gather(places, element % local)
        first = (turn * num_replicas + replica) * batch_size
        index = first + tf.range(batch_size, dtype=tf.int64)
        image, label = tf.numpy_function(
            lambda i: _read_some(images, i), (index,), (spec.dtype, tf.int64)
        )
        image, label = _shaped(image, spec.shape), _shaped(label, (None,))
        return {"image": image, "label": label}

    def prepare(example):
        image, kept = preprocess(example["image"]), example["label"] != FILLED
        if image.dtype == tf.string:
            image = tf.where(kept, image, "")
        else:
            image *= tf.cast(kept, image.dtype)
        return {"image": image, "label": example["label"]}

    dataset = tf.data.Dataset.range(rounds * local)
    dataset = dataset.map(load, num_parallel_calls=tf.data.AUTOTUNE).unbatch()
    dataset = dataset.map(prepare, num_parallel_calls=tf.data.AUTOTUNE)
    dataset = dataset.batch(batch_size, drop_remainder=True).prefetch(2 * local)
    number = tf.data.experimental.assert_cardinality(rounds * local)
    return dataset.apply(number)


def untuned(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Gives the same data set, whose iterators end when they are let go.

    Others wait for their tuner then, which sleeps for up to a minute.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


def find_damaged(
    streams: Sequence[Stream],
    plan: BatchPlan,
    steps: range,
    replicas: Sequence[int] = (0,),
    num_replicas: int = 1,
) -> list[int]:
    """Finds the images of some steps that cannot be decoded.

    Args:
        streams: Stream, as in `training_batches`; so are the others.
        plan: BatchPlan.
        steps: range of the steps to look at.
        replicas: ints.
        num_replicas: int.

    Returns:
        The indices of the damaged images, rising.
    """
    if streams[0].images.medium == TEXTS:
        return []  # read whole, before
    locate = _locator(streams, plan, replicas, num_replicas)
    local = len(replicas)
    found: set[int] = set()
    for element in range(steps.start * local, steps.stop * local):
        stream, index, _ = locate(tf.constant(element, tf.int64))
        for number, place in zip(stream.numpy(), index.numpy(), strict=True):
            (row,) = streams[number].rows(place[None])
            (image,) = streams[number].images.read(np.array([row]))
            if not _decodes(image):
                found.add(int(row))
    return sorted(found)


def first_damaged(images: LabeledImages, start: int) -> str | None:
    """Names the first image from a place on that cannot be decoded."""
    for index in range(start, images.num_examples):
        if images.medium == TEXTS:
            break
        if not _decodes(images.read(np.array([index]))[0]):
            return images.name(index)
    return None


def _decodes(image: bytes | np.ndarray) -> bool:
    try:
        decode(tf.constant(image))
    except tf.errors.InvalidArgumentError:
        return False
    return True


def _locator(
    streams: Sequence[Stream],
    plan: BatchPlan,
    replicas: Sequence[int],
    num_replicas: int,
) -> Callable:
    """Makes the function of a dataset's element to what stands in it.

    It gives the stream, the shuffled place therein and the seed of each image:
    `(batch,)`, `(batch,)`, `(batch, 2)`.
    """
    share = plan.batch_size // num_replicas
    sizes = tf.constant([s.num_examples for s in streams], tf.int64)
    seeds = tf.constant([s.seed for s in streams], tf.int64)
    turns = _turns(plan, replicas)

    def locate(element):
        replica, stream, update = turns(element)
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

    return locate


def _mixer(
    streams: Sequence[Stream],
    plan: BatchPlan,
    replicas: Sequence[int],
    num_replicas: int,
    alpha: float,
) -> Callable:
    """Makes the function of a dataset's element and batch to the mixed batch.

    An image is mixed with others of its stream only.
    """
    share = plan.batch_size // num_replicas
    seeds = tf.constant([s.seed for s in streams], tf.int64)
    turns = _turns(plan, replicas)

    def blend(element, batch):
        replica, stream, update = turns(element)
        place = update * num_replicas + replica
        seed = tf.stack([place, tf.gather(seeds, stream)], axis=1)
        groups = []
        for group in range(plan.group_size):
            rows = slice(group * share, (group + 1) * share)
            part = {key: value[rows] for key, value in batch.items()}
            groups.append(mix(part, alpha, seed[group]))
        return {key: tf.concat([g[key] for g in groups], 0) for key in batch}

    return blend


def _turns(plan: BatchPlan, replicas: Sequence[int]) -> Callable:
    """Makes the function of a dataset's element to whose turn it is.

    It gives the replica, and the stream and the update of each of its groups:
    `()`, `(group_size,)`, `(group_size,)`.
    """
    places = tf.constant(list(replicas), tf.int64)

    def turns(element):
        stream, update, _ = plan.groups(element // len(replicas))
        return tf.gather(places, element % len(replicas)), stream, update

    return turns


def _read_some(images: LabeledImages, index: np.ndarray):
    """Reads images; those behind the last are the first, with label -2."""
    inside = index < images.num_examples
    index = np.where(inside, index, 0)
    labels = np.where(inside, images.labels[index], FILLED)
    return images.read(index), labels


def _reader(streams: Sequence[Stream]) -> Callable:
    """Makes the graph's function of streams and indices to what they hold."""
    spec = _spec(streams[0].images)
    num_outputs = streams[0].targets.num_outputs

    def read(stream: np.ndarray, index: np.ndarray):
        images: list[np.ndarray] = []
        targets: list[np.ndarray] = []
        # Images of one stream stand together.
        ends = np.flatnonzero(np.diff(stream)) + 1
        for part in np.split(np.arange(len(stream)), ends):
            source = streams[stream[part[0]]]
            rows = source.rows(index[part])
            images.append(source.images.read(rows))
            targets.append(source.targets(rows))
        return np.concatenate(images), np.concatenate(targets)

    def graph(stream: tf.Tensor, index: tf.Tensor):
        image, target = tf.numpy_function(
            read, (stream, index), (spec.dtype, tf.float32)
        )
        image = _shaped(image, spec.shape)
        return image, _shaped(target, (None, num_outputs))

    return graph


def _spec(images: LabeledImages) -> tf.TensorSpec:
    """Returns what batches of images are, as the first one shows.

    They are encoded, or pixels, or features `(batch, channels)`.
    """
    sample = images.read(np.zeros(1, np.int64))
    if sample.dtype == object:
        return tf.TensorSpec((None,), tf.string)
    if sample.ndim == 2:
        return tf.TensorSpec((None, sample.shape[1]), sample.dtype)
    return tf.TensorSpec((None, None, None, 3), tf.uint8)


def _shaped(tensor: tf.Tensor, shape) -> tf.Tensor:
    """Sets the shape that a Python function hides."""
    tensor.set_shape(shape)
    return tensor
