"""Files of records, looked into once."""

import os
import resource
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from keras_experts.data import record_index
from keras_experts.data.label_rows import LabelRows

LABELS = [[0], [1, 2], [], [7], [], [3, 3, 0]]


def feature(values):
    if values and isinstance(values[0], bytes):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))


def record(**features):
    """An example, as TFDS writes it."""
    columns = {key: feature(values) for key, values in features.items()}
    example = tf.train.Example(features=tf.train.Features(feature=columns))
    return example.SerializeToString()


def write(path, records):
    with tf.io.TFRecordWriter(str(path)) as writer:
        for one in records:
            writer.write(one)
    return str(path)


@pytest.fixture(autouse=True)
def no_index_yet(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_EXPERTS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def paths(tmp_path):
    """Two files of six images; no image is as long as another."""
    return [
        write(
            tmp_path / f"part{part}",
            [
                record(image=[content(6 * part + i)], label=row)
                for i, row in enumerate(LABELS)
            ],
        )
        for part in (0, 1)
    ]


def content(number):
    return bytes([65 + number]) * (10 + number)


def look(paths, **options):
    parts = options.get("parts", [(0, None)] * len(paths))
    return record_index.index_files(paths, "image", ["label"], parts)


def lists(rows):
    return [rows.row(index).tolist() for index in range(len(rows))]


def test_any_image_is_read_with_its_labels(paths):
    index = look(paths)
    read = record_index.RecordReader(index)
    order = [11, 0, 6, 5, 5, 2]
    assert list(read(np.array(order))) == [content(i) for i in order]
    assert lists(index.labels["label"]) == LABELS + LABELS
    assert index.texts == {}


@pytest.mark.parametrize(
    "parts",
    [
        [(0, 2), (0, None)],
        [(4, None), (1, 2)],
        [(2, 1), (2, 1)],
        [(6, None), (3, 3)],
    ],
)
def test_parts_of_files_are_what_slices_of_lists_are(paths, parts):
    index = look(paths, parts=parts)
    numbers = [
        6 * file + place
        for file, (skip, take) in enumerate(parts)
        for place in list(range(6))[skip:][:take]
    ]
    read = record_index.RecordReader(index)
    found = read(np.arange(len(numbers)))
    assert list(found) == [content(number) for number in numbers]
    assert lists(index.labels["label"]) == [LABELS[n % 6] for n in numbers]


def test_texts_of_files_are_places_in_one_list(tmp_path):
    rows = [["dog"], [], ["poodle", "cat"], [], [], ["zoë"], ["cat"]]
    records = [
        record(image=[b"x"], label=[text.encode() for text in row])
        for row in rows
    ]
    # Of different width, and in the middle one without any.
    paths = [
        write(tmp_path / str(first), records[first:last])
        for first, last in ((0, 3), (3, 5), (5, 7))
    ]
    index = look(paths)
    texts = index.texts["label"]
    assert texts == ["cat", "dog", "poodle", "zoë"]
    found = lists(index.labels["label"])
    assert [[texts[place] for place in row] for row in found] == rows


def test_labels_alone_are_read_without_images(tmp_path):
    path = write(tmp_path / "a", [record(label=[3]), record(label=[4, 5])])
    index = record_index.index_files([path], None, ["label"], [(0, None)])
    assert lists(index.labels["label"]) == [[3], [4, 5]]


def test_files_are_looked_into_once(paths, monkeypatch):
    before = look(paths)
    scanned, scan = [], record_index._scan
    monkeypatch.setattr(
        record_index, "_scan", lambda *a: scanned.append(a[0]) or scan(*a)
    )
    again = look(paths)
    assert not scanned
    np.testing.assert_array_equal(again.offset, before.offset)
    assert lists(again.labels["label"]) == lists(before.labels["label"])
    os.utime(paths[1], ns=(0, 0))  # changed, as far as one can tell
    look(paths)
    assert scanned == [paths[1]]


def test_changed_file_is_read_as_it_is_now(paths, tmp_path):
    look(paths)
    write(paths[0], [record(image=[b"new"], label=[9])])
    index = look(paths)
    read = record_index.RecordReader(index)
    assert list(read(np.array([0, 1]))) == [b"new", content(6)]
    assert lists(index.labels["label"])[0] == [9]


@pytest.mark.parametrize("kept", [0, 40, -60])
def test_damaged_index_is_made_anew(paths, tmp_path, kept):
    look(paths)
    cached = list((tmp_path / "cache").rglob("*.npz"))
    assert len(cached) == 2
    for path in cached:
        path.write_bytes(path.read_bytes()[:kept])
    index = look(paths)
    read = record_index.RecordReader(index)
    assert list(read(np.array([8]))) == [content(8)]
    assert all(path.stat().st_size > 100 for path in cached)


def test_truncated_file_is_named(paths):
    os.truncate(paths[1], os.path.getsize(paths[1]) - 3)
    with pytest.raises(ValueError, match=f"{paths[1]}, example 5 "):
        look(paths)


def test_flipped_bit_is_found(paths):
    damaged = bytearray(Path(paths[0]).read_bytes())
    damaged[damaged.index(content(2))] ^= 1
    Path(paths[0]).write_bytes(damaged)
    with pytest.raises(ValueError, match=f"{paths[0]}, example 2 "):
        look(paths)


@pytest.mark.parametrize(
    "wrong",
    [
        record(image=[b"x"], label=[b"\xff\xfe"]),  # no UTF-8
        record(image=[b"x"]),
        record(label=[b"dog"]),
        record(image=[b"x", b"y"], label=[b"dog"]),
        b"no example at all",
    ],
    ids=["no text", "no label", "no image", "two images", "no example"],
)
def test_wrong_example_is_named(tmp_path, wrong):
    good = record(image=[b"x"], label=[b"dog"])
    path = write(tmp_path / "a", [good, wrong, good])
    with pytest.raises(ValueError, match=f"{path}, example 1 "):
        look([path])


def test_missing_file_is_named(tmp_path):
    with pytest.raises(OSError, match="nothing"):
        look([str(tmp_path / "nothing")])


def test_file_that_gets_shorter_is_named(paths):
    read = record_index.RecordReader(look(paths))
    os.truncate(paths[0], 100)
    with pytest.raises(OSError, match=f"{paths[0]}, which got shorter"):
        read(np.array([8, 5]))


def test_threads_read_the_same(paths):
    read = record_index.RecordReader(look(paths))
    orders = [np.random.default_rng(i).permutation(12) for i in range(40)]
    with ThreadPoolExecutor(8) as pool:
        for order, images in zip(orders, pool.map(read, orders), strict=True):
            assert list(images) == [content(number) for number in order]


def test_more_files_are_read_than_may_be_open(tmp_path):
    number = 400
    paths = [str(tmp_path / f"file{i}") for i in range(number)]
    for i, path in enumerate(paths):
        Path(path).write_bytes(b"%03d" % i)
    index = record_index.RecordIndex(
        paths,
        np.arange(number, dtype=np.int32),
        np.zeros(number, np.int64),
        np.full(number, 3, np.int32),
        {"label": LabelRows.single(np.zeros(number))},
        {},
    )
    read = record_index.RecordReader(index)
    highest = os.open(os.devnull, os.O_RDONLY)
    os.close(highest)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 200, before[1]))
    try:
        for _ in range(2):
            images = read(np.arange(number))
            assert list(images) == [b"%03d" % i for i in range(number)]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
