"""Tasks and upstream data of texts."""

import csv
import hashlib
import json

import numpy as np
import pytest

from keras_experts.data import texts
from keras_experts.data.labeled_images import concatenate
from keras_experts.data.labeled_images import from_arrays
from keras_experts.data.tasks import load_task
from keras_experts.data.text_upstream import text_upstream
from keras_experts.data.upstream_sources import count_labels

ROWS = [(f"the {number}th text", "ab"[number % 2]) for number in range(40)]


def write_csv(path, rows, columns=("text", "label")):
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])
    return path


def contents(images):
    read = images.read(np.arange(images.num_examples))
    return [text.decode() for text in read]


def labelled(images):
    names = [images.class_names[label] for label in images.labels]
    return set(zip(contents(images), names, strict=True))


def test_a_fifth_by_the_hash_is_held_out_and_no_text_is_lost(tmp_path):
    task = load_task(write_csv(tmp_path / "t.csv", ROWS))
    assert labelled(task.train) | labelled(task.test) == set(ROWS)
    limit = int(0.2 * 2**64)
    for text, _ in ROWS:
        digest = hashlib.sha256(text.encode()).digest()
        is_test = int.from_bytes(digest[-8:], "big") < limit
        assert (text in contents(task.test)) == is_test
    assert task.medium == "texts"


def test_csv_and_jsonl_of_the_same_rows_are_the_same_task(tmp_path):
    lines = [json.dumps({"text": t, "label": n, "id": 1}) for t, n in ROWS]
    (tmp_path / "t.jsonl").write_text("\n".join(lines) + "\n\n")
    first = load_task(write_csv(tmp_path / "t.csv", ROWS))
    second = load_task(tmp_path / "t.jsonl")
    assert contents(first.train) == contents(second.train)
    assert labelled(first.test) == labelled(second.test)


def test_a_folder_with_train_and_test_files_keeps_its_sides(tmp_path):
    write_csv(tmp_path / "train.csv", ROWS[:30])
    write_csv(tmp_path / "test.csv", [*ROWS[30:], ("new", "c")])
    task = load_task(tmp_path)
    assert labelled(task.train) == set(ROWS[:30])
    assert labelled(task.test) == {*ROWS[30:], ("new", "c")}
    assert task.class_names == ["a", "b", "c"]
    assert load_task(tmp_path, num_examples=7).train.num_examples == 7


def test_bad_rows_are_named_by_their_line_and_left_out(tmp_path, capsys):
    path = tmp_path / "t.csv"
    lines = ["text,label", "good one,a", ",a", "   ,b", "no label,", "x"]
    content = "\n".join(lines).encode() + b"\nbad \xff,a\nanother,b\n"
    path.write_bytes(content)
    rows = texts.read_texts(path)
    assert [row.text for row in rows] == [b"good one", b"another"]
    said = capsys.readouterr().err
    for line, reason in (
        (3, "an empty text"),
        (4, "an empty text"),
        (5, "no label"),
        (6, "no label"),
        (7, "bytes that are no UTF-8"),
    ):
        assert f"line {line}: {reason}" in said.replace("\n", "")


def test_a_lone_surrogate_of_json_is_no_text(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_text(
        '{"text": "\\ud800", "label": 1}\n{"text": "é", "label": 1}'
    )
    assert [row.text for row in texts.read_texts(path)] == ["é".encode()]


def test_a_very_long_document_is_one_text(tmp_path):
    long = "word, " * 200_000
    path = write_csv(tmp_path / "t.csv", [(long, "a"), ("short", "b")])
    limit = csv.field_size_limit()
    assert texts.read_texts(path)[0].text.decode() == long
    assert csv.field_size_limit() == limit


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("t.csv", "words,label\na,b\n", "columns text,label"),
        ("t.csv", "text,label\n,a\n", "none .an empty text"),
        ("t.csv", "text,label\n", "it has no row"),
        ("t.jsonl", '{"text": "a"', "line 1: '{"),
        ("t.jsonl", "[1]", "must be a JSON object"),
        ("t.jsonl", '{"text": "a", "label": 1.5}', "no label"),
    ],
)
def test_a_file_that_is_none_gets_its_sentence(
    tmp_path, name, content, message
):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        load_task(tmp_path / name)


def test_images_and_texts_are_not_read_together(tmp_path):
    task = load_task(write_csv(tmp_path / "t.csv", ROWS))
    images = from_arrays(
        np.zeros((1, 2, 2, 3), np.uint8), np.zeros(1, int), "a"
    )
    with pytest.raises(ValueError, match="Received: images and texts"):
        concatenate([task.train, images])


def test_a_tfds_set_of_texts_is_a_task(tmp_path, monkeypatch):
    import tensorflow_datasets as tfds

    class Sayings(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            features = {
                "label": tfds.features.ClassLabel(names=["a", "b"]),
                "text": tfds.features.Text(),
            }
            features = tfds.features.FeaturesDict(features)
            return self.dataset_info_from_configs(features=features)

        def _split_generators(self, _):
            return {"train": self._rows(ROWS), "test": self._rows(ROWS[:5])}

        def _generate_examples(self):
            raise NotImplementedError

        def _rows(self, rows):
            for text, label in (*rows, ("", "a")):
                yield text, {"text": text, "label": label}

    Sayings(data_dir=tmp_path).download_and_prepare()
    task = load_task("sayings", str(tmp_path), num_examples=100)
    assert labelled(task.train) == set(ROWS)  # but for the empty text
    assert task.medium == "texts" and task.test.num_examples == 6


def test_upstream_texts_are_routed_by_their_nodes(tmp_path):
    (tmp_path / "h.txt").write_text("animal dog\nanimal cat\nthing animal\n")
    rows = [
        ("barks", "dog"),
        ("meows", "cat"),
        ("both", "cat dog"),
        ("x", "thing"),
    ]
    path = str(write_csv(tmp_path / "t.csv", rows))
    data = text_upstream(path, str(tmp_path / "h.txt"), test_texts=path)
    assert data.classes == ["cat", "dog", "thing"]
    assert data.train.labels.tolist() == [1, 0, -1, 2]
    of_animals, of_dogs = data.slices(data.train, ["animal", "dog"])
    assert (of_animals.tolist(), of_dogs.tolist()) == ([0, 1, 2], [0, 2])
    targets = data.targets(data.train, "sigmoid")(np.arange(4))
    outputs = data.outputs("sigmoid")
    assert outputs == ["cat", "dog", "thing", "animal"]
    assert targets.tolist() == [
        [0, 1, 1, 1],
        [1, 0, 1, 1],
        [1, 1, 1, 1],
        [0, 0, 1, 0],
    ]


def test_labels_are_counted_of_the_texts_that_are_trained_on(tmp_path):
    rows = [(f"text {number}", "dog cat") for number in range(30)]
    path = str(write_csv(tmp_path / "t.csv", rows))
    (tmp_path / "h.txt").write_text("animal dog\nanimal cat\n")
    data = text_upstream(path, str(tmp_path / "h.txt"))
    assert 0 < data.test.num_examples < 30
    counted = count_labels(path, "label", None)
    assert counted == {("cat", "dog"): data.train.num_examples}
