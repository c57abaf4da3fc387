import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from keras_experts.selection import combining
from keras_experts.selection.combining import combine
from keras_experts.selection.folds import assign_folds
from keras_experts.selection.neighbors import leave_one_out_correct
from keras_experts.selection.routing import pick_experts
from keras_experts.selection.routing import route


def make_pool(rng, num=90):
    """Two experts that each see half of what tells six classes apart."""
    labels = rng.permutation(np.arange(num) % 6)
    first, second = np.eye(3)[labels % 3], np.eye(2)[labels // 3]
    pool = {
        "noise": rng.normal(size=(num, 4)),
        "large": 100 * first + 40 * rng.normal(size=(num, 3)) + 7,
        "small": 0.01 * second + 0.003 * rng.normal(size=(num, 2)),
        "copy": np.repeat(second, 2, axis=1) + rng.normal(size=(num, 4)),
    }
    return {k: v.astype(np.float32) for k, v in pool.items()}, labels


def concatenate(pool, names, normalize=True):
    """What the docstring says a combination's features are."""
    blocks = []
    for name in names:
        block = pool[name].astype(np.float64)
        block = block - block.mean(axis=0)
        if normalize:
            block = block / np.sqrt((block**2).sum(axis=1).mean())
        blocks.append(block)
    return np.concatenate(blocks, axis=1)


def brute_correct(features, labels):
    model = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(features)
    return labels[model.kneighbors()[1][:, 0]] == labels


def brute_path(pool, labels, max_experts, normalize=True):
    """The greedy choice, with everything concatenated anew."""
    path = []
    while len(path) < min(max_experts, len(pool)):
        tried = []
        for place, name in enumerate(pool):
            if name not in dict(path):
                names = [*dict(path), name]
                features = concatenate(pool, names, normalize)
                hits = brute_correct(features, labels).mean()
                tried.append((hits, -place, name))
        hits, _, name = max(tried)
        if path and hits <= path[-1][1]:
            break
        path.append((name, hits))
    return path


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("max_experts", [1, 2, 4])
def test_choice_equals_scikit_learn_on_concatenated_features(
    rng, normalize, max_experts
):
    pool, labels = make_pool(rng)
    found = combine(pool, labels, max_experts=max_experts, normalize=normalize)
    expected = brute_path(pool, labels, max_experts, normalize)
    assert found.path == expected
    assert found.names == [name for name, _ in expected]
    features = concatenate(pool, found.names, normalize)
    np.testing.assert_array_equal(
        found.correct, brute_correct(features, labels)
    )
    assert found.accuracy == found.correct.mean()


def test_two_halves_of_a_task_are_found_whatever_their_scale(rng):
    pool, labels = make_pool(rng, 300)
    found = combine(pool, labels)
    assert set(found.names[:2]) == {"large", "small"}
    assert found.accuracy > found.path[0][1] + 0.1
    assert found.honest_accuracy > found.single_honest_accuracy + 0.1


@pytest.mark.parametrize("max_experts", [1, 4])
def test_honest_accuracy_scores_each_half_alone_by_the_others_choice(
    rng, max_experts
):
    pool, labels = make_pool(rng)
    folds = assign_folds(labels, 5, 2)
    halves = [
        (
            {name: rows[folds == half] for name, rows in pool.items()},
            labels[folds == half],
        )
        for half in (0, 1)
    ]
    hits = 0
    for picking, (features, theirs) in (halves, halves[::-1]):
        path = brute_path(*picking, max_experts)
        chosen = concatenate(features, [name for name, _ in path])
        hits += brute_correct(chosen, theirs).sum()
    found = combine(pool, labels, max_experts=max_experts, seed=5)
    assert found.honest_accuracy == hits / len(labels)
    if max_experts == 1:
        assert found.single_honest_accuracy == found.honest_accuracy


def test_many_noisy_experts_do_not_look_better_than_chance(rng):
    labels = np.arange(200) % 2
    pool = {f"e{i}": rng.normal(size=(200, 3)) for i in range(30)}
    found = combine(pool, labels)
    assert found.accuracy > 0.57
    assert abs(found.honest_accuracy - 0.5) < 0.08


def exact_nearest(pool, names, labels):
    """A double loop over sums of exact distances; ties to the lower."""
    correct = []
    for i in range(len(labels)):
        sums = np.zeros(len(labels))
        for name in pool:
            if name in names:
                block = pool[name].astype(np.float64)
                centered = block - block.mean(axis=0)
                scale = (centered**2).sum(axis=1).mean() or 1.0
                sums += ((block - block[i]) ** 2).sum(axis=1) / scale
        sums[i] = np.inf
        correct.append(labels[sums.argmin()] == labels[i])
    return np.array(correct)


@pytest.mark.parametrize("case", ["repeated", "whole", "outlier", "constant"])
def test_near_ties_are_decided_by_exact_differences(rng, case, monkeypatch):
    monkeypatch.setattr(combining, "TILE_ROWS", 17)
    monkeypatch.setattr(combining, "DIRECT_VALUES", 20)
    labels = rng.integers(0, 2, 60)
    outlier = 1e-5 * rng.normal(size=(3, 60, 4))
    outlier[:, 7] = 1e6  # moves the mean far from all others
    outlier *= np.array([1, 30, 0.1])[:, None, None]
    blocks = {
        "repeated": np.repeat(rng.normal(size=(3, 20, 5)), 3, axis=1),
        "whole": rng.integers(0, 3, (3, 60, 2)) + 2.0**30,
        "outlier": outlier,
        "constant": np.ones((3, 60, 3)),
    }[case]
    names = ["a", "b", "c"]
    pool = dict(zip(names, blocks))
    engine = combining._Pool(pool.get, names, labels, np.arange(60), True, 3)
    np.testing.assert_array_equal(
        engine.correct(["c", "b", "a"]), exact_nearest(pool, names, labels)
    )


@pytest.mark.parametrize("cache_bytes", [0, 2 * 8 * 90**2])
def test_less_memory_gives_the_same_and_keeps_no_more_than_it(
    rng, cache_bytes, monkeypatch
):
    pool, labels = make_pool(rng)
    kept = []
    add_up = combining._Pool._add_up

    def watch(self, names):
        add_up(self, names)
        kept.append(sum(d.nbytes for d, _ in self.cached.values()))

    monkeypatch.setattr(combining._Pool, "_add_up", watch)
    whole = combine(pool, labels)
    assert max(kept) == 4 * 8 * 90**2
    kept.clear()
    less = combine(pool, labels, cache_bytes=cache_bytes)
    assert max(kept) <= cache_bytes
    assert less.path == whole.path
    assert less.honest_accuracy == whole.honest_accuracy


def test_function_of_names_gives_what_a_mapping_gives(rng):
    pool, labels = make_pool(rng)
    mapped = combine(pool, labels)
    called = combine(lambda name: pool[name], labels, names=list(pool))
    assert called.path == mapped.path
    fewer = combine(pool, labels, names=["noise", "copy"])
    assert set(fewer.names) <= {"noise", "copy"}


def test_margin_keeps_experts_out_that_gain_no_more_than_it(rng):
    pool, labels = make_pool(rng)
    path = combine(pool, labels).path
    gain = path[1][1] - path[0][1]
    hits = round(gain * len(labels))
    assert len(combine(pool, labels, margin=hits / len(labels)).path) == 1
    lower = (hits - 0.5) / len(labels)
    assert len(combine(pool, labels, margin=lower).path) > 1


def test_equal_experts_go_to_the_earlier_and_are_not_added_again(rng):
    features, labels = rng.normal(size=(40, 3)), np.arange(40) % 2
    pool = {"first": features, "second": 2 * features, "third": features + 1}
    assert combine(pool, labels).names == ["first"]


def test_each_image_takes_its_most_probable_expert():
    weights = np.array([[0.2, 0.7], [0.5, 0.5], [0.4, 0.1], [0.9, 0.95]])
    assert pick_experts(weights).tolist() == [1, 0, -1, 1]
    assert pick_experts(weights, 0.0).tolist() == [1, 0, 0, 1]
    assert pick_experts(weights, 0.8).tolist() == [-1, -1, -1, 1]


def of(features, baseline=None):
    """Gives experts' features of some images."""
    return lambda e, rows: (baseline if e < 0 else features[e])[rows]


@pytest.mark.parametrize("with_baseline", [True, False])
def test_routing_scores_the_features_of_each_images_expert(rng, with_baseline):
    features = rng.normal(size=(3, 50, 4))
    baseline = rng.normal(size=(50, 4)) if with_baseline else None
    weights = rng.uniform(0, 0.8, (50, 3))
    labels = rng.integers(0, 3, 50)
    mixed = []
    for i, row in enumerate(weights):
        if with_baseline and row.max() < 0.5:
            mixed.append(baseline[i])
        else:
            mixed.append(features[row.argmax(), i])
    expected = brute_correct(np.array(mixed), labels)
    threshold = 0.5 if with_baseline else None
    found = route(of(features, baseline), weights, labels, threshold)
    np.testing.assert_array_equal(found, expected)


def test_routing_everything_to_one_expert_scores_that_expert(rng):
    features = rng.normal(size=(2, 30, 4))
    labels = np.arange(30) % 3
    weights = np.tile([0.1, 0.9], (30, 1))
    expected = leave_one_out_correct(features[1], labels)
    np.testing.assert_array_equal(
        route(of(features), weights, labels, None), expected
    )


def test_routing_by_domain_beats_each_expert(rng):
    labels = np.arange(120) % 4
    domain = labels // 2  # each expert separates the classes of its own
    clear = 10 * np.eye(4)[labels]
    blurred = 10 * np.eye(2)[domain] @ np.array([[1, 1, 0, 0], [0, 0, 1, 1]])
    features = np.stack(
        [np.where((domain == e)[:, None], clear, blurred) for e in (0, 1)]
    ) + 0.1 * rng.normal(size=(2, 120, 4))
    routed = route(of(features), np.eye(2)[domain], labels, None).mean()
    singles = [leave_one_out_correct(f, labels).mean() for f in features]
    assert routed == 1 > max(singles)


@pytest.mark.parametrize(
    ("pool", "options", "message"),
    [
        ({}, {}, r"at least one expert. Received: \[\]"),
        (np.zeros, {}, "at least one expert. Received: None"),
        ({"a": np.zeros((3, 2))}, {}, r"shape \(3, 2\) of 'a'"),
        ({"a": np.zeros(4)}, {}, r"shape \(4,\) of 'a'"),
        ({"a": np.full((4, 1), np.inf)}, {}, "4 NaN or infinite"),
        ({"a": np.zeros((4, 1))}, {"max_experts": 0}, "`max_experts`"),
        ({"a": np.zeros((4, 1))}, {"margin": -0.1}, "`margin`"),
        ({"a": np.zeros((4, 1))}, {"cache_bytes": -1}, "`cache_bytes`"),
    ],
)
def test_wrong_pools_are_refused(pool, options, message):
    with pytest.raises(ValueError, match=message):
        combine(pool, np.array([0, 1, 0, 1]), **options)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (0, r"labels of shape \(\)"),
        ([[0], [1]], r"labels of shape \(2, 1\)"),
        ([0, 1, 1], r"labels of shape \(3,\)"),
        ([], r"labels of shape \(0,\)"),
    ],
)
def test_labels_of_another_shape_are_refused(labels, message):
    with pytest.raises(ValueError, match=message):
        combine({"a": np.zeros((2, 2))}, np.array(labels))


def test_one_example_is_refused():
    with pytest.raises(ValueError, match="for 1 examples"):
        combine({"a": np.zeros((1, 2))}, np.array([0]))


@pytest.mark.parametrize(
    ("weights", "baseline", "message"),
    [
        (np.full((5, 2), 1.5), None, "10 values outside"),
        (np.full((5, 2), np.nan), None, "10 values outside"),
        (np.zeros((5, 0)), None, r"shape \(5, 0\)"),
        (np.eye(5, 2), np.zeros((5, 3)), r"\(1, 4\), not \(1, 3\)"),
    ],
)
def test_wrong_routes_are_refused(weights, baseline, message):
    with pytest.raises(ValueError, match=message):
        features = of(np.zeros((2, 5, 4)), baseline)
        route(features, weights, np.arange(5) % 2)
