import numpy as np
import pytest

from keras_experts.data.label_rows import LabelRows
from keras_experts.data.label_rows import Targets

LISTS = [[3], [1, 4], [], [3], [4, 1], [1, 4], [0, 1, 2], []]


@pytest.fixture
def rows():
    values = np.array([value for row in LISTS for value in row])
    return LabelRows.of_lengths(values, np.array([len(row) for row in LISTS]))


def lists(rows):
    return [rows.row(index).tolist() for index in range(len(rows))]


def test_rows_come_back_as_they_were(rows):
    assert lists(rows) == LISTS
    assert rows.lengths.tolist() == [len(row) for row in LISTS]


def test_single_labels_are_rows_of_one():
    assert lists(LabelRows.single(np.array([5, 7]))) == [[5], [7]]


def test_taken_rows_are_in_the_order_asked_for(rows):
    indices = [6, 2, 0, 0, 4]
    taken = rows.take(np.array(indices))
    assert lists(taken) == [LISTS[index] for index in indices]
    assert lists(rows.take(np.array([], np.int64))) == []


def test_distinct_rows_stand_for_all(rows):
    distinct, which = rows.distinct()
    assert len(distinct) == len({tuple(row) for row in LISTS})
    assert [distinct.row(index).tolist() for index in which] == LISTS


def test_targets_are_one_for_the_labels_outputs(rows):
    outputs = {0: [0], 1: [1, 2], 2: [2], 3: [], 4: [2, 3]}
    targets = Targets(rows, outputs.__getitem__, 4)
    expected = np.zeros((len(LISTS), 4))
    for image, row in enumerate(LISTS):
        for label in row:
            for output in outputs[label]:
                expected[image, output] = 1
    indices = np.array([7, 1, 1, 0, 6])
    found = targets(indices)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected[indices])
    np.testing.assert_allclose(targets.mean(), expected.mean(axis=0))
    np.testing.assert_allclose(
        targets.mean(indices), expected[indices].mean(axis=0)
    )
