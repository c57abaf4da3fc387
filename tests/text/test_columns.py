"""Columns by name, and labels however they are written."""

import pytest

from keras_experts.text import columns


@pytest.mark.parametrize(
    "names, expected",
    [
        (["id", "text", "review"], "text"),  # the plain name wins
        (["id", " Review ", "stars"], " Review "),
        (["Sentence", "label"], "Sentence"),
    ],
)
def test_usual_names_of_texts_are_found(names, expected):
    assert columns.find_text(names, None, "a.csv") == expected


@pytest.mark.parametrize("name", ["Label", " label", "sentiment", "category"])
def test_usual_names_of_labels_are_found(name):
    assert columns.find_label(["text", name], None, "a.csv") == name


def test_a_column_that_was_asked_for_wins_over_usual_names():
    names = ["text", "title", "label"]
    assert columns.find_text(names, "title", "a.csv") == "title"


@pytest.mark.parametrize(
    "names, asked, message",
    [
        (["words", "label"], None, "none among 'words', 'label'"),
        (["review", "body"], None, "several that could be it among"),
        (["text", "Text"], None, "several that could be it"),
        (["text", "text"], "text", "several that could be it"),
        (["text"], "words", "`text_column` must be a column .*'words' for a"),
    ],
)
def test_a_column_that_is_not_clear_is_refused(names, asked, message):
    with pytest.raises(ValueError, match=message):
        columns.find_text(names, asked, "a.csv")


def test_a_number_is_one_class_however_it_is_written():
    assert {columns.label_of(v) for v in (0, 0.0, -0.0, "0", "0.0", " 0 ")} == {
        "0"
    }
    assert columns.label_of("-3.00") == columns.label_of(-3.0) == "-3"


def test_codes_that_only_look_like_numbers_stay_as_they_are():
    assert [columns.label_of(v) for v in ("007", "1.5", "v1.0", "1e3")] == [
        *("007", "1.5", "v1.0", "1e3")
    ]


def test_booleans_are_classes():
    assert [columns.label_of(v) for v in (True, False)] == ["True", "False"]


@pytest.mark.parametrize(
    "value", [None, float("nan"), "nan", "None", "NA", " "]
)
def test_missing_labels_are_missing(value):
    assert columns.label_of(value) is None


@pytest.mark.parametrize("value", [1.5, ["a"], {}, float("inf")])
def test_what_is_no_label_is_refused(value):
    with pytest.raises(ValueError, match="not a text or a whole number"):
        columns.label_of(value)
