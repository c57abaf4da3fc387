import itertools

import numpy as np
import pytest

from keras_experts.selection import charts


@pytest.mark.parametrize("shape", [(60, 5), (20, 90), (4, 1), (2, 3)])
def test_projection_is_that_of_the_singular_values(rng, shape):
    features = rng.normal(size=shape).astype(np.float32)
    centred = features - features.mean(axis=0, dtype=np.float64)
    left, values, _ = np.linalg.svd(centred, full_matrices=False)
    expected = (left * values)[:, :2]
    places, share = charts.project(features)
    assert places.shape == (shape[0], 2)
    found = np.abs(places[:, : expected.shape[1]])
    np.testing.assert_allclose(found, np.abs(expected), atol=1e-6)
    total = np.sum(values**2)
    assert share == pytest.approx(np.sum(values[:2] ** 2) / total)


def test_first_forty_classes_have_marks_of_their_own():
    marks = [charts.mark(order) for order in range(charts.NUM_MARKS)]
    kinds = {(m["path"].partition("m")[2], m["color"]) for m in marks}
    assert len(kinds) == 40
    for one, next_one in itertools.pairwise(marks):
        assert one["color"] != next_one["color"]
        assert one["path"] != next_one["path"]


@pytest.mark.parametrize(
    "low, high", [(0, 1), (0.571, 0.604), (-3.2, 17), (5, 5), (-1e-6, 1e-6)]
)
def test_axis_has_few_ticks_around_its_values(low, high):
    axis = charts.ticks(low, high)
    assert axis[0] <= low and high <= axis[-1] and 2 <= len(axis) <= 7
    np.testing.assert_allclose(np.diff(axis), axis[1] - axis[0])
    assert charts.place(low, axis) < 100 and charts.place(high, axis) > 0
