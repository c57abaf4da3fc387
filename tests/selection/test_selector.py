import json

import numpy as np
import pytest
import tensorflow as tf
from sklearn.neighbors import KNeighborsClassifier

import keras_experts
from keras_experts.data import synthetic
from keras_experts.data.tasks import load_task
from keras_experts.selection.embeddings import embed
from keras_experts.selection.modules import expand

SPEC = tf.TensorSpec((None, None, None, 3), tf.float32)


def save_module(path, function):
    """Saves a function of images as a module anybody could have made."""
    root = tf.train.Checkpoint()
    root.__call__ = tf.function(function, input_signature=[SPEC])
    tf.saved_model.save(root, str(path))
    return str(path)


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """One module of each kind of failure."""
    folder = tmp_path_factory.mktemp("broken")

    def mean(x):
        return tf.reduce_mean(x, axis=(1, 2))

    modules = {
        "nan": save_module(folder / "nan", lambda x: mean(x) / 0.0 * 0.0),
        "rank": save_module(folder / "rank", lambda x: x),
        "constant": save_module(folder / "constant", lambda x: mean(x) * 0.0),
    }
    (folder / "damaged").mkdir()
    (folder / "damaged" / "saved_model.pb").write_bytes(b"no graph")
    modules["damaged"] = str(folder / "damaged")
    root = tf.train.Checkpoint()
    root.__call__ = tf.function(
        lambda x: x, input_signature=[tf.TensorSpec((None, 7), tf.float32)]
    )
    tf.saved_model.save(root, str(folder / "shape"))
    modules["shape"] = str(folder / "shape")
    tf.saved_model.save(tf.train.Checkpoint(), str(folder / "uncallable"))
    modules["uncallable"] = str(folder / "uncallable")
    return modules


@pytest.fixture(scope="module")
def task():
    return synthetic.digits_task(60)


def test_ranking_is_by_leave_one_out_accuracy(collection, task):
    selection = keras_experts.select(task, [collection], num_examples=60)
    labels = task.train.labels
    assert len(selection.ranking) == 3
    for entry in selection.ranking:
        features = embed(entry.module, task.train)
        hits = 0
        for i in range(60):
            kept = np.arange(60) != i
            model = KNeighborsClassifier(1, algorithm="brute")
            model.fit(features[kept].astype(np.float64), labels[kept])
            row = features[i : i + 1].astype(np.float64)
            hits += model.predict(row)[0] == labels[i]
        assert entry.score == hits / 60
    scores = [entry.score for entry in selection.ranking]
    assert scores == sorted(scores, reverse=True)
    assert selection.best is selection.ranking[0]


def test_equal_scores_go_to_the_baseline_and_then_to_the_first(
    collection, monkeypatch, task
):
    monkeypatch.setattr(
        "keras_experts.selection.selector.leave_one_out_correct",
        lambda features, labels: np.ones(60, bool),
    )
    experts = collection / "acme" / "experts"
    modules = [experts / name / "1" for name in ("surface", "form", "baseline")]
    selection = keras_experts.select(task, modules, num_examples=60)
    names = [entry.expert for entry in selection.ranking]
    assert names == ["baseline", "surface", "form"]


def test_selection_json_has_its_format(baseline_module, task):
    selection = keras_experts.select(task, [baseline_module], num_examples=60)
    content = json.loads(json.dumps(selection.to_json()))
    keys = ["task", "num_examples", "strategy", "baseline", "best"]
    assert list(content) == [*keys, "ranking", "skipped"]
    assert content["baseline"] == content["best"] == baseline_module
    keys = ["module", "expert", "score", "standard_error", "seconds"]
    assert list(content["ranking"][0]) == keys


def test_features_are_the_source_model_s(run_dir, baseline_module, task):
    from keras_experts.data.preprocessing import resize
    from keras_experts.models import heads
    from keras_experts.models import run_folder

    classifier, _ = run_folder.load_baseline(run_dir)
    model = heads.image_features(heads.backbone_of(classifier))
    images = [
        resize(tf.constant(image), 24)
        for image in task.train.read(np.arange(60))
    ]
    np.testing.assert_allclose(
        embed(baseline_module, task.train), model(tf.stack(images)), atol=1e-5
    )


def test_compiled_features_are_the_same(monkeypatch, baseline_module, task):
    plain = embed(baseline_module, task.train)
    name = "keras_experts.selection.embeddings.COMPILE_PIXELS"
    monkeypatch.setattr(name, 0)
    np.testing.assert_allclose(
        embed(baseline_module, task.train), plain, atol=1e-5
    )


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("nan", "NaN or infinity for 60 of 60"),
        ("rank", r"which gives \(60, 224, 224, 3\)"),
        ("constant", "the same for all 60"),
        ("damaged", "that can be read"),
        ("shape", "which fails on"),
        ("uncallable", "whose root is not callable"),
    ],
)
def test_broken_module_is_named_and_the_others_ranked(
    baseline_module, broken, task, kind, reason
):
    modules = [broken[kind], baseline_module]
    selection = keras_experts.select(task, modules, num_examples=60)
    assert [entry.module for entry in selection.ranking] == [baseline_module]
    (skipped,) = selection.skipped
    assert skipped["module"] == broken[kind]
    with pytest.raises(ValueError, match=reason):
        raise ValueError(skipped["reason"])


def test_all_modules_broken_is_an_error(broken, task):
    with pytest.raises(ValueError, match="2 that failed, the first because"):
        keras_experts.select(
            task, [broken["nan"], broken["rank"]], num_examples=60
        )


def test_pool_file_names_modules(baseline_module, collection, tmp_path):
    pool = tmp_path / "pool.txt"
    pool.write_text(f"# ours\n{baseline_module}  # the baseline\n\n")
    assert [c.handle for c in expand([pool])] == [baseline_module]
    # What is named twice is there once.
    assert len(expand([pool, collection])) == 3


def test_pool_file_names_experts_of_a_bank(collection, tmp_path):
    bank = collection / "acme/experts/bank/1"
    pool = tmp_path / "pool.txt"
    pool.write_text(f"  # ours\n{bank}#form\n{bank}#surface\t# the other\n")
    found = [(c.handle, c.name) for c in expand([pool])]
    assert found == [(f"{bank}#form", "form"), (f"{bank}#surface", "surface")]


@pytest.mark.parametrize(
    ("name", "message"),
    [("nothing", "does not exist"), ("empty", "which is neither")],
)
def test_wrong_pool_is_refused(tmp_path, name, message):
    (tmp_path / "empty").mkdir()
    with pytest.raises((FileNotFoundError, ValueError), match=message):
        expand([tmp_path / name])


def test_pool_of_itself_is_refused(tmp_path):
    pool = tmp_path / "pool.txt"
    pool.write_text("pool.txt\n")
    with pytest.raises(ValueError, match="must not name itself"):
        expand([pool])


def test_class_of_one_image_is_named(baseline_module, image_folder, tmp_path):
    (tmp_path / "t" / "train").mkdir(parents=True)
    (tmp_path / "t" / "test").symlink_to(image_folder)
    for name in ("cat", "dog", "fish"):
        (tmp_path / "t" / "train" / name).mkdir()
        files = sorted((image_folder / name).iterdir())
        for file in files[: 1 if name == "fish" else 3]:
            (tmp_path / "t" / "train" / name / file.name).symlink_to(file)
    task = load_task(tmp_path / "t")
    with pytest.raises(ValueError, match=r"at least 2 .* fish \(1\)"):
        keras_experts.select(task, [baseline_module])


def test_bank_is_ranked_expert_by_expert(collection, image_folder):
    bank = collection / "acme/experts/bank/1"
    alone = keras_experts.select(image_folder, [collection], num_examples=24)
    inside = keras_experts.select(image_folder, [bank], num_examples=24)
    scores = {entry.expert: entry.score for entry in alone.ranking}
    assert {e.expert: e.score for e in inside.ranking} == scores
    assert set(scores) == {"baseline", "form", "surface"}
    assert inside.baseline == f"{bank}#baseline"
    (one,) = keras_experts.select(
        image_folder, [f"{bank}#form"], num_examples=24
    ).ranking
    assert (one.module, one.expert) == (f"{bank}#form", "form")


def test_published_experts_are_a_pool():
    handles = [
        candidate.handle
        for candidate in expand(["google_experts_bit_r50x1_in21k"])
    ]
    assert len(set(handles)) == 49
    assert handles[0] == "https://tfhub.dev/google/bit/m-r50x1/1"
    start = "https://tfhub.dev/google/experts/bit/r50x1/in21k/"
    assert all(handle.startswith(start) for handle in handles[1:])
    with pytest.raises(FileNotFoundError, match="'no_such_pool', which does"):
        expand(["no_such_pool"])


def test_module_that_must_be_trusted_is_left_out(
    baseline_module, image_folder, tmp_path
):
    root = tf.train.Checkpoint()

    @tf.function(input_signature=[tf.TensorSpec((None, None, None, 3))])
    def call(inputs):
        tf.io.matching_files("/*")
        return tf.reduce_mean(inputs, (1, 2))

    root.__call__ = call
    tf.saved_model.save(root, str(tmp_path / "reads"))
    modules = [baseline_module, str(tmp_path / "reads")]
    selection = keras_experts.select(image_folder, modules, num_examples=24)
    (skipped,) = selection.skipped
    assert "MatchingFiles (reads files)" in skipped["reason"]
    trusted = keras_experts.select(
        image_folder, modules, num_examples=24, trust=True
    )
    assert len(trusted.ranking) == 2
