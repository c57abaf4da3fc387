"""Modules and tasks of one name are told apart where they are shown."""

import pytest

from keras_experts.selection.modules import Candidate
from keras_experts.selection.modules import expand
from keras_experts.selection.names import tell_apart
from keras_experts.selection.selector import select_many


@pytest.mark.parametrize(
    "places, expected",
    [
        (["/x/a/acme/b/1", "/x/c/acme/b/1"], ["m (a)", "m (c)"]),
        (["a/m.keras", "b/m.keras"], ["m (a)", "m (b)"]),
        (["a/x", "a/y", "b/x"], ["m (a/x)", "m (a/y)", "m (b/x)"]),
        (["c/m/1", "c/bank/1#m"], ["m (m)", "m (bank)"]),
        (["", ""], ["m (1)", "m (2)"]),
        (["same", "same"], ["m (1)", "m (2)"]),
    ],
)
def test_one_name_of_several_gets_what_they_differ_by(places, expected):
    assert tell_apart(["m"] * len(places), places) == expected


def test_a_name_of_its_own_stays():
    names = ["a", "b", "b"]
    assert tell_apart(names, ["x", "y", "z"]) == ["a", "b (y)", "b (z)"]


def test_modules_of_two_collections_have_names_of_their_own(tmp_path):
    for folder in ("animals", "plants"):
        (tmp_path / folder / "module").mkdir(parents=True)
        (tmp_path / folder / "module" / "saved_model.pb").touch()
    modules = [
        Candidate(str(tmp_path / folder / "module"), "module")
        for folder in ("animals", "plants")
    ]
    names = [candidate.name for candidate in expand(modules)]
    assert names == ["module (animals)", "module (plants)"]


def test_two_tasks_of_one_name_are_told_apart(text_files, tmp_path):
    def lengths(texts):
        import tensorflow as tf

        return tf.cast(tf.strings.length(texts), tf.float32)[:, None]

    content = (text_files / "task.csv").read_text()
    for folder in ("old", "new"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "reviews.csv").write_text(content)
    tasks = [tmp_path / folder / "reviews.csv" for folder in ("old", "new")]
    selections = select_many(tasks, [lengths], cache=False)
    names = [selection.task for selection in selections]
    assert names == ["reviews (old)", "reviews (new)"]
