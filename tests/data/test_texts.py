"""Tasks and upstream data of texts."""

import csv
import gzip
import hashlib
import io
import json
import sys
import types

import numpy as np
import pytest
from PIL import Image

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


def test_splits_of_texts_are_known_by_their_usual_names(tmp_path, capfd):
    write_csv(tmp_path / "Training.csv", ROWS[:30])
    write_csv(tmp_path / "dev.csv", ROWS[30:])
    (tmp_path / "photos").mkdir()  # beside it
    task = load_task(tmp_path)
    assert labelled(task.train) == set(ROWS[:30])
    assert labelled(task.test) == set(ROWS[30:])
    assert "dev.csv serves as the missing test split" in capfd.readouterr().err
    write_csv(tmp_path / "TEST.csv", ROWS[:5])
    task = load_task(tmp_path, with_validation=True)
    assert labelled(task.test) == set(ROWS[:5])
    assert labelled(task.validation) == set(ROWS[30:])
    write_csv(tmp_path / "train.csv", ROWS[:5])
    with pytest.raises(ValueError, match="one file of training texts"):
        load_task(tmp_path)


def test_list_of_images_beside_class_folders_is_no_task_of_texts(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (4, 4)).save(tmp_path / name / "a.png")
    (tmp_path / "train.csv").write_text("image,label\ncat/a.png,cat\n")
    assert load_task(tmp_path).class_names == ["cat", "dog"]


def test_bad_rows_are_counted_in_one_line_by_their_reason(tmp_path, capsys):
    path = tmp_path / "t.csv"
    lines = ["text,label", "good one,a", ",a", "   ,b", "no label,", "x"]
    lines += ["nothing,nan", "another,NA"]
    content = "\n".join(lines).encode() + b"\nbad \xff,a\nanother,b\n"
    path.write_bytes(content)
    rows = texts.read_texts(path)
    assert [row.text for row in rows] == [b"good one", b"another"]
    assert [row.row for row in rows] == [1, 9]
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line == (
        f"Read {path}: 2 texts of 2 classes (columns 'text' and 'label', "
        "separated by commas); skipped 7 rows: 2 with an empty text (line 3, "
        "4), 4 with no label (line 5, 6, 7, 8), 1 with bytes that are not "
        "UTF-8 (line 9)"
    )


def test_a_lone_surrogate_of_json_is_no_text(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_text(
        '{"text": "\\ud800", "label": 1}\n{"text": "é", "label": 1}'
    )
    assert [row.text for row in texts.read_texts(path)] == ["é".encode()]


def test_labels_of_one_number_are_one_class_in_all_files(tmp_path):
    write_csv(tmp_path / "train.csv", [("a", "0.0"), ("b", "1"), ("c", "0")])
    rows = [{"text": "d", "label": 0}, {"text": "e", "label": 1.0}]
    lines = map(json.dumps, [*rows, {"text": "f", "label": float("nan")}])
    (tmp_path / "test.jsonl").write_text("\n".join(lines))
    task = load_task(tmp_path)
    assert task.class_names == ["0", "1"]
    assert labelled(task.test) == {("d", "0"), ("e", "1")}


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("t.csv", "words,label\na,b\n", "none among 'words', 'label'"),
        ("t.csv", "text,label\n,a\n", "1 with an empty text .line 2"),
        ("t.csv", "text,label\n", "must have a row"),
        ("t.csv", "text,text,label\na,b,c\n", "several that could be it"),
        ("t.jsonl", '{"text": "a"', "none among no columns"),
        ("t.jsonl", "[1]", "none among no columns"),
        ("t.jsonl", '{"text": "a", "label": 1.5}', "not a text or a whole"),
        ("t.pdf", "%PDF", "CSV, TSV or JSONL.*t.pdf"),
    ],
)
def test_a_file_that_is_none_gets_its_sentence(
    tmp_path, name, content, message
):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        load_task(tmp_path / name)


def test_other_columns_are_read_where_they_are_named(tmp_path):
    rows = [(f"no {number}", text, y) for number, (text, y) in enumerate(ROWS)]
    path = write_csv(tmp_path / "t.csv", rows, ("text", "said", "by"))
    task = load_task(path, text_column="said", label_column="by")
    assert labelled(task.train) | labelled(task.test) == set(ROWS)
    with pytest.raises(ValueError, match="`label_column` must be .*'who' for"):
        load_task(path, label_column="who")


def test_a_folder_mixes_kinds_of_files(tmp_path, capsys):
    write_csv(tmp_path / "Train.CSV", ROWS[:30])
    write_csv(tmp_path / "notes.csv", ROWS[:1])
    lines = [json.dumps({"text": t, "label": n}) for t, n in ROWS[30:]]
    (tmp_path / "test.jsonl").write_text("\n".join(lines))
    task = load_task(tmp_path)
    assert labelled(task.train) == set(ROWS[:30])
    assert labelled(task.test) == set(ROWS[30:])
    said = capsys.readouterr().err
    assert "skipped notes.csv, not named as a split" in said


def test_a_folder_without_a_test_file_holds_out_a_fifth(tmp_path):
    write_csv(tmp_path / "train.csv", ROWS)
    task = load_task(tmp_path)
    assert 0 < task.test.num_examples < 20
    assert labelled(task.train) | labelled(task.test) == set(ROWS)


@pytest.mark.parametrize(
    "names", [["test.csv"], ["reviews.csv"], ["train.csv", "train.tsv"]]
)
def test_a_folder_of_tables_that_is_not_clear_is_refused(tmp_path, names):
    for name in names:
        write_csv(tmp_path / name, ROWS)
    with pytest.raises(ValueError, match=f"one file of training .*{names[0]}"):
        load_task(tmp_path)


ODD = {
    "Upper.CSV": (b"Text,Label\ngood,a\nbad,b\n", "2 texts of 2 classes"),
    "tabs.tsv": (b"sentence\tclass\ngood, so\ta\n", "'sentence' and 'class'"),
    "semicolons.csv": (b"review;sentiment\nfine;1.0\nbad;0\n", "by semicolons"),
    "packed.csv.gz": (gzip.compress(b"text,label\ngood,a\n"), "by commas"),
    "records.json": (
        b'[{"text": "a", "label": true}, {"label": 1}]',
        "no text",
    ),
    "lines.jsonl": (b'{"text": "a", "label": 1}\n{"text": ', "no JSON object"),
    "utf16.csv": ("text,label\nä,b\n".encode("utf-16"), "1 text of 1 class"),
    "latin1.csv": ("text,label\nä,b\nc,d\n".encode("latin-1"), "not UTF-8"),
    "wide.csv": (b"text,label\na,b,c\nd,e\n", "3 fields where the header"),
    "quote.csv": (b'text,label\n"a,b\nc,d\ne,f\n', "a quote that is not"),
    "missing.csv": (b"text,label\na,nan\nb,None\nc,d\n", "2 with no label"),
    "table.txt": (b"text\tlabel\na\tb\n", "separated by tabs"),
}


@pytest.mark.parametrize("name", ODD)
def test_one_line_a_file_says_what_was_read_and_what_was_skipped(
    tmp_path, capsys, name
):
    content, said = ODD[name]
    (tmp_path / name).write_bytes(content)
    assert texts.read_texts(tmp_path / name)
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith(f"Read {tmp_path / name}: ") and said in line


def test_images_and_texts_are_not_read_together(tmp_path):
    task = load_task(write_csv(tmp_path / "t.csv", ROWS))
    images = from_arrays(
        np.zeros((1, 2, 2, 3), np.uint8), np.zeros(1, int), "a"
    )
    with pytest.raises(ValueError, match="Received: images and texts"):
        concatenate([task.train, images])


def test_empty_texts_of_a_tfds_set_are_skipped_and_said_once(tmp_path, capsys):
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
    for num_examples in (100, None):  # as `select` and as `finetune` do
        capsys.readouterr()
        task = load_task("sayings", str(tmp_path), num_examples)
        assert labelled(task.train) == set(ROWS)  # but for the empty text
        assert labelled(task.test) == set(ROWS[:5])
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert "sayings: skipped 2 texts: 2 with an empty text" in line
    assert task.medium == "texts"


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


def test_a_task_comes_from_standard_input(monkeypatch):
    lines = ["text,label", *(f"{text},{label}" for text, label in ROWS)]
    stream = io.BytesIO("\n".join(lines).encode())
    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=stream))
    task = load_task("-")
    assert task.name == "stdin"
    assert labelled(task.train) | labelled(task.test) == set(ROWS)
