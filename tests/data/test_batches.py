"""The order of images, by step, replica and expert."""

import functools

import numpy as np
import pytest

from keras_experts.data.batches import FILLED
from keras_experts.data.batches import BatchPlan
from keras_experts.data.batches import Stream
from keras_experts.data.batches import evaluation_batches
from keras_experts.data.batches import stream_seed
from keras_experts.data.batches import training_batches
from keras_experts.data.label_rows import LabelRows
from keras_experts.data.label_rows import Targets
from keras_experts.data.labeled_images import from_arrays
from keras_experts.data.preprocessing import flip_and_shift
from keras_experts.data.preprocessing import random_resized_crop
from keras_experts.data.preprocessing import resize

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


@pytest.mark.parametrize("group_size", [1, 2, 3])
def test_expert_sees_the_images_it_would_see_alone(group_size):
    indices = np.array([4, 5, 17, 18, 19])
    streams = [make_stream(20), make_stream(20, 1, indices), make_stream(9, 2)]
    plan = BatchPlan(3, 4, 4, group_size)
    together = training_batches(streams, plan, augment)
    found = {0: [], 1: [], 2: []}
    for step, batch in enumerate(together.as_numpy_iterator()):
        stream, update, counts = plan.groups(np.int64(step))
        assert len(set(stream)) == group_size
        for group in np.flatnonzero(counts):
            assert update[group] == len(found[stream[group]])
            images = batch["image"][4 * group :][:4]
            found[stream[group]].append(images)
    for number, stream in enumerate(streams):
        alone = training_batches([stream], BatchPlan(1, 4, 4), augment)
        assert len(found[number]) == 4
        for ours, theirs in zip(found[number], alone, strict=True):
            np.testing.assert_array_equal(ours, theirs["image"])
    seen = np.round(np.array(found[1]).max(axis=(2, 3, 4)) * 255)
    assert set(seen.ravel()) == set(indices)


@pytest.mark.parametrize("group_size", [0, 4])
def test_more_experts_a_step_than_there_are_are_refused(group_size):
    with pytest.raises(ValueError, match=f"Received: {group_size}"):
        BatchPlan(3, 1, 1, group_size)


def test_names_have_seeds_of_their_own():
    seeds = {stream_seed(0, str(name)) for name in range(1000)}
    assert len(seeds) == 1000 and max(seeds) < 2**31
    assert stream_seed(0, "a") != stream_seed(1, "a")


@pytest.mark.parametrize("replicas", [1, 2])
def test_evaluation_takes_every_image_once_and_in_order(replicas):
    data = make_stream(7).images
    batches = evaluation_batches(
        data,
        2,
        functools.partial(resize, image_size=SIZE),
        range(replicas),
        replicas,
    )
    batches = list(batches.as_numpy_iterator())
    assert len(batches) == 4
    images = np.concatenate([batch["image"] for batch in batches])
    labels = np.concatenate([batch["label"] for batch in batches])
    np.testing.assert_array_equal(labels[:7], data.labels)
    np.testing.assert_array_equal(labels[7:], FILLED)
    values = np.round(images[:7, 0, 0, 0] * 255)
    np.testing.assert_array_equal(values, np.arange(7))
    np.testing.assert_array_equal(images[7:], 0)


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
