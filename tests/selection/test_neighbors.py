import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neighbors import NearestNeighbors

from keras_experts.selection import distances
from keras_experts.selection import leave_one_out_accuracy
from keras_experts.selection import nearest_neighbors


def double_loop(features, k):
    """The definition, in float64: nearest first, ties to the lower index."""
    features = features.astype(np.float64)
    rows = []
    for i, row in enumerate(features):
        distances = [
            (float(((row - other) ** 2).sum()), j)
            for j, other in enumerate(features)
            if j != i
        ]
        rows.append([j for _, j in sorted(distances)[:k]])
    return np.array(rows)


def data_sets():
    rng = np.random.default_rng(0)
    random = rng.normal(size=(120, 16))
    return {
        "random": random,
        "duplicated": np.repeat(random[:40], 3, axis=0),
        "tight": 30 + 0.01 * rng.normal(size=(150, 512)),
        "far": 1e4 + rng.normal(size=(100, 8)),
        "whole numbers": rng.integers(0, 3, (150, 4)).astype(float),
        "identical": np.ones((30, 5)),
    }


@pytest.mark.parametrize("name", data_sets())
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("k", [1, 3])
def test_indices_equal_a_double_loop(name, dtype, k):
    features = data_sets()[name].astype(dtype)
    expected = double_loop(features, k)
    np.testing.assert_array_equal(nearest_neighbors(features, k), expected)


@pytest.mark.parametrize("name", ["random", "tight", "far"])
def test_distances_equal_scikit_learn(name):
    features = data_sets()[name]
    ours = nearest_neighbors(features, 2)
    model = NearestNeighbors(n_neighbors=2, algorithm="brute").fit(features)
    expected, _ = model.kneighbors()
    difference = features[:, None] - features[ours]
    np.testing.assert_allclose(
        np.linalg.norm(difference, axis=-1), expected, rtol=1e-6
    )


def test_tiles_give_what_one_product_gives(monkeypatch, rng):
    features = rng.normal(size=(50, 6))
    whole = nearest_neighbors(features, 2)
    monkeypatch.setattr(distances, "TILE_ROWS", 7)
    monkeypatch.setattr(distances, "TILE_COLUMNS", 11)
    np.testing.assert_array_equal(nearest_neighbors(features, 2), whole)


@pytest.mark.parametrize("k", [1, 3])
def test_accuracy_equals_refitting_without_each_example(rng, k):
    features = rng.normal(size=(60, 4))
    labels = rng.integers(0, 3, 60)
    hits = 0
    for i in range(60):
        kept = np.arange(60) != i
        model = KNeighborsClassifier(k, algorithm="brute")
        model.fit(features[kept], labels[kept])
        hits += model.predict(features[i : i + 1])[0] == labels[i]
    assert leave_one_out_accuracy(features, labels, k) == hits / 60


def test_duplicate_is_a_neighbour_but_oneself_is_not():
    features = np.array([[0.0], [5.0], [0.0]])
    assert nearest_neighbors(features).tolist() == [[2], [0], [0]]


@pytest.mark.parametrize(
    ("features", "k", "message"),
    [
        (np.zeros((4, 2)), 4, "k=4 for 4 examples"),
        (np.zeros((4, 2)), 0, "k=0"),
        (np.zeros(4), 1, r"Received: shape \(4,\)"),
        (np.full((4, 2), np.nan), 1, "8 NaN or infinite"),
    ],
)
def test_wrong_input_is_refused(features, k, message):
    with pytest.raises(ValueError, match=message):
        nearest_neighbors(features, k)


def test_other_number_of_labels_is_refused():
    with pytest.raises(ValueError, match="same length"):
        leave_one_out_accuracy(np.zeros((4, 2)), np.zeros(3, int))
