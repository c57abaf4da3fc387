"""Images and labels of TFDS sets, against TFDS itself."""

import json

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from keras_experts.data import tfds_reader
from keras_experts.data.record_index import RecordReader

SEVERAL = [[0], [1, 2], [], [0, 1, 2], [], [2], [1], [], [0, 2]]
TWO = tfds.features.ClassLabel(names=["a", "b"])


def values(images):
    """The pixel value of each encoded image."""
    return [int(tf.io.decode_image(image)[0, 0, 0]) for image in images]


def by_tfds(builder, split, **options):
    """What TFDS gives, in the order of the files."""
    return builder.as_dataset(
        split=split,
        shuffle_files=False,
        read_config=tfds.ReadConfig(interleave_cycle_length=1),
        **options,
    ).as_numpy_iterator()


@pytest.mark.parametrize("name", ["flowers5", "cifar100_wordnet"])
@pytest.mark.parametrize("split", ["test", "train[10:50]", "train[99%:]"])
def test_images_and_labels_are_those_tfds_reads(data_dir, name, split):
    builder = tfds_reader.prepared_builder(name, data_dir)
    keys = ["label", "synset"] if name == "cifar100_wordnet" else ["label"]
    index = tfds_reader.index_split(builder, split, tuple(keys))
    images = RecordReader(index)(np.arange(len(index.offset)))
    skip = {"image": tfds.decode.SkipDecoding()}
    expected = list(by_tfds(builder, split, decoders=skip))
    assert list(images) == [example["image"] for example in expected]
    for key in keys:
        found = index.labels[key].values.tolist()
        if key in index.texts:
            found = [index.texts[key][place].encode() for place in found]
        assert found == [example[key] for example in expected]
        assert (index.labels[key].lengths == 1).all()


@pytest.mark.parametrize("split", ["train", "train[15:45]", "train[:7]+test"])
def test_splits_of_several_shards_are_those_of_tfds(write_set, split):
    builder = write_set(TWO, [i % 2 for i in range(60)])
    assert len(builder.info.splits["train"].file_instructions) == 3
    data = tfds_reader.read(builder, split)
    expected = list(by_tfds(builder, split))
    pixels = [int(example["image"][0, 0, 0]) for example in expected]
    assert values(data.read(np.arange(data.num_examples))) == pixels
    assert data.labels.tolist() == [example["label"] for example in expected]
    assert data.class_names == ["a", "b"]
    backwards = np.arange(data.num_examples)[::-1]
    assert values(data.read(backwards)) == pixels[::-1]


def test_whole_splits_are_added_too(write_set):
    builder = write_set(TWO, [0, 1] * 5)
    data = tfds_reader.read(builder, "test+train")
    expected = [
        int(e["image"][0, 0, 0]) for e in by_tfds(builder, "test+train")
    ]
    assert values(data.read(np.arange(data.num_examples))) == expected


@pytest.mark.parametrize("kind", ["classes", "texts"])
@pytest.mark.parametrize("split", ["train", "train[2:8]", "train[4:5]"])
def test_images_of_several_labels_are_those_of_tfds(write_set, kind, split):
    one = tfds.features.Text()
    labels = [["abc"[label] * (label + 1) for label in row] for row in SEVERAL]
    if kind == "classes":
        one, labels = tfds.features.ClassLabel(names=["a", "b", "c"]), SEVERAL
    builder = write_set(tfds.features.Sequence(one), labels)
    assert not tfds_reader.is_single(builder, "label")
    rows, names = tfds_reader.read_labels(builder, split, "label")
    found = [[names[i] for i in rows.row(place)] for place in range(len(rows))]
    expected = [example["label"] for example in by_tfds(builder, split)]
    if kind == "classes":
        assert names == ["a", "b", "c"]
        assert found == [[names[i] for i in row] for row in expected]
    else:
        assert found == [[t.decode() for t in row] for row in expected]
    with pytest.raises(ValueError, match=r"`label` \(a class\)"):
        tfds_reader.read(builder, split)


def test_unknown_split_and_feature_are_refused(write_set):
    builder = write_set(TWO, [0, 1, 0, 1])
    with pytest.raises(ValueError, match="splits.*Received: 'valid'"):
        tfds_reader.read(builder, "valid")
    with pytest.raises(ValueError, match="splits.*Received: 'train.valid'"):
        tfds_reader.read(builder, "train+valid")
    with pytest.raises(ValueError, match="features.*Received: 'synset'"):
        tfds_reader.read_labels(builder, "train", "synset")


def test_split_without_images_is_refused(write_set):
    builder = write_set(TWO, [0, 1, 0, 1])
    with pytest.raises(ValueError, match=r"must hold images.*'train\[:0\]'"):
        tfds_reader.read(builder, "train[:0]")


def test_images_without_a_class_are_refused(write_set):
    # So TFDS writes the labels of a test set that are secret.
    builder = write_set(TWO, [0, 1, 0, 1, -1, 0])
    assert tfds_reader.read(builder, "train[:4]").num_examples == 4
    for read in (
        tfds_reader.read,
        lambda b, s: tfds_reader.read_labels(b, s, "label"),
    ):
        with pytest.raises(
            ValueError, match="Received: -1 in 'train' of drawn"
        ):
            read(builder, "train")


@pytest.mark.parametrize("key", ["image", "width", "mean"])
def test_features_that_are_no_labels_are_refused(write_set, key):
    builder = write_set(
        TWO,
        [0, 1, 0, 1],
        width=tfds.features.Scalar(tf.int64),
        mean=tfds.features.Scalar(tf.float32),
    )
    with pytest.raises(ValueError, match=f"a class or a text.*'{key}'"):
        tfds_reader.read_labels(builder, "train", key)


def test_sets_that_are_not_there_are_named(write_set, tmp_path):
    with pytest.raises(FileNotFoundError, match="'nothing_like_it'"):
        tfds_reader.prepared_builder("nothing_like_it", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="'mnist', not prepared"):
        tfds_reader.prepared_builder("mnist", str(tmp_path))


def test_other_formats_of_files_are_refused(write_set):
    builder = write_set(TWO, [0, 1, 0, 1])
    path = builder.data_path / "dataset_info.json"
    info = json.loads(path.read_text())
    path.write_text(json.dumps(info | {"fileFormat": "riegeli"}))
    with pytest.raises(ValueError, match="TFRecords.*riegeli"):
        tfds_reader.prepared_builder("drawn", str(builder.data_path.parents[1]))
