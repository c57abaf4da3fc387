import numpy as np
import pytest

from keras_experts.data.duplicates import duplicate_groups
from keras_experts.data.duplicates import is_copy_of
from keras_experts.data.duplicates import without_copies
from keras_experts.data.fingerprints import digests
from keras_experts.data.labeled_images import from_arrays
from keras_experts.data.labeled_images import from_contents
from keras_experts.data.tasks import Task
from keras_experts.data.texts import TextRow
from keras_experts.data.texts import to_texts


def sets(rng):
    pixels = rng.integers(0, 256, (6, 4, 4, 3)).astype(np.uint8)
    encoded = [image.tobytes() for image in pixels]
    order = [0, 1, 0, 2, 3, 1, 0]
    labels, names = [0, 1, 0, 1, 0, 1, 1], ["a", "b"]
    return (
        from_arrays(pixels[order], np.array(labels), names),
        from_contents([encoded[i] for i in order], labels, names),
    )


def test_exact_copies_share_the_position_of_the_first(rng):
    for examples in sets(rng):
        found = duplicate_groups(digests(examples))
        assert found.tolist() == [0, 1, 0, 3, 4, 1, 0]


def test_digests_that_differ_in_their_last_bytes_alone_are_no_copies():
    rows = np.zeros((3, 32), np.uint8)
    rows[1, -1] = 1
    rows[2, 0] = 1
    assert duplicate_groups(rows).tolist() == [0, 1, 2]
    assert not is_copy_of(rows[1:], rows[:1]).any()


def test_test_examples_that_are_training_examples_are_found(rng):
    _, examples = sets(rng)
    found = digests(examples)
    expected = [True, True, False, False, True, True]
    assert is_copy_of(found[1:], found[[0, 5]]).tolist() == expected


@pytest.mark.parametrize("number", [0, 1])
def test_few_examples_have_few_groups(number):
    found = duplicate_groups(np.zeros((number, 32), np.uint8))
    assert found.tolist() == [0] * number
    rows = np.zeros((0, 32), np.uint8)
    assert is_copy_of(rows, np.zeros((number, 32), np.uint8)).shape == (0,)


def make_task(train, test, medium):
    def examples(contents):
        labels = [number % 2 for number in range(len(contents))]
        names = ["a", "b"]
        if medium == "texts":
            rows = [TextRow(c, None, "") for c in contents]
            return to_texts(rows, labels, names)
        return from_contents(contents, labels, names)

    return Task("things", examples(train), examples(test))


@pytest.mark.parametrize("medium", ["images", "texts"])
def test_test_examples_seen_before_are_left_out_and_said_so(medium, capfd):
    train = [b"one", b"two", b"three"]
    task = make_task(train, [b"two", b"x", b"y", b"x", b"two"], medium)
    left = without_copies(task, digests(task.train))
    assert list(left.test.read(np.arange(2))) == [b"x", b"y"]
    assert left.test.labels.tolist() == [1, 0]
    assert left.train is task.train
    assert capfd.readouterr().err == (
        f"things: 2 of 5 test {medium} are exact copies of training {medium} "
        f"and 1 of 5 test {medium} are exact copies of other test {medium}; "
        "they are left out of the test accuracy\n"
    )


def test_nothing_is_said_of_a_task_without_copies(capfd):
    task = make_task([b"one", b"one"], [b"x", b"y"], "images")
    assert without_copies(task, digests(task.train)) is task
    assert capfd.readouterr().err == ""
