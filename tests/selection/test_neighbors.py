import os
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neighbors import NearestNeighbors

from keras_experts.selection import distances
from keras_experts.selection import leave_one_out_accuracy
from keras_experts.selection import nearest_neighbors
from keras_experts.selection import neighbors as kernel
from keras_experts.selection.neighbors import leave_one_out_correct


def double_loop(features, k, metric="euclidean"):
    """The definition, in float64: nearest first, ties to the lower index."""
    features = np.asarray(features).astype(np.float64)
    if metric == "cosine":
        features = features / np.linalg.norm(features, axis=1, keepdims=True)
    rows = []
    for i, row in enumerate(features):
        squares = [float(((row - other) ** 2).sum()) for other in features]
        order = sorted(range(len(features)), key=lambda j: (squares[j], j))
        rows.append([j for j in order if j != i][:k])
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
    found = distances.search(*distances.centre(features), k=1)
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


@pytest.fixture
def on_accelerator(monkeypatch):
    find = distances.search_on_accelerator
    monkeypatch.setattr(kernel, "search", find)
    monkeypatch.setattr(distances, "STRIP_VALUES", 5000)


@pytest.mark.parametrize("digits", [8, 24])
@pytest.mark.parametrize("name", data_sets())
def test_accelerator_gives_the_same(on_accelerator, monkeypatch, name, digits):
    from keras import ops

    def keep_digits(left, right, *arguments, true=distances.nearest_in_strip):
        if digits == 8:
            left = ops.cast(ops.cast(left, "bfloat16"), "float32")
            right = ops.cast(ops.cast(right, "bfloat16"), "float32")
        return true(left, right, *arguments)

    monkeypatch.setattr(distances, "nearest_in_strip", keep_digits)
    features = data_sets()[name]
    expected = double_loop(features, 2)
    np.testing.assert_array_equal(nearest_neighbors(features, 2), expected)


def test_accelerator_s_part_compiles(rng):
    import keras

    left, right = rng.normal(size=(2, 30, 4)).astype(np.float32)
    low = np.zeros(30, np.float32)
    function = distances.nearest_in_strip
    expected = function(left[7:20], right, low[7:20], low, 7, 5)
    if keras.backend.backend() == "jax":
        import jax

        compiled = jax.jit(function, static_argnums=5)
    else:
        import tensorflow as tf

        compiled = tf.function(function, jit_compile=True)
    lows, columns = compiled(left[7:20], right, low[7:20], low, 7, 5)
    np.testing.assert_allclose(lows, expected[0], atol=1e-6)
    np.testing.assert_array_equal(columns, expected[1])


def test_accelerator_searches_the_tensors_that_lie_there(monkeypatch, rng):
    features = rng.normal(size=(20, 3))

    class Tensor:
        device = "/job:localhost/replica:0/task:0/device:GPU:0"

        def __array__(self, *arguments, **options):
            return features

    called = []

    def find(*arguments):
        called.append(True)
        return distances.search(*arguments)

    monkeypatch.setattr(kernel, "search_on_accelerator", find)
    expected = double_loop(features, 1)
    np.testing.assert_array_equal(nearest_neighbors(features), expected)
    assert not called
    np.testing.assert_array_equal(nearest_neighbors(Tensor()), expected)
    assert called


def test_tensors_of_a_backend_are_features(rng):
    from keras import ops

    features = rng.normal(size=(20, 3)).astype(np.float32)
    labels = rng.integers(0, 2, 20)
    tensor = ops.convert_to_tensor(features)
    expected = double_loop(features, 1)
    np.testing.assert_array_equal(nearest_neighbors(tensor), expected)
    assert leave_one_out_accuracy(tensor, labels) == leave_one_out_accuracy(
        features, labels
    )
    halves = ops.cast(tensor, "bfloat16")
    expected = double_loop(ops.convert_to_numpy(halves), 1)
    np.testing.assert_array_equal(nearest_neighbors(halves), expected)


def test_tensors_and_accelerators_pass_their_tests_under_jax():
    if os.environ.get("KERAS_BACKEND") == "jax":
        pytest.skip("these are the tests under JAX")
    command = [sys.executable, "-m", "pytest", "-q", __file__]
    command += ["-k", "(accelerator or tensors) and not under_jax"]
    result = subprocess.run(
        command,
        env={**os.environ, "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout[-4000:]
    assert " passed" in result.stdout


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
