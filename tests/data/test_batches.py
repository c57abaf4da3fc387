"""The order of images, by step, replica and expert."""

import collections
import functools

import numpy as np
import pytest
import tensorflow as tf

from keras_experts.data.batches import FILLED
from keras_experts.data.batches import evaluation_batches
from keras_experts.data.batches import training_batches
from keras_experts.data.label_rows import LabelRows
from keras_experts.data.label_rows import Targets
from keras_experts.data.labeled_images import from_arrays
from keras_experts.data.labeled_images import from_contents
from keras_experts.data.preprocessing import flip_and_shift
from keras_experts.data.preprocessing import random_resized_crop
from keras_experts.data.preprocessing import resize
from keras_experts.data.streams import BatchPlan
from keras_experts.data.streams import Stream
from keras_experts.data.streams import stream_seed

SIZE = 4
augment = functools.partial(flip_and_shift, image_size=SIZE, max_shift=1)


def make_stream(number, seed=0, indices=None):
    """A stream of images that are each of one value, their number."""
    values = np.arange(number, dtype=np.uint8)[:, None, None, None]
    images = np.broadcast_to(values, (number, SIZE, SIZE, 3))
    labels = np.arange(number) % 3
    data = from_arrays(images, labels, ["a", "b", "c"])
    targets = Targets(LabelRows.single(labels), lambda label: [label], 3)
    return Stream(data, targets, seed, indices)


def encoded(number):
    """Images of one value each as well, PNGs of different sizes."""
    contents = [
        tf.io.encode_png(np.full((2 + i, 9 - i, 3), i, np.uint8)).numpy()
        for i in range(number)
    ]
    labels = [i % 3 for i in range(number)]
    return from_contents(contents, labels, ["a", "b", "c"])


def plain(image, seed):
    return resize(image, SIZE)


def numbers(batches):
    """The images of each batch, and whether their targets are theirs."""
    found = []
    for batch in batches.as_numpy_iterator():
        values = np.round(batch["image"][:, 0, 0, 0] * 255).astype(int)
        np.testing.assert_array_equal(batch["target"].argmax(1), values % 3)
        found.append(values.tolist())
    return found


def flat(nested):
    return [value for row in nested for value in row]


def test_each_image_comes_once_an_epoch():
    order = flat(
        numbers(training_batches([make_stream(10)], BatchPlan(1, 10, 4), plain))
    )
    assert len(order) == 40
    for epoch in range(4):
        assert sorted(order[10 * epoch :][:10]) == list(range(10))


@pytest.mark.parametrize("number", [1, 2, 3])
def test_set_smaller_than_a_batch_comes_whole_each_epoch(number):
    plan = BatchPlan(1, 2, 4 * number)
    order = flat(numbers(training_batches([make_stream(number)], plan, plain)))
    for epoch in range(8):
        part = order[number * epoch :][:number]
        assert sorted(part) == list(range(number))


def test_encoded_images_come_with_their_targets_once_an_epoch():
    data = encoded(7)
    targets = Targets(LabelRows.single(data.labels), lambda label: [label], 3)
    stream = Stream(data, targets, 0)
    order = flat(numbers(training_batches([stream], BatchPlan(1, 7, 2), plain)))
    assert sorted(order[:7]) == sorted(order[7:]) == list(range(7))


def test_orders_of_epochs_and_of_seeds_are_not_alike():
    orders = []
    for seed in (0, 1):
        stream, plan = make_stream(200, seed), BatchPlan(1, 20, 40)
        order = flat(numbers(training_batches([stream], plan, plain)))
        orders += [order[200 * epoch :][:200] for epoch in range(4)]
    found = np.corrcoef(np.array(orders + [range(200)]))
    found = found[np.triu_indices(9, 1)]
    # Of chance: one over the root of 200 is 0.07.
    assert np.abs(found).max() < 0.28
    assert 0.04 < found.std() < 0.12


@pytest.mark.parametrize("mixup", [0.0, 0.3])
def test_run_goes_on_anywhere_with_the_same_images(mixup):
    streams = [make_stream(20), make_stream(7, 1)]
    plan = BatchPlan(2, 8, 4)

    def batches(first_step):
        return training_batches(
            streams, plan, augment, first_step, mixup=mixup
        ).as_numpy_iterator()

    whole = list(batches(0))
    assert len(whole) == plan.num_steps == 16
    for first_step in (1, 9):
        rest = list(batches(first_step))
        for ours, theirs in zip(rest, whole[first_step:], strict=True):
            for key in ("image", "target"):
                np.testing.assert_array_equal(ours[key], theirs[key])
    sums = [batch["target"].sum(axis=1) for batch in whole]
    np.testing.assert_allclose(sums, 1, atol=1e-6)


@pytest.mark.parametrize("replicas", [2, 4])
def test_replicas_see_together_what_one_sees(replicas):
    streams = [make_stream(20), make_stream(9, 1), make_stream(50, 2)]
    plan = BatchPlan(3, 4, 8, group_size=2)
    whole = numbers(training_batches(streams, plan, plain))
    parts = [
        numbers(training_batches(streams, plan, plain, 0, [replica], replicas))
        for replica in range(replicas)
    ]
    together = numbers(
        training_batches(streams, plan, plain, 0, range(replicas), replicas)
    )
    share = 8 // replicas
    for step, batch in enumerate(whole):
        for group in range(2):
            expected = batch[8 * group :][:8]
            rows = [part[step][share * group :][:share] for part in parts]
            assert flat(rows) == expected
        turns = together[step * replicas :][:replicas]
        assert turns == [part[step] for part in parts]


def test_mixup_does_not_depend_on_who_reads_for_whom():
    def batches(replicas):
        return training_batches(
            [make_stream(20)], BatchPlan(1, 3, 8), plain, 1, replicas, 2, 0.5
        ).as_numpy_iterator()

    together = list(batches([0, 1]))
    for replica in (0, 1):
        alone = list(batches([replica]))
        for ours, theirs in zip(alone, together[replica::2], strict=True):
            np.testing.assert_array_equal(ours["image"], theirs["image"])
            np.testing.assert_array_equal(ours["target"], theirs["target"])


def test_mixup_shares_each_image_with_its_opposite():
    streams, plan = [make_stream(20), make_stream(7, 1)], BatchPlan(2, 5, 4, 2)
    whole = training_batches(streams, plan, plain)
    mixed = training_batches(streams, plan, plain, mixup=0.5)
    shares = set()
    for before, after in zip(whole, mixed, strict=True):
        for group in (slice(0, 4), slice(4, 8)):
            old, new = (
                b["image"][group, 0, 0, 0].numpy() for b in (before, after)
            )
            # The share, from one pair of different images.
            row = 0 if old[0] != old[3] else 1
            own = (new[row] - old[3 - row]) / (old[row] - old[3 - row])
            expected = own * old + (1 - own) * old[::-1]
            np.testing.assert_allclose(new, expected, atol=1e-6)
            targets = before["target"][group].numpy()
            np.testing.assert_allclose(
                after["target"][group],
                own * targets + (1 - own) * targets[::-1],
                atol=1e-4,
            )
            shares.add(round(float(own), 4))
    assert 0 <= min(shares) <= max(shares) <= 1
    assert len(shares) == 10  # another one each time, and of each stream


@pytest.mark.parametrize("mixup", [0.0, 0.5])
@pytest.mark.parametrize("group_size", [1, 2, 3])
def test_expert_sees_the_images_it_would_see_alone(group_size, mixup):
    indices = np.array([4, 5, 17, 18, 19])
    streams = [make_stream(20), make_stream(20, 1, indices), make_stream(9, 2)]
    plan = BatchPlan(3, 5, 4, group_size)  # 2 does not divide 15
    together = training_batches(streams, plan, augment, mixup=mixup)
    found = {0: [], 1: [], 2: []}
    for step, batch in enumerate(together.as_numpy_iterator()):
        stream, update, counts = plan.groups(np.int64(step))
        for group in np.flatnonzero(counts):
            assert update[group] == len(found[stream[group]])
            part = {key: rows[4 * group :][:4] for key, rows in batch.items()}
            found[stream[group]].append(part)
    for number, stream in enumerate(streams):
        alone = training_batches(
            [stream], BatchPlan(1, 5, 4), augment, mixup=mixup
        )
        for ours, theirs in zip(found[number], alone, strict=True):
            for key in ("image", "target"):
                np.testing.assert_array_equal(ours[key], theirs[key])
    if not mixup:
        images = np.array([part["image"] for part in found[1]])
        seen = np.round(images.max(axis=(2, 3, 4)) * 255)
        assert set(seen.ravel()) == set(indices)


@pytest.mark.parametrize(
    ("num_streams", "num_updates", "group_size"),
    [(3, 5, 2), (5, 3, 4), (4, 1, 3), (2, 3, 2), (1, 4, 1), (7, 2, 3)],
)
def test_each_expert_gets_exactly_its_updates(
    num_streams, num_updates, group_size
):
    plan = BatchPlan(num_streams, num_updates, 1, group_size)
    turns, idle = collections.Counter(), 0
    for step in range(plan.num_steps):
        stream, update, counts = plan.groups(np.int64(step))
        assert len(set(stream.tolist())) == group_size
        assert counts.all() or step == plan.num_steps - 1
        assert counts.any()
        idle += np.sum(~counts)
        turns.update(zip(stream[counts].tolist(), update[counts].tolist()))
        graph = plan.groups(tf.constant(step, tf.int64))
        for ours, theirs in zip(graph, (stream, update, counts), strict=True):
            np.testing.assert_array_equal(ours, theirs)
    everything = {
        (s, u) for s in range(num_streams) for u in range(num_updates)
    }
    assert turns == collections.Counter(everything)
    assert idle == -(num_streams * num_updates) % group_size


@pytest.mark.parametrize("group_size", [0, 4])
def test_more_experts_a_step_than_there_are_are_refused(group_size):
    with pytest.raises(ValueError, match=f"Received: {group_size}"):
        BatchPlan(3, 1, 1, group_size)


def test_names_have_seeds_of_their_own():
    seeds = {stream_seed(0, str(name)) for name in range(1000)}
    assert len(seeds) == 1000 and max(seeds) < 2**31
    assert stream_seed(0, "a") != stream_seed(1, "a")


@pytest.mark.parametrize("kind", ["pixels", "encoded"])
@pytest.mark.parametrize("replicas", [1, 2])
def test_evaluation_takes_every_image_once_and_in_order(replicas, kind):
    data = make_stream(7).images if kind == "pixels" else encoded(7)

    def read(some):
        preprocess = functools.partial(resize, image_size=SIZE)
        batches = evaluation_batches(data, 2, preprocess, some, replicas)
        assert batches.cardinality() == len(list(batches))
        return list(batches.as_numpy_iterator())

    batches = read(range(replicas))
    assert len(batches) == 4
    images = np.concatenate([batch["image"] for batch in batches])
    labels = np.concatenate([batch["label"] for batch in batches])
    np.testing.assert_array_equal(labels[:7], data.labels)
    np.testing.assert_array_equal(labels[7:], FILLED)
    values = np.round(images[:7, 0, 0, 0] * 255)
    np.testing.assert_array_equal(values, np.arange(7))
    np.testing.assert_array_equal(images[7:], 0)
    for replica in range(replicas):
        alone = read([replica])
        for ours, theirs in zip(alone, batches[replica::replicas], strict=True):
            np.testing.assert_array_equal(ours["image"], theirs["image"])


def test_images_without_a_class_are_no_filling():
    data = from_contents(list(encoded(3).read(np.arange(3))), [-1] * 3, ["a"])
    (batch,) = evaluation_batches(
        data, 4, functools.partial(resize, image_size=SIZE)
    ).as_numpy_iterator()
    assert batch["label"].tolist() == [-1, -1, -1, FILLED]
    assert batch["image"][1:3].min() > 0


def test_random_crops_are_parts_of_the_image_and_follow_from_the_seed():
    ramp = np.broadcast_to(
        np.arange(0, 240, 10, dtype=np.uint8)[:, None, None], (24, 24, 3)
    )
    crops = [
        np.array(random_resized_crop(ramp, np.array([seed, 0]), 8))
        for seed in range(30)
    ]
    again = np.array(random_resized_crop(ramp, np.array([3, 0]), 8))
    np.testing.assert_array_equal(crops[3], again)
    heights = [crop[-1, 0, 0] - crop[0, 0, 0] for crop in crops]
    # Rows rise as in the image, over more or fewer of them.
    assert all((np.diff(crop[:, 0, 0]) >= 0).all() for crop in crops)
    assert max(heights) > 2 * min(heights) > 0
    assert all(0 <= crop.min() <= crop.max() <= 230 / 255 for crop in crops)
