import copy
import json
import pickle
import subprocess
import sys

import joblib
import keras
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import keras_experts
from keras_experts.data.labels import check_labels
from keras_experts.evaluation.prediction import predict
from tests.random_states import unchanged_random_state

IMAGES = np.zeros((2, 4, 4, 3), np.uint8)


@pytest.fixture(scope="module")
def files(image_folder):
    paths = sorted(image_folder.rglob("*.png"))
    return paths, [path.parent.name for path in paths]


@pytest.fixture(scope="module")
def fitted(small_pool, files):
    classifier = keras_experts.ExpertClassifier(
        [small_pool],
        num_images=3200,
        batch_size=16,
        base_learning_rate=50.0,
    )
    with unchanged_random_state():
        return classifier.fit(*files)


def test_classifier_learns_what_can_be_learnt(fitted, files):
    assert fitted.score(*files) == 1.0  # each class has its own colour
    assert fitted.classes_.tolist() == ["cat", "dog", "fish"]
    best = fitted.selection_.best.module
    assert best == fitted.selection_.ranking[0].module


def test_probabilities_are_those_of_the_prediction(fitted, files):
    paths, _ = files
    with unchanged_random_state():
        probabilities = fitted.predict_proba(paths)
    assert probabilities.shape == (30, 3)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    best = fitted.classes_[probabilities.argmax(axis=1)]
    assert best.tolist() == fitted.predict(paths).tolist()


def test_arrays_are_classified_as_their_files(fitted, files):
    from PIL import Image

    paths, _ = files
    arrays = np.stack([np.asarray(Image.open(path)) for path in paths[:9]])
    np.testing.assert_allclose(
        fitted.predict_proba(arrays),
        fitted.predict_proba(paths[:9]),
        atol=1e-5,
    )


PREDICT_ELSEWHERE = """
import pickle, sys
import numpy as np

with open(sys.argv[1], "rb") as file:
    classifier = pickle.load(file)
np.save(sys.argv[2], classifier.predict_proba(sys.argv[3:]))
"""


@pytest.mark.slow
def test_pickle_predicts_the_same_in_another_process(fitted, files, tmp_path):
    paths = [str(path) for path in files[0][:9]]
    (tmp_path / "classifier.pkl").write_bytes(pickle.dumps(fitted))
    arguments = [tmp_path / "classifier.pkl", tmp_path / "found.npy", *paths]
    subprocess.run(
        [sys.executable, "-c", PREDICT_ELSEWHERE, *arguments], check=True
    )
    found = np.load(tmp_path / "found.npy")
    np.testing.assert_array_equal(found, fitted.predict_proba(paths))


def test_copies_predict_the_same(fitted, files, tmp_path):
    joblib.dump(fitted, tmp_path / "classifier.joblib")
    expected = fitted.predict_proba(files[0][:9])
    for other in (
        copy.deepcopy(fitted),
        joblib.load(tmp_path / "classifier.joblib"),
    ):
        found = other.predict_proba(files[0][:9])
        np.testing.assert_array_equal(found, expected)
        assert other.get_params() == fitted.get_params()


def test_saved_classifier_is_what_finetune_writes(fitted, files, tmp_path):
    paths, _ = files
    fitted.save(tmp_path / "saved")
    written = {path.name for path in (tmp_path / "saved").iterdir()}
    assert {"module", "model.keras", "metrics.json", "report.html"} <= written
    rows = predict(tmp_path / "saved", paths[:9])
    assert [row["class"] for row in rows] == list(fitted.predict(paths[:9]))
    with pytest.raises(FileExistsError, match="saved"):
        fitted.save(tmp_path / "saved")


def test_classifier_that_is_not_fitted_is_not_saved(tmp_path):
    with pytest.raises(NotFittedError):
        keras_experts.ExpertClassifier(["builtin"]).save(tmp_path / "saved")


def test_clone_has_the_settings_and_is_not_fitted(fitted, files):
    copy = clone(fitted)
    assert copy.get_params() == fitted.get_params()
    with pytest.raises(NotFittedError):
        copy.predict(files[0])


@pytest.mark.parametrize(
    ("X", "y", "rule"),
    [
        (np.zeros((3, 4, 4, 3), np.uint8), [0, 1], "must have the same length"),
        (["a.png"], ["a", "b"], "Received: 1 files or texts, 2 labels"),
        (np.zeros((2, 4, 4, 3)), [0, 1], "must be uint8"),
        (np.zeros((2, 4, 4, 3), np.uint8), [1, 1], "at least two classes"),
        (IMAGES, [0, np.nan], "`y` must be whole.*float64 with 1 of 2 missing"),
        (IMAGES, ["a", np.nan], "1 of 2 missing.*nan"),
        (IMAGES, ["a", None], "1 of 2 missing.*None"),
        (IMAGES, [0.5, 1.0], "whole numbers or texts. Received: float64"),
        (IMAGES, [[0, 1], [1, 0]], r"`y` must have shape \(n,\).*\(2, 2\)"),
        (IMAGES[0], [0, 1, 0, 1], r"\(4, 4, 3\), which is one image"),
        ("a.png", [0, 1], "Received: 1 files or texts, 2 labels"),
    ],
)
def test_what_does_not_fit_is_refused(small_pool, X, y, rule):
    classifier = keras_experts.ExpertClassifier([small_pool])
    with pytest.raises(ValueError, match=rule):
        classifier.fit(X, y)


@pytest.fixture(scope="module")
def network():
    """A network of images from -1 to 1 that a ReLU makes blind below 0.7."""
    images = keras.Input((None, None, 3))
    bright = keras.layers.ReLU(threshold=0.4)(images)
    features = keras.layers.GlobalAveragePooling2D()(bright)
    return keras.Model(images, features, name="bright")


@pytest.fixture(scope="module")
def head_only(network, files):
    classifier = keras_experts.ExpertClassifier(
        [network],
        num_images=640,
        batch_size=16,
        base_learning_rate=50.0,
        groups=("head",),
        image_size=16,
        input_range=(-1.0, 1.0),
        validation=0.2,
    )
    return classifier.fit(*files)


def test_settings_of_fine_tuning_reach_it(head_only, tmp_path):
    head_only.save(tmp_path / "out")
    metrics = json.loads((tmp_path / "out/metrics.json").read_text())
    assert metrics["groups"] == ["head"]
    assert metrics["image_size"] == 16
    assert metrics["input_range"] == [-1.0, 1.0]
    assert len(metrics["validation"]) == 10
    entry = head_only.selection_.best
    assert (entry.image_size, entry.input_range) == (16, (-1.0, 1.0))


def test_images_of_different_sizes_are_classified_as_their_files(
    head_only, files
):
    from PIL import Image

    paths, labels = files
    arrays = [np.asarray(Image.open(path)) for path in paths]
    arrays[0] = np.repeat(np.repeat(arrays[0], 3, axis=0), 3, axis=1)
    expected = head_only.predict(paths).tolist()
    assert head_only.predict(arrays).tolist() == expected
    copy = clone(head_only).fit(arrays, labels)
    assert copy.score(paths, labels) > 0.9


def test_one_unreadable_file_does_not_fail_the_others(
    head_only, files, tmp_path, capfd
):
    paths, _ = files
    (tmp_path / "broken.png").write_bytes(b"nothing")
    given = [paths[0], tmp_path / "broken.png", tmp_path / "gone.png", paths[1]]
    probabilities = head_only.predict_proba(given)
    assert np.isnan(probabilities[1:3]).all()
    expected = head_only.predict_proba(paths[:2])
    np.testing.assert_allclose(probabilities[[0, 3]], expected, atol=1e-6)
    found = head_only.predict(given).tolist()
    names = head_only.predict(paths[:2]).tolist()
    assert found == [names[0], None, None, names[1]]
    err = capfd.readouterr().err
    assert "broken.png" in err and "gone.png" in err
    with pytest.raises(ValueError, match="At least one image file"):
        head_only.predict(given[1:3])


def test_one_path_and_labels_in_a_column_have_their_obvious_meaning(
    fitted, files
):
    paths, names = files
    assert fitted.predict(str(paths[0])).tolist() == names[:1]
    assert fitted.predict(paths[0]).tolist() == names[:1]
    labels = check_labels(np.array(names)[:, None], "`y`")
    assert labels.tolist() == names


def test_images_held_out_are_of_all_classes_though_they_come_sorted(
    head_only, files
):
    paths, labels = files
    assert labels == sorted(labels)
    classifier = clone(head_only).set_params(validation=1 / 3)
    assert classifier.fit(paths, labels).score(paths, labels) > 0.9
