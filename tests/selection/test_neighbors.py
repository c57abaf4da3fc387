import tracemalloc

import ml_dtypes
import numpy as np
import pytest
from sklearn.model_selection import LeaveOneGroupOut
from sklearn.model_selection import cross_val_predict
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neighbors import NearestNeighbors

from keras_experts.selection import distances
from keras_experts.selection import leave_one_out_accuracy
from keras_experts.selection import nearest_neighbors
from keras_experts.selection import neighbors as kernel
from keras_experts.selection.neighbors import leave_one_out_correct


def double_loop(features, k, metric="euclidean", groups=None):
    """The definition, in float64: nearest first, ties to the lower index."""
    groups = np.arange(len(features)) if groups is None else groups
    features = np.asarray(features).astype(np.float64)
    if metric == "cosine":
        features = features / np.linalg.norm(features, axis=1, keepdims=True)
    rows = []
    for i, row in enumerate(features):
        squares = [float(((row - other) ** 2).sum()) for other in features]
        order = sorted(range(len(features)), key=lambda j: (squares[j], j))
        rows.append([j for j in order if groups[j] != groups[i]][:k])
    return np.array(rows)


def data_sets():
    rng = np.random.default_rng(0)
    random = rng.normal(size=(120, 16))
    centres = rng.normal(size=(4, 16))[rng.integers(0, 4, 120)]
    return {
        "random": random,
        "duplicated": np.repeat(random[:40], 3, axis=0),
        "tight": 30 + 0.01 * rng.normal(size=(120, 512)),
        "tight clusters": centres + 1e-6 * random,
        # Float32 has one value for each of these clusters.
        "tightest clusters": centres + 1e-12 * random,
        "far": 1e4 + random,
        "farthest": 1e9 + random,
        "far tight clusters": 1e4 + centres + 1e-4 * random,
        "mixed scales": random * 10.0 ** rng.integers(-8, 9, (120, 1)),
        "one far row": np.r_[1e-3 * random[:-1], 1e9 + random[-1:]],
        "whole numbers": rng.integers(0, 3, (120, 4)).astype(float),
        "tenths": rng.integers(0, 3, (120, 6)) / 10,
        "equidistant": np.eye(60),
        "one channel": random[:, :1],
        "small": 1e-25 * random,
        "large": 1e25 * random,
        "identical": np.full((30, 5), 0.1),
    }


@pytest.mark.parametrize("name", data_sets())
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("k", [1, 3])
def test_indices_equal_a_double_loop(name, dtype, k):
    features = data_sets()[name].astype(dtype)
    expected = double_loop(features, k)
    np.testing.assert_array_equal(nearest_neighbors(features, k), expected)


@pytest.mark.parametrize(
    "name", ["random", "tight clusters", "farthest", "mixed scales", "large"]
)
def test_cosine_indices_equal_a_double_loop(name):
    features = data_sets()[name]
    np.testing.assert_array_equal(
        nearest_neighbors(features, 2, "cosine"),
        double_loop(features, 2, "cosine"),
    )


@pytest.mark.parametrize("dtype", ["float16", "uint8", "int64", "bool"])
def test_any_numbers_are_features(dtype, rng):
    features = rng.integers(0, 9, (70, 5)).astype(dtype)
    before = features.copy()
    np.testing.assert_array_equal(
        nearest_neighbors(features, 2), double_loop(features, 2)
    )
    np.testing.assert_array_equal(features, before)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("name", ["random", "tight", "far"])
def test_distances_equal_scikit_learn(name, metric):
    features = data_sets()[name]
    ours = nearest_neighbors(features, 2, metric)
    model = NearestNeighbors(n_neighbors=2, algorithm="brute", metric=metric)
    expected, _ = model.fit(features).kneighbors()
    if metric == "cosine":
        features = features / np.linalg.norm(features, axis=1, keepdims=True)
    difference = features[:, None] - features[ours]
    found = np.linalg.norm(difference, axis=-1)
    if metric == "cosine":
        # A cosine near 1 has no more digits in scikit-learn.
        np.testing.assert_allclose(found**2 / 2, expected, atol=1e-15)
    else:
        np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("name", data_sets())
@pytest.mark.parametrize("most", [0, 3])
def test_tiles_and_balls_give_what_one_product_gives(monkeypatch, name, most):
    features = data_sets()[name]
    whole = nearest_neighbors(features, 2)
    monkeypatch.setattr(distances, "TILE_ROWS", 7)
    monkeypatch.setattr(distances, "TILE_COLUMNS", 20)
    monkeypatch.setattr(distances, "MAX_CANDIDATES", most)
    monkeypatch.setattr(distances, "BALL_VALUES", 100)
    monkeypatch.setattr(kernel, "BALL_ROWS", 9)
    monkeypatch.setattr(kernel, "DIRECT_VALUES", 20)
    np.testing.assert_array_equal(nearest_neighbors(features, 2), whole)


@pytest.mark.parametrize(
    "name", ["random", "tight", "far", "tight clusters", "mixed scales"]
)
def test_products_bound_all_distances(monkeypatch, name):
    features = data_sets()[name]
    monkeypatch.setattr(distances, "TILE_ROWS", 50)
    tiles = []

    class Recorder(distances.Candidates):
        def add(self, rows, columns, lows):
            tiles.append((rows, columns, lows.copy()))

    monkeypatch.setattr(distances, "Candidates", Recorder)
    groups = np.arange(len(features))
    found = distances.search(*distances.centre(features), 1, groups)
    seen = np.zeros((len(features), len(features)), int)
    for rows, columns, lows in tiles:
        seen[np.ix_(rows, columns)] += 1
        difference = features[rows][:, None] - features[columns]
        halves = (difference**2).sum(axis=-1) / 2
        room = 2 * (found.room[rows][:, None] + found.room[columns])
        itself = rows[:, None] == columns
        assert (itself | (lows <= halves)).all()
        assert (itself | (halves <= lows + room)).all()
    assert (seen == 1).all()


def test_a_middle_is_not_pulled_by_one_row(rng):
    features = rng.normal(size=(500, 8))
    features[0] += 1e9
    _, halves = distances.centre(features)
    assert halves[1:].max() < 100


@pytest.mark.parametrize("name", ["identical", "tight clusters", "one far row"])
def test_many_close_rows_take_neither_all_pairs_nor_their_memory(
    monkeypatch, name
):
    rng = np.random.default_rng(0)
    features = rng.normal(size=(8000, 8))
    if name == "identical":
        features[:] = 0.1
    elif name == "tight clusters":
        centres = rng.normal(size=(3, 8))
        features = centres[rng.integers(0, 3, 8000)] + 1e-7 * features
    else:
        features[0] += 1e9
    measured = []

    def measure(rows, left, right, true=kernel._measure):
        measured.append(len(left))
        return true(rows, left, right)

    monkeypatch.setattr(kernel, "_measure", measure)
    tracemalloc.start()
    nearest_neighbors(features)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sum(measured) < 8000**2 / 50
    assert peak < 8000**2 * 4 / 2  # bytes


@pytest.mark.parametrize("backend", ["numpy", "tensorflow", "jax"])
def test_tensors_of_a_backend_are_features(rng, backend):
    features = rng.normal(size=(20, 3)).astype(np.float32)
    labels = rng.integers(0, 2, 20)
    convert = tensors_of(backend)
    expected = double_loop(features, 1)
    np.testing.assert_array_equal(
        nearest_neighbors(convert(features)), expected
    )
    accuracy = leave_one_out_accuracy(convert(features), labels)
    assert accuracy == leave_one_out_accuracy(features, labels)
    halves = features.astype(ml_dtypes.bfloat16)
    expected = double_loop(halves, 1)
    np.testing.assert_array_equal(nearest_neighbors(convert(halves)), expected)


def tensors_of(backend):
    """Returns the function that makes a tensor of an array."""
    if backend == "numpy":
        return np.asarray
    if backend == "jax":
        import jax.numpy as jnp

        return jnp.asarray
    import tensorflow as tf

    return tf.convert_to_tensor


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


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("k", [1, 4])
def test_experts_and_tasks_at_once_are_one_by_one(rng, k, metric):
    features = rng.normal(size=(3, 50, 4))
    labels = rng.integers(0, 3, (2, 50))
    neighbors = nearest_neighbors(features, k, metric)
    correct = leave_one_out_correct(features, labels, k, metric)
    accuracy = leave_one_out_accuracy(features, labels, k, metric)
    assert neighbors.shape == (3, 50, k)
    assert correct.shape == (3, 2, 50)
    assert accuracy.shape == (3, 2)
    for e in range(3):
        one = nearest_neighbors(features[e], k, metric)
        np.testing.assert_array_equal(neighbors[e], one)
        tasks = leave_one_out_accuracy(features[e], labels, k, metric)
        np.testing.assert_array_equal(accuracy[e], tasks)
        for t in range(2):
            one = leave_one_out_correct(features[e], labels[t], k, metric)
            np.testing.assert_array_equal(correct[e, t], one)
            assert accuracy[e, t] == one.mean()
    experts = leave_one_out_accuracy(features, labels[0], k, metric)
    np.testing.assert_array_equal(experts, accuracy[:, 0])


def test_equal_votes_go_to_the_lower_label():
    features = np.array([[0.0], [1.0], [1.5], [10.0]])
    labels = np.array(["b", "c", "b", "a"])
    correct = leave_one_out_correct(features, labels, 2)
    # Votes: c b, b b, c b, b c.
    assert correct.tolist() == [True, False, True, False]


def test_duplicate_is_a_neighbour_but_oneself_is_not():
    features = np.array([[0.0], [5.0], [0.0]])
    assert nearest_neighbors(features).tolist() == [[2], [0], [0]]


GROUPS = {
    "pairs": np.arange(120) // 2,
    "far apart pairs": np.arange(120) % 60,
    "one large group": np.where(np.arange(120) % 3, 0, np.arange(120)),
    "two groups": np.arange(120) % 2,
    "mixed sizes": np.random.default_rng(5).integers(0, 40, 120),
}


GROUPED = ("random", "duplicated", "tight clusters", "tenths", "identical")


@pytest.mark.parametrize("name", GROUPED)
@pytest.mark.parametrize("grouping", GROUPS)
@pytest.mark.parametrize("k", [1, 3])
def test_examples_of_a_group_are_never_each_others_neighbors(name, grouping, k):
    features = data_sets()[name]
    groups = GROUPS[grouping][: len(features)]
    np.testing.assert_array_equal(
        nearest_neighbors(features, k, groups=groups),
        double_loop(features, k, groups=groups),
    )


def test_groups_have_no_cosine_neighbors_either():
    features, groups = data_sets()["duplicated"], GROUPS["mixed sizes"]
    np.testing.assert_array_equal(
        nearest_neighbors(features, 2, "cosine", groups),
        double_loop(features, 2, "cosine", groups),
    )


@pytest.mark.parametrize("name", GROUPED)
@pytest.mark.parametrize("grouping", GROUPS)
def test_tiles_and_balls_heed_groups(monkeypatch, name, grouping):
    features = data_sets()[name]
    groups = GROUPS[grouping][: len(features)]
    monkeypatch.setattr(distances, "TILE_ROWS", 7)
    monkeypatch.setattr(distances, "TILE_COLUMNS", 20)
    monkeypatch.setattr(distances, "MAX_CANDIDATES", 3)
    monkeypatch.setattr(distances, "BALL_VALUES", 100)
    monkeypatch.setattr(kernel, "BALL_ROWS", 9)
    np.testing.assert_array_equal(
        nearest_neighbors(features, 2, groups=groups),
        double_loop(features, 2, groups=groups),
    )


@pytest.mark.parametrize("k", [1, 3])
def test_accuracy_with_copies_is_that_of_leaving_out_all_copies(rng, k):
    once = rng.normal(size=(60, 4))
    copy_of = rng.integers(0, 60, 120)
    features, labels = once[copy_of], rng.integers(0, 3, 120)
    predicted = cross_val_predict(
        KNeighborsClassifier(k, algorithm="brute"),
        *(features, labels),
        groups=copy_of,
        cv=LeaveOneGroupOut(),
    )
    correct = leave_one_out_correct(features, labels, k, groups=copy_of)
    np.testing.assert_array_equal(correct, predicted == labels)


@pytest.mark.parametrize(
    ("groups", "k", "message"),
    [
        (np.zeros(4, int), 1, "k=1 for 4 examples, 4 of one group"),
        (np.array([0, 0, 0, 1]), 2, "k=2 for 4 examples, 3 of one group"),
        (np.zeros(3, int), 1, r"Received: shape \(3,\) for 4 examples"),
    ],
)
def test_groups_that_leave_too_few_neighbors_are_refused(groups, k, message):
    with pytest.raises(ValueError, match=message):
        nearest_neighbors(np.eye(4), k, groups=groups)


def test_cosine_of_zeros_is_that_of_a_right_angle():
    features = np.array([[1.0, 0.0], [0.0, 0.0], [-1.0, 0.0], [1.0, 0.1]])
    found = nearest_neighbors(features, 3, "cosine")
    assert found.tolist() == [[3, 1, 2], [0, 2, 3], [1, 3, 0], [0, 1, 2]]


@pytest.mark.parametrize(
    ("features", "k", "message"),
    [
        (np.zeros((4, 2)), 4, "k=4 for 4 examples"),
        (np.zeros((4, 2)), 0, "k=0"),
        (np.zeros((4, 2)), 1.5, "whole number.*k=1.5"),
        (np.zeros(4), 1, r"Received: shape \(4,\)"),
        (np.zeros((1, 2, 3, 4)), 1, r"Received: shape \(1, 2, 3, 4\)"),
        (np.array([["a"], ["b"]]), 1, "must be numbers"),
        (np.full((4, 2), np.nan), 1, "8 NaN or infinite"),
        (np.array([[1.0], [np.inf], [2.0]]), 1, "1 NaN or infinite"),
    ],
)
def test_wrong_input_is_refused(features, k, message):
    with pytest.raises(ValueError, match=message):
        nearest_neighbors(features, k)


def test_wrong_input_of_cosine_is_refused():
    with pytest.raises(ValueError, match="Received: 'cosin'"):
        nearest_neighbors(np.zeros((4, 2)), metric="cosin")
    with pytest.raises(ValueError, match="1 NaN or infinite"):
        nearest_neighbors(np.array([[1.0], [np.inf]]), metric="cosine")


@pytest.mark.parametrize("shape", [(3,), (2, 3), (1, 1, 4), ()])
def test_other_number_of_labels_is_refused(shape):
    with pytest.raises(ValueError, match="same length"):
        leave_one_out_accuracy(np.zeros((4, 2)), np.zeros(shape, int))
