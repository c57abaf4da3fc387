import dataclasses
import json
import os
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.neighbors import KNeighborsClassifier

import keras_experts
from keras_experts.data import synthetic
from keras_experts.data.labeled_images import from_arrays
from keras_experts.data.tasks import Task
from keras_experts.data.tasks import load_task
from keras_experts.saved_models import handles
from keras_experts.selection.features import Features
from keras_experts.selection.modules import Candidate
from keras_experts.selection.modules import expand
from keras_experts.selection.pool_strategies import told_of
from keras_experts.selection.racing import Racing
from keras_experts.selection.selector import select
from keras_experts.selection.selector import select_many
from keras_experts.selection.statistics import mean_score
from keras_experts.selection.strategies import Knn
from tests.selection.modules import loop_for_ever
from tests.selection.modules import mean
from tests.selection.modules import save_module


@pytest.fixture(scope="module")
def task():
    return synthetic.digits_task(60)


@pytest.fixture(autouse=True)
def new_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_EXPERTS_CACHE", str(tmp_path / "cache"))


def pixels(size):
    """A module that gives an image's pixels, scaled down."""

    def features(images):
        small = tf.image.resize(images, (size, size), "area")
        return tf.reshape(small, (tf.shape(images)[0], -1))

    return features


def named(name, function, kind=None):
    return Candidate(name, name, kind, 16, function=function)


@pytest.fixture(scope="module")
def pool():
    return [
        named("one", pixels(1)),
        named("baseline", pixels(2), "baseline"),
        named("eight", pixels(8)),
    ]


@pytest.mark.slow
def test_ranking_is_by_leave_one_out_accuracy(collection, task):
    selection = keras_experts.select(task, [collection])
    labels = task.train.labels
    assert len(selection.ranking) == 3
    with Features(task.train) as features:
        for entry in selection.ranking:
            (candidate,) = [
                c for c in expand([collection]) if c.handle == entry.module
            ]
            rows = features.get(candidate, np.arange(60)).astype(np.float64)
            hits = 0
            for i in range(60):
                kept = np.arange(60) != i
                model = KNeighborsClassifier(1, algorithm="brute")
                model.fit(rows[kept], labels[kept])
                hits += model.predict(rows[i : i + 1])[0] == labels[i]
            assert entry.score == hits / 60
    scores = [entry.score for entry in selection.ranking]
    assert scores == sorted(scores, reverse=True)
    assert selection.best is selection.ranking[0]
    assert selection.computed == 180


@pytest.mark.slow
def test_bank_is_ranked_expert_by_expert_in_one_load(
    collection, task, monkeypatch
):
    bank = collection / "acme/experts/bank/1"
    alone = select(task, [collection])
    loaded = []
    load = tf.saved_model.load
    monkeypatch.setattr(
        tf.saved_model, "load", lambda path: loaded.append(path) or load(path)
    )
    inside = select(task, [bank])
    scores = {entry.expert: entry.score for entry in alone.ranking}
    assert {e.expert: e.score for e in inside.ranking} == scores
    assert loaded == [str(bank)]
    assert inside.baseline == f"{bank}#baseline"


def test_equal_scores_go_to_the_baseline_and_then_to_the_first(task):
    pool = [
        named("b", pixels(2)),
        named("a", pixels(2)),
        named("baseline", pixels(2), "baseline"),
    ]
    selection = select(task, pool)
    names = [entry.expert for entry in selection.ranking]
    assert names == ["baseline", "b", "a"]
    assert selection.best.expert == "baseline"


def test_baseline_is_kept_unless_an_expert_leads_by_the_margin(task, pool):
    selection = select(task, pool)
    best, baseline, _ = selection.ranking
    assert (best.expert, baseline.expert) == ("eight", "baseline")
    assert selection.best is best
    lead = best.over_baseline
    assert lead == best.score - baseline.score > 0
    kept = select(task, pool, margin=lead + 1e-9)
    assert kept.best.expert == kept.baseline == "baseline"
    assert kept.ranking[0].expert == "eight"
    assert select(task, pool, margin=lead - 1e-9).best.expert == "eight"


def test_how_sure_the_winner_is_stands_beside_it(task, pool):
    selection = select(task, pool)
    assert sum(entry.chance for entry in selection.ranking) == pytest.approx(1)
    best, _, worst = selection.ranking
    assert best.chance > worst.chance
    assert best.interval[0] < best.score < best.interval[1]
    assert best.over_baseline_error > 0


def test_selection_json_has_its_format(task, pool):
    selection = select(task, pool)
    content = json.loads(json.dumps(selection.to_json()))
    keys = ["task", "num_examples", "strategy", "baseline", "best"]
    assert list(content)[:7] == [*keys, "ranking", "skipped"]
    assert content["baseline"] == "baseline"
    assert content["best"] == "eight"
    keys = ["module", "expert", "score", "standard_error", "seconds"]
    assert list(content["ranking"][0])[:5] == keys


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """One module of each kind of failure."""
    folder = tmp_path_factory.mktemp("broken")
    modules = {
        "nan": save_module(folder / "nan", lambda x: mean(x) / 0.0 * 0.0),
        "rank": save_module(folder / "rank", lambda x: x),
        "constant": save_module(folder / "constant", lambda x: mean(x) * 0.0),
        "endless": save_module(folder / "endless", loop_for_ever),
        "shape": save_module(
            folder / "shape",
            lambda x: x,
            tf.TensorSpec((None, 7), tf.float32),
        ),
        "damaged": str(folder / "damaged"),
        "uncallable": str(folder / "uncallable"),
    }
    (folder / "damaged").mkdir()
    (folder / "damaged" / "saved_model.pb").write_bytes(b"no graph")
    tf.saved_model.save(tf.train.Checkpoint(), modules["uncallable"])
    return modules


REASONS = {
    "nan": "NaN or infinity for 16 of 16",
    "rank": "which gives (16, 224, 224, 3)",
    "constant": "the same for all 60",
    "damaged": "that can be read",
    "shape": "which fails on",
    "uncallable": "must be callable, or have the signature",
}


def test_broken_modules_are_named_and_the_others_ranked(
    pool, broken, task, capsys
):
    modules = [broken[kind] for kind in REASONS]
    selection = select(task, [*modules, *pool])
    assert len(selection.ranking) == len(pool)
    reasons = {row["module"]: row["reason"] for row in selection.skipped}
    assert set(reasons) == set(modules)
    for kind, reason in REASONS.items():
        assert reason in reasons[broken[kind]]
    assert capsys.readouterr().err.count("Left out") == len(modules)


@pytest.mark.slow
def test_module_that_never_ends_is_left_out(broken, task, tmp_path):
    good = save_module(tmp_path / "good", mean)
    selection = select(
        task, [broken["endless"], good], time_limit=6.0, cache=False
    )
    assert [entry.module for entry in selection.ranking] == [good]
    (skipped,) = selection.skipped
    assert "within 6 seconds" in skipped["reason"]


def test_one_broken_expert_of_a_bank_is_left_out_alone(
    collection, task, tmp_path
):
    bank = tmp_path / "bank"
    shutil.copytree(collection / "acme/experts/bank/1", bank)
    metadata = bank / "assets.extra" / "keras_experts.json"
    content = json.loads(metadata.read_text())
    content["experts"].append({**content["experts"][0], "name": "ghost"})
    metadata.write_text(json.dumps(content))
    selection = select(task, [bank])
    assert {e.expert for e in selection.ranking} == {
        *("baseline", "form", "surface")
    }
    (skipped,) = selection.skipped
    assert skipped["module"] == f"{bank}#ghost"


def test_all_modules_broken_is_an_error(broken, task):
    with pytest.raises(ValueError, match="2 that failed, the first because"):
        select(task, [broken["nan"], broken["rank"]])


def test_class_of_one_image_is_named_and_counts_as_wrong(task, pool, capsys):
    labels = np.where(np.arange(60) == 7, 10, task.train.labels)
    names = [*task.class_names, "lonely"]
    train = task.train.subset(np.arange(60))
    object.__setattr__(train, "labels", labels)
    object.__setattr__(train, "class_names", names)
    selection = select(Task("odd", train, task.test), pool)
    told = capsys.readouterr().err
    assert "single training example: lonely" in told
    # Beside the line of the numbers of all classes.
    assert told.count("lonely") == 2
    assert selection.best.score <= 59 / 60


def test_task_of_one_class_is_an_error(task, pool):
    rows = np.flatnonzero(task.train.labels == task.train.labels[0])
    one = Task("one", task.train.subset(rows), task.test)
    with pytest.raises(ValueError, match="at least two classes"):
        select(one, pool)


def test_relabelled_task_needs_no_forward_pass(task, tmp_path):
    module = save_module(tmp_path / "mean", mean)
    select(task, [module])
    train = task.train.subset(np.arange(60))
    object.__setattr__(train, "labels", (task.train.labels + 1) % 10)
    again = select(Task("other", train, task.test), [module])
    assert (again.computed, again.cached) == (0, 60)


def test_several_tasks_share_one_pass(image_folder, task, pool, monkeypatch):
    photos = load_task(image_folder)
    alone = [select(one, pool) for one in (task, photos)]
    calls = []

    def counted(images):
        calls.append(len(images))
        return pixels(8)(images)

    counting = [pool[0], pool[1], named("eight", counted)]
    together = select_many([task, photos], counting)
    for one, other in zip(together, alone, strict=True):
        assert one.task == other.task
        assert {e.expert: e.score for e in one.ranking} == {
            e.expert: e.score for e in other.ranking
        }
    numbers = [task.train.num_examples, photos.train.num_examples]
    assert [s.computed for s in together] == [3 * n for n in numbers]
    assert [s.cached for s in together] == [0, 0]


@pytest.mark.parametrize("racing", ["off", Racing("error")])
def test_first_selection_finds_no_features_in_the_cache(
    task, tmp_path, image_folder, racing
):
    modules = [
        save_module(tmp_path / f"m{i}", lambda x, i=i: mean(x) * (i + 1.0))
        for i in range(2)
    ]
    photos = load_task(image_folder)
    again = 2 * photos.train.num_examples
    for passes in ((120, 0), (0, 120)):
        one, other = select_many([task, photos], modules, racing=racing)
        assert (one.computed, one.cached) == passes
        assert other.computed + other.cached == again
    # The report and combinations read features that this run has computed.
    fresh = select(
        dataclasses.replace(task, train=task.train.take(50)),
        [named("own", pixels(2)), named("other", pixels(4))],
        combining=True,
        report=tmp_path / "report.html",
        racing=racing,
    )
    assert (fresh.computed, fresh.cached) == (100, 0)


def noise(number, rows=60):
    """Returns labels without any relation to images of noise."""
    rng = np.random.default_rng(number)
    pixels = rng.integers(0, 256, (rows, 6, 6, 3)).astype(np.uint8)
    return pixels, rng.integers(0, 2, rows)


def noise_task(copies, contradict=False):
    """A task of noise, each image of which is there `copies` times."""
    images, labels = noise(0)
    images, labels = np.tile(images, (copies, 1, 1, 1)), np.tile(labels, copies)
    if contradict:
        labels[60:] = 1 - labels[60:]
    train = from_arrays(images, labels, ["a", "b"])
    return Task("noise", train, train.take(0))


@pytest.mark.parametrize("strategy", ["knn", "logistic", "svm", "tree"])
@pytest.mark.parametrize("contradict", [False, True])
def test_copies_of_images_do_not_help_each_other(strategy, contradict, pool):
    twice = select(
        noise_task(2, contradict), [pool[2]], strategy, combining=True
    )
    assert twice.num_duplicates == 60
    assert twice.to_json()["num_duplicates"] == 60
    # Of labels by chance 30% to 70% in all but one of a thousand tries.
    assert 0.3 < twice.best.score < 0.7
    assert 0.3 < twice.combination["accuracy"] < 0.7
    assert 0.3 < twice.combination["honest_accuracy"] < 0.7


def test_copies_make_a_score_no_surer(pool):
    once, twice = (select(noise_task(n), [pool[2]]).best for n in (1, 2))
    assert twice.score == once.score
    assert twice.standard_error == pytest.approx(once.standard_error)
    np.testing.assert_allclose(twice.interval, once.interval)


def test_races_heed_copies_too(pool):
    for mode in ("error", "budget"):
        racing = Racing(mode, budget=0.9)
        found = select(noise_task(2), pool, racing=racing)
        assert 0.3 < found.best.score < 0.7


def test_copies_are_named_once(pool, capsys):
    select_many([noise_task(2), noise_task(1), noise_task(2, True)], pool)
    lines = [
        line
        for line in capsys.readouterr().err.splitlines()
        if "exact copies" in line
    ]
    assert len(lines) == 2
    assert "60 exact copies of other images (" in lines[0]
    assert "copies are not each other's neighbors" in lines[0]
    assert lines[1].endswith("labels differ from those of the first: 60")


def test_class_whose_images_are_copies_of_one_is_named(pool, capsys):
    task = noise_task(1)
    rows = np.r_[np.arange(60), [7] * 3]
    train = task.train.subset(rows)
    labels = np.where(rows == 7, 2, train.labels)
    train = dataclasses.replace(
        train, labels=labels, class_names=["a", "b", "lonely"]
    )
    selection = select(Task("odd", train, task.test), pool)
    told = capsys.readouterr().err
    assert "all copies of one: lonely" in told
    # The only line beside that of the numbers of all classes.
    assert told.count("lonely") == 2
    assert selection.num_duplicates == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"margin": float("nan")}, "`margin` must be finite.*Received: nan"),
        ({"margin": float("inf")}, "`margin` must be finite.*Received: inf"),
        ({"num_examples": 1}, "`num_examples` must be .* Received: 1"),
        ({"processes": 0}, "`processes` must be .* Received: 0"),
        ({"time_limit": float("nan")}, "`time_limit` must .* Received: nan"),
    ],
)
def test_numbers_out_of_range_are_refused(task, pool, arguments, message):
    with pytest.raises(ValueError, match=message):
        select(task, pool, **arguments)


def test_module_without_a_score_is_skipped(task, pool):
    class Undefined(Knn):
        def score(self, features, labels, candidate, groups=None):
            if candidate.name == "one":
                return mean_score(np.full(len(labels), np.nan))
            return super().score(features, labels, candidate, groups)

    selection = select(task, pool, Undefined())
    assert [row["module"] for row in selection.skipped] == ["one"]
    assert "Received: nan" in selection.skipped[0]["reason"]
    assert len(selection.ranking) == 2


def test_module_that_must_be_trusted_is_left_out(pool, task, tmp_path):
    def reading(inputs):
        tf.io.matching_files("/*")
        return mean(inputs)

    modules = [*pool, save_module(tmp_path / "reads", reading)]
    selection = select(task, modules)
    (skipped,) = selection.skipped
    assert "MatchingFiles (reads files)" in skipped["reason"]
    assert len(select(task, modules, trust=True).ranking) == len(modules)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"strategy": "best"}, "`strategy` must be one of knn, "),
        ({"racing": "fast"}, "`racing` must be a Racing"),
    ],
)
def test_unknown_ways_are_refused(task, pool, arguments, message):
    with pytest.raises(ValueError, match=message):
        select(task, pool, **arguments)


def test_experts_can_be_better_together(task):
    def half(first):
        return lambda images: pixels(8)(images)[:, first::2][:, :40]

    pool = [
        named("baseline", pixels(1), "baseline"),
        named("even", half(0)),
        named("odd", half(1)),
    ]
    found = select(task, pool, combining=True).combination
    assert found["accuracy"] >= max(
        entry.score for entry in select(task, pool).ranking
    )
    assert found["routed_accuracy"] is None
    assert set(found["experts"]) <= {"baseline", "even", "odd"}


@pytest.mark.parametrize("number", [3, 4])
def test_few_images_are_ranked_and_combined_if_halves_have_neighbours(
    task, number, capsys
):
    places = np.argsort(np.arange(task.train.num_examples) % 20)[:number]
    few = dataclasses.replace(task, train=task.train.subset(places))
    found = select(
        few, [named("baseline", pixels(1), "baseline")], combining=True
    )
    assert len(found.ranking) == 1
    assert (found.combination is None) == (number < 4)
    assert ("Received: 3" in capsys.readouterr().err) == (number < 4)


def test_replaced_module_of_the_same_size_and_time_is_noticed(task, tmp_path):
    """Archives give all files one time; retraining keeps their sizes."""
    place = tmp_path / "module"
    found = []
    for scale in (1.0, 3.0):
        shutil.rmtree(place, ignore_errors=True)
        save_module(place, lambda x, s=scale: mean(x) ** s)
        for path in place.rglob("*"):
            os.utime(path, (0, 0))
        found.append(select(task, [place]).computed)
    assert found == [60, 60]


def test_model_with_a_layer_of_ones_own_is_not_recalled(task):
    class Own(keras.layers.Layer):
        def call(self, x):
            return keras.ops.mean(x, axis=(1, 2)) * 2

    images = keras.Input((8, 8, 3))
    model = keras.Model(images, Own()(images))
    pool = [Candidate("own", "own", None, 8, function=model)]
    assert [select(task, pool).computed for _ in range(2)] == [60, 60]


@pytest.mark.parametrize("size", [0, -5, 2_000_000])
def test_impossible_image_size_is_left_out(task, pool, size):
    odd = Candidate("odd", "odd", None, size, function=pixels(1))
    selection = select(task, [*pool, odd])
    assert len(selection.ranking) == len(pool)
    (row,) = selection.skipped
    assert "must have sides in [1, 4096]" in row["reason"]


def test_features_that_are_no_array_or_of_two_widths_are_left_out(task, pool):
    calls = []

    def sparse(images):
        return tf.sparse.from_dense(tf.reduce_mean(images, axis=(1, 2)))

    def widths(images):
        means = np.asarray(images).mean((1, 2))  # is not traced
        calls.append(1)
        # The first two calls compare one batch in two orders.
        return np.repeat(means, 1 + len(calls) // 3, axis=1)

    odd = [named("sparse", sparse), named("widths", widths)]
    selection = select(task, [*pool, *odd])
    assert len(selection.ranking) == len(pool)
    reasons = {row["module"]: row["reason"] for row in selection.skipped}
    assert "features that are numbers" in reasons["sparse"]
    assert "as many channels for all examples" in reasons["widths"]


def test_cache_that_cannot_be_written_loses_no_module(
    task, baseline_module, monkeypatch
):
    monkeypatch.setenv("KERAS_EXPERTS_CACHE", "/proc/nothing")
    selection = select(task, [baseline_module], cache=False)
    assert selection.skipped == [] and selection.computed == 60


def test_functions_of_two_sizes_in_two_processes_get_their_own_images(task):
    sizes = (8, 12, 16, 20) * 2

    def own_size(size):
        def features(images):
            assert images.shape[1] == size
            return tf.reshape(tf.image.resize(images, (4, 4)), (-1, 48))

        return features

    functions = [
        Candidate(f"{i}", f"{i}", None, size, function=own_size(size))
        for i, size in enumerate(sizes)
    ]
    selection = select(task, functions, processes=2, time_limit=60)
    assert selection.skipped == []
    alone = select(task, functions)
    assert [e.score for e in selection.ranking] == [
        e.score for e in alone.ranking
    ]


def test_leads_are_over_the_baseline_that_is_named(task, pool):
    other = dataclasses.replace(
        named("other", pixels(4)), kind=handles.BASELINE
    )
    selection = select(task, [*pool, other])
    leads = {e.module: e.over_baseline for e in selection.ranking}
    assert selection.baseline == "baseline" and leads["baseline"] is None
    scores = {e.module: e.score for e in selection.ranking}
    for module in ("one", "eight", "other"):
        expected = scores[module] - scores["baseline"]
        assert leads[module] == pytest.approx(expected)


def test_same_module_with_two_sizes_is_refused(task, baseline_module):
    both = [
        Candidate(baseline_module, "baseline", None, size) for size in (8, 16)
    ]
    with pytest.raises(ValueError, match="one size and range alone"):
        select(task, both)


def test_part_of_somebody_s_module_tells_nothing(tmp_path):
    module = save_module(tmp_path / "module", mean)
    assert told_of(Candidate(f"{module}#part", "part")) == {}
