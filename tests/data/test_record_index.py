"""Images looked up in TFDS' files, against TFDS itself."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from keras_experts.data import record_index
from keras_experts.data import tfds_reader


def write_set(folder, label, labels, name="drawn", shards=3):
    """Writes a TFDS set of images of one value each, and its labels."""
    import tensorflow_datasets as tfds

    number = len(labels)
    images = np.arange(number, dtype=np.uint8)[:, None, None, None]
    images = np.broadcast_to(images, (number, 4, 4, 3))

    def examples(rows):
        for image, value in zip(images[:rows], labels, strict=False):
            yield {"image": image, "label": value}

    def split(rows):
        return tf.data.Dataset.from_generator(
            lambda: examples(rows),
            output_signature={
                "image": tf.TensorSpec((4, 4, 3), tf.uint8),
                "label": tf.TensorSpec(label.shape, tf.int64),
            },
        )

    tfds.dataset_builders.store_as_tfds_dataset(
        name=name,
        version="1.0.0",
        data_dir=str(folder),
        features=tfds.features.FeaturesDict(
            {"image": tfds.features.Image(shape=(4, 4, 3)), "label": label}
        ),
        split_datasets={"train": split(number), "test": split(4)},
        download_config=tfds.download.DownloadConfig(num_shards=shards),
        disable_shuffling=True,
    )
    return tfds_reader.prepared_builder(name, str(folder))


@pytest.fixture
def drawn(tmp_path):
    import tensorflow_datasets as tfds

    label = tfds.features.ClassLabel(names=["a", "b"])
    return write_set(tmp_path, label, [i % 2 for i in range(60)])


def values(images):
    """The pixel value of each encoded image."""
    return [int(tf.io.decode_image(image)[0, 0, 0]) for image in images]


@pytest.mark.parametrize("name", ["flowers5", "cifar100_wordnet"])
@pytest.mark.parametrize("split", ["test", "train[10:50]"])
def test_images_and_labels_are_those_tfds_reads(data_dir, name, split):
    import tensorflow_datasets as tfds

    builder = tfds_reader.prepared_builder(name, data_dir)
    keys = ["label", "synset"] if name == "cifar100_wordnet" else ["label"]
    index = tfds_reader.index_split(builder, split, tuple(keys))
    read = record_index.RecordReader(index)
    expected = builder.as_dataset(
        split=split,
        decoders={"image": tfds.decode.SkipDecoding()},
        shuffle_files=False,
        read_config=tfds.ReadConfig(interleave_cycle_length=1),
    )
    number = 0
    for place, example in enumerate(expected.as_numpy_iterator()):
        number += 1
        if place % 37 == 0:  # some of the images, all of the labels
            assert read(np.array([place]))[0] == example["image"]
        for key in keys:
            (value,) = index.labels[key].row(place)
            if key in index.texts:
                value = index.texts[key][value].encode()
            assert value == example[key]
    assert number == len(index.offset)


def test_any_image_of_several_shards_is_read(drawn):
    data = tfds_reader.read(drawn, "train")
    indices = np.array([59, 0, 20, 19, 20])
    assert values(data.read(indices)) == indices.tolist()
    part = tfds_reader.read(drawn, "train[15:45]")
    assert values(part.read(np.arange(30))) == list(range(15, 45))
    assert part.labels.tolist() == [i % 2 for i in range(15, 45)]


def test_images_of_several_labels_are_read(tmp_path):
    import tensorflow_datasets as tfds

    names = tfds.features.ClassLabel(names=["a", "b", "c"])
    labels = [[0], [1, 2], [], [0, 1, 2]]
    builder = write_set(
        tmp_path, tfds.features.Sequence(names), labels, shards=1
    )
    rows, found = tfds_reader.read_labels(builder, "train", "label")
    assert found == ["a", "b", "c"]
    assert [rows.row(i).tolist() for i in range(4)] == labels
    assert not tfds_reader.is_single(builder, "label")
    with pytest.raises(ValueError, match="`label` \\(a class\\)"):
        tfds_reader.read(builder, "train")


def test_files_are_looked_into_once(drawn, monkeypatch):
    before = tfds_reader.read(drawn, "train")
    scanned = []
    scan = record_index._scan
    monkeypatch.setattr(
        record_index, "_scan", lambda *a: scanned.append(a) or scan(*a)
    )
    again = tfds_reader.read(drawn, "train")
    np.testing.assert_array_equal(again.labels, before.labels)
    assert not scanned
    path = drawn.info.splits["train"].file_instructions[0].filename
    os.utime(path, ns=(0, 0))  # changed, as far as one can tell
    tfds_reader.read(drawn, "train")
    assert [Path(arguments[0]).name for arguments in scanned] == [
        Path(path).name
    ]


def test_damaged_index_is_made_anew(drawn, monkeypatch, tmp_path):
    cache = tmp_path / "cache"
    monkeypatch.setenv("KERAS_EXPERTS_CACHE", str(cache))
    tfds_reader.read(drawn, "train")
    for path in cache.rglob("*.npz"):
        path.write_bytes(path.read_bytes()[:40])
    data = tfds_reader.read(drawn, "train")
    assert values(data.read(np.array([42]))) == [42]


def test_truncated_file_is_named(drawn):
    path = drawn.info.splits["train"].file_instructions[1].filename
    content = Path(path).read_bytes()
    Path(path).write_bytes(content[:-20])
    with pytest.raises(ValueError, match=f"{Path(path).name}, example 19"):
        tfds_reader.read(drawn, "train")


def test_file_that_gets_shorter_is_named(drawn):
    data = tfds_reader.read(drawn, "train")
    path = drawn.info.splits["train"].file_instructions[0].filename
    os.truncate(path, 100)
    with pytest.raises(OSError, match=f"{Path(path).name}, which got shorter"):
        data.read(np.array([15]))


def test_threads_read_the_same(drawn):
    data = tfds_reader.read(drawn, "train")
    orders = [np.random.default_rng(i).permutation(60) for i in range(8)]
    with ThreadPoolExecutor(8) as pool:
        for order, images in zip(orders, pool.map(data.read, orders)):
            assert values(images) == order.tolist()


def test_unknown_split_and_feature_are_refused(drawn):
    with pytest.raises(ValueError, match="splits.*Received: 'valid'"):
        tfds_reader.read(drawn, "valid")
    with pytest.raises(ValueError, match="features.*Received: 'synset'"):
        tfds_reader.read_labels(drawn, "train", "synset")
