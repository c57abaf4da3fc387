"""ExpertClassifier on texts, in every form that strings come in."""

import pickle

import numpy as np
import pytest

from keras_experts.data import texts
from keras_experts.evaluation.expert_classifier import ExpertClassifier
from keras_experts.evaluation.expert_classifier import _to_examples
from keras_experts.evaluation.prediction import predict

STRINGS = ["a text", "", "über.txt", "line\nbreak"]


class Series:
    """What pandas gives, as far as it is used here."""

    def __init__(self, values):
        self._values = values

    def __len__(self):
        return len(self._values)

    def to_numpy(self):
        return np.array(self._values, object)


@pytest.mark.parametrize(
    "X",
    [
        STRINGS,
        tuple(STRINGS),
        np.array(STRINGS),
        np.array(STRINGS, object),
        np.array(STRINGS)[:, None],
        Series(STRINGS),
    ],
    ids=lambda X: type(X).__name__,
)
def test_strings_in_any_container_are_texts(X):
    examples = _to_examples(X, np.zeros(4, int), ["a"])
    assert examples.medium == "texts"
    contents = examples.read(np.arange(4)).tolist()
    assert [text.decode() for text in contents] == STRINGS


def test_strings_that_name_image_files_stay_files(image_folder):
    paths = [str(path) for path in sorted(image_folder.rglob("*.png"))]
    labels = np.zeros(len(paths), int)
    assert _to_examples(paths, labels, ["a"]).medium == "images"
    with pytest.raises(FileNotFoundError):
        _to_examples(["missing.JPG"], labels[:1], ["a"])


def test_what_is_no_string_is_named():
    with pytest.raises(ValueError, match="Received: nan at index 1"):
        _to_examples(["a", float("nan")], np.zeros(2, int), ["a"])


@pytest.mark.slow
def test_texts_are_fitted_predicted_pickled_and_saved(
    text_collection, text_files, tmp_path
):
    rows = texts.read_texts(text_files / "task.csv")
    strings = [row.text.decode() for row in rows]
    labels = [row.label for row in rows]
    classifier = ExpertClassifier(
        [text_collection / "acme/experts/animal-full/1"],
        num_images=800,
        batch_size=16,
        base_learning_rate=8.0,
    )
    classifier.fit([*strings, " "], [*labels, "cat"])
    assert classifier.score(strings, labels) > 0.5  # of four classes
    odds = classifier.predict_proba([*strings[:3], ""])
    assert odds.shape == (4, 4)
    copy = pickle.loads(pickle.dumps(classifier))
    np.testing.assert_allclose(copy.predict_proba(strings[:3]), odds[:3])
    classifier.save(tmp_path / "saved")
    saved = predict(tmp_path / "saved", [text_files / "task.csv"])
    found = [list(row["probabilities"].values()) for row in saved[:3]]
    np.testing.assert_allclose(found, odds[:3], atol=1e-6)
    with pytest.raises(ValueError, match="`X` must be texts, as in `fit`"):
        classifier.predict(np.zeros((2, 8, 8, 3), np.uint8))
