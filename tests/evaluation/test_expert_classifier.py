import copy
import pickle
import subprocess
import sys

import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import keras_experts
from keras_experts.evaluation.prediction import predict


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
    return classifier.fit(*files)


def test_classifier_learns_what_can_be_learnt(fitted, files):
    assert fitted.score(*files) == 1.0  # each class has its own colour
    assert fitted.classes_.tolist() == ["cat", "dog", "fish"]
    best = fitted.selection_.best.module
    assert best == fitted.selection_.ranking[0].module


def test_probabilities_are_those_of_the_prediction(fitted, files):
    paths, _ = files
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
        (["a.png"], ["a", "b"], "Received: 1 files, 2 labels"),
        (np.zeros((2, 4, 4, 3)), [0, 1], "must be uint8"),
        (np.zeros((2, 4, 4, 3), np.uint8), [1, 1], "at least two classes"),
    ],
)
def test_what_does_not_fit_is_refused(small_pool, X, y, rule):
    classifier = keras_experts.ExpertClassifier([small_pool])
    with pytest.raises(ValueError, match=rule):
        classifier.fit(X, y)
