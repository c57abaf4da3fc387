import hashlib
import os
import re
import shutil

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_experts.data import synthetic
from keras_experts.data.labeled_images import LabeledImages
from keras_experts.data.labeled_images import from_arrays
from keras_experts.data.preprocessing import resize
from keras_experts.data.splits import split_by_hash
from keras_experts.data.tasks import Task
from keras_experts.data.tasks import load_task
from keras_experts.data.tasks import say_unseen


def contents(images):
    read = images.read(np.arange(images.num_examples))
    return list(zip(read, images.labels.tolist(), strict=True))


def test_folder_is_split_by_content(image_folder):
    task = load_task(image_folder)
    assert task.class_names == ["cat", "dog", "fish"]
    assert task.train.num_examples + task.test.num_examples == 30
    train = {content for content, _ in contents(task.train)}
    assert not train & {content for content, _ in contents(task.test)}


def test_home_folder_is_expanded_in_the_path_of_a_task(
    image_folder, monkeypatch
):
    monkeypatch.setenv("HOME", str(image_folder.parent))
    assert load_task(f"~/{image_folder.name}").class_names[0] == "cat"


def test_file_keeps_its_side_when_others_are_added():
    few = [str(i).encode() for i in range(50)]
    many = [str(i).encode() for i in range(500)]
    sides = [{many[i] for i in split_by_hash(c)[1]} for c in (few, many)]
    assert sides[0] == sides[1] & set(few)
    assert 60 < len(sides[1]) < 140  # a fifth


def test_first_images_of_a_folder_are_of_all_classes(image_folder):
    labels = load_task(image_folder, num_examples=12).train.labels
    assert len(labels) == 12
    assert set(labels) == {0, 1, 2}


def test_train_and_test_folders_are_taken(image_folder, tmp_path):
    (tmp_path / "train").symlink_to(image_folder)
    (tmp_path / "test").symlink_to(image_folder)
    task = load_task(tmp_path)
    assert task.train.num_examples == task.test.num_examples == 30


def test_folder_of_a_class_whose_name_is_not_utf8_is_refused(tmp_path):
    (tmp_path / "cat").mkdir()
    os.mkdir(os.fsencode(tmp_path) + b"/caf\xe9")
    message = rf"valid UTF-8; rename it. Received: {tmp_path}/caf\\udce9."
    with pytest.raises(ValueError, match=message):
        load_task(tmp_path)
    os.mkdir(os.fsencode(tmp_path) + b"/caf\xe9/a")
    with pytest.raises(ValueError, match="valid UTF-8"):
        load_task(tmp_path / "caf\udce9")


def test_names_of_a_task_must_be_utf8(rng):
    images = from_arrays(
        rng.integers(0, 255, (2, 4, 4, 3), np.uint8), [0, 1], ["a", "b\udce9"]
    )
    with pytest.raises(ValueError, match=r"a class must be.*: b\\udce9"):
        Task("name", images, images)


@pytest.fixture
def photos(image_folder, tmp_path):
    """A copy of the folder of images, to damage."""
    return shutil.copytree(image_folder, tmp_path / "photos")


def damage(path):
    path.write_bytes(path.read_bytes()[:60])


@pytest.mark.parametrize("number", [1, 5, 9])
def test_unreadable_files_are_skipped_and_named_in_one_line(
    photos, capfd, number
):
    for path in sorted((photos / "dog").iterdir())[:number]:
        damage(path)
    task = load_task(photos)
    assert task.train.num_examples + task.test.num_examples == 30 - number
    labels = np.concatenate([task.train.labels, task.test.labels])
    assert np.bincount(labels).tolist() == [10, 10 - number, 10]
    (line,) = capfd.readouterr().err.splitlines()
    plural = "s" * (number > 1)
    assert line.startswith(
        f"photos: {30 - number} images in 3 classes; skipped {number} "
        f"file{plural}: {number} unreadable image{plural} (dog/0.png: image "
        "file is truncated"
    )
    assert line.count("dog/") == min(number, 5)
    assert line.endswith("; and 4 more)" if number == 9 else "truncated)")


def test_class_of_damaged_files_alone_is_refused(photos):
    for path in (photos / "dog").iterdir():
        damage(path)
    with pytest.raises(ValueError, match="can be read.*dog with none.*0.png"):
        load_task(photos)


def test_all_that_is_skipped_is_told_in_one_line(odd_folder, capfd):
    task = load_task(odd_folder)
    assert task.class_names == ["cat", "dog", "fish"]
    labels = np.concatenate([task.train.labels, task.test.labels])
    assert np.bincount(labels).tolist() == [10, 16, 10]
    (line,) = capfd.readouterr().err.splitlines()
    kept, _, skipped = line.partition("; skipped ")
    assert kept == "photos: 36 images in 3 classes"
    total, _, reasons = skipped.partition(": ")
    assert total == "14 files and 6 folders"
    assert sorted(re.split(r", (?=\d+ )", reasons)) == [
        "1 image outside the class folders (loose.png)",
        "1 repeated folder (dog/round)",
        "2 broken links (dog/nowhere.png; dog/self.png)",
        "3 not images (clip.mp4; dog/notes.txt; dog/pipe.png)",
        "4 system files",
        "4 unreadable images (dog/e.png: image file is truncated; dog/f.jpg: "
        "an empty file; dog/g.heic: HEIC or similar, which must be converted "
        "first; dog/h.nef: a raw photo, which must be converted first)",
        "5 system folders",
    ]


def test_nothing_is_said_where_nothing_is_skipped(image_folder, capfd):
    load_task(image_folder)
    assert capfd.readouterr().err == ""


def test_file_that_becomes_a_png_keeps_its_side(photos):
    digests = {}
    for number, path in enumerate(sorted(photos.rglob("*.png"))):
        target = path.with_suffix(".tiff")
        Image.open(path).save(target)
        path.unlink()
        digest = hashlib.sha256(target.read_bytes()).digest()
        digests[str(target)] = digest
    task = load_task(photos)
    for images, is_test in ((task.train, False), (task.test, True)):
        names = [images.name(index) for index in range(images.num_examples)]
        found = [digests.pop(name) for name in names]
        assert found == sorted(found)
        shares = [int.from_bytes(d[-8:], "big") / 2**64 for d in found]
        assert all((share < 0.2) == is_test for share in shares)
    assert not digests


def test_arrays_of_a_file_are_a_task(tmp_path, rng):
    images = rng.integers(0, 256, (40, 8, 8)).astype(np.uint8)
    labels = np.tile([3, 7], 20)
    np.savez(tmp_path / "t.npz", images=images, labels=labels)
    task = load_task(tmp_path / "t.npz")
    assert task.class_names == ["3", "7"]
    originals = {image.tobytes(): label for image, label in zip(images, labels)}
    for image, label in contents(task.train) + contents(task.test):
        assert originals[image[..., 0].tobytes()] == (3, 7)[label]


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (["fish", "cat"], ["cat", "fish"]),
        (np.array(["öl", "ähre"], object).astype("U"), ["ähre", "öl"]),
        (["öl".encode(), b"cat"], ["cat", "öl"]),
        ([True, False], ["False", "True"]),
        ([10.0, 2.0], ["2", "10"]),
        (np.array([2**63, 3], np.uint64), ["3", str(2**63)]),
        ([5, -1], ["-1", "5"]),
    ],
)
def test_labels_of_every_kind_are_classes(tmp_path, rng, labels, names):
    images = rng.integers(0, 256, (40, 4, 4, 3)).astype(np.uint8)
    labels = np.tile(labels, 20)
    np.savez(tmp_path / "t.npz", images=images, labels=labels)
    task = load_task(tmp_path / "t.npz")
    assert task.class_names == names
    first = {image.tobytes() for image in images[::2]}
    for image, label in contents(task.train) + contents(task.test):
        is_first = image.tobytes() in first
        order = [1, 0] if labels[0] > labels[1] else [0, 1]
        assert label == order[0 if is_first else 1]


@pytest.mark.parametrize(
    ("labels", "what"),
    [
        ([0.5, 1.0], "float64"),
        ([np.nan, 1.0], "float64"),
        ([np.inf, 1.0], "float64"),
        ([1j, 1.0], "complex128"),
        ([b"\xff", b"a"], r"\|S1"),
        (np.array(["2020", "2021"], "M8[Y]"), "datetime64"),
    ],
)
def test_labels_that_are_no_classes_are_refused(tmp_path, labels, what):
    images = np.zeros((2, 4, 4), np.uint8)
    np.savez(tmp_path / "t.npz", images=images, labels=np.array(labels))
    with pytest.raises(ValueError, match=f"whole numbers or texts.*{what}"):
        load_task(tmp_path / "t.npz")


def test_labels_in_a_column_are_one_label_per_image(tmp_path, rng):
    images = rng.integers(0, 256, (40, 4, 4)).astype(np.uint8)
    labels = np.arange(40) % 2
    for name, array in (("row", labels), ("column", labels[:, None])):
        np.savez(tmp_path / f"{name}.npz", images=images, labels=array)
    row, column = (
        load_task(tmp_path / f"{name}.npz") for name in ("row", "column")
    )
    assert row.class_names == column.class_names
    np.testing.assert_array_equal(row.train.labels, column.train.labels)


@pytest.mark.parametrize("task", [None, ["photos"], 3])
def test_what_is_no_task_is_refused(task):
    with pytest.raises(ValueError, match="task must be a TFDS name.*Received"):
        load_task(task)


@pytest.mark.parametrize(
    "labels", [[0, 1], np.array([0, np.nan]), np.array([[0], [1]])]
)
def test_labels_of_a_set_are_whole_numbers_in_one_row(labels):
    images = np.zeros((2, 4, 4, 3), np.uint8)
    with pytest.raises(ValueError, match=r"whole numbers, shape \(n,\)"):
        LabeledImages(images.__getitem__, labels, ["a", "b"])


@pytest.mark.parametrize("key", ["images", "labels"])
def test_arrays_of_objects_are_refused(tmp_path, key):
    arrays = {"images": np.zeros((2, 4, 4), np.uint8), "labels": np.arange(2)}
    arrays[key] = np.array([{"a": 1}, None], object)
    np.savez(tmp_path / "t.npz", **arrays)
    with pytest.raises(ValueError, match="without pickles.*t.npz"):
        load_task(tmp_path / "t.npz")


def test_images_of_true_and_false_are_white_and_black(tmp_path):
    images = np.zeros((20, 4, 4), bool)
    images[:, :2] = True
    np.savez(tmp_path / "t.npz", images=images, labels=np.arange(20) % 2)
    for image, _ in contents(load_task(tmp_path / "t.npz").train):
        expected = np.repeat(images[0][..., None] * 255, 3, axis=-1)
        np.testing.assert_array_equal(image, expected)


def test_one_class_is_refused_and_single_images_are_told(tmp_path, rng):
    images = rng.integers(0, 256, (40, 4, 4)).astype(np.uint8)
    np.savez(tmp_path / "t.npz", images=images, labels=[7] * 40)
    task = load_task(tmp_path / "t.npz")
    with pytest.raises(ValueError, match=r"two classes.*t with \['7'\]"):
        task.check_classes(task.train.labels)
    np.savez(tmp_path / "t.npz", images=images, labels=[7] * 20 + [8] * 20)
    task = load_task(tmp_path / "t.npz")
    assert task.check_classes(np.array([0, 0, 1, 0])) == ["8"]
    assert task.check_classes(np.array([0, 0, 1, 1])) == []


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((4, 8, 8, 3)), np.zeros(4, int), "must be uint8"),
        (np.zeros((4, 8), np.uint8), np.zeros(4, int), "must have shape"),
        (np.zeros((4, 8, 8), np.uint8), np.zeros(3, int), "same length"),
    ],
)
def test_wrong_arrays_are_refused(tmp_path, images, labels, message):
    np.savez(tmp_path / "t.npz", images=images, labels=labels)
    with pytest.raises(ValueError, match=message):
        load_task(tmp_path / "t.npz")


def test_image_keeps_its_pixels_and_its_range(image_folder):
    path = next(image_folder.rglob("*.png"))
    pixels = np.asarray(Image.open(path).resize((10, 10)).convert("RGB"))
    Image.fromarray(pixels).save(image_folder.parent / "square.png")
    content = (image_folder.parent / "square.png").read_bytes()
    image = resize(tf.constant(content), 10).numpy()
    np.testing.assert_array_equal(image, pixels.astype(np.float32) / 255)


def test_scaling_is_bilinear(rng):
    pixels = rng.integers(0, 256, (4, 4, 3)).astype(np.uint8)
    image = resize(tf.constant(pixels), 2).numpy()
    # Half size: each pixel is the mean of four.
    expected = pixels.reshape(2, 2, 2, 2, 3).mean(axis=(1, 3)) / 255
    np.testing.assert_allclose(image, expected, atol=1e-6)


def test_rendered_sets_follow_from_the_seed():
    sets = [synthetic.count_task(5, 5, 12, seed) for seed in (0, 0, 1)]
    first, again, other = (
        np.stack([image for image, _ in contents(task.train)]) for task in sets
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_rendered_hierarchy_has_three_levels_and_twenty_classes():
    hierarchy = synthetic.make_hierarchy()
    assert len(synthetic.CLASSES) >= 20
    depths = [len(hierarchy.ancestors(name)) for name in synthetic.CLASSES]
    assert min(depths) >= 3


def test_real_sets_are_read(data_dir):
    task = load_task("flowers5", data_dir, 50)
    assert (task.train.num_examples, task.test.num_examples) == (50, 1079)
    assert len(task.class_names) == 5


def test_first_images_of_many_shards_are_those_of_the_first(tmp_path):
    import tensorflow_datasets as tfds

    images = np.arange(200, dtype=np.uint8)[:, None, None, None]
    images = np.broadcast_to(images, (200, 4, 4, 3))

    def split(number):
        columns = {"image": images[:number], "label": np.arange(number) % 2}
        return tf.data.Dataset.from_tensor_slices(columns)

    tfds.dataset_builders.store_as_tfds_dataset(
        name="many",
        version="1.0.0",
        data_dir=str(tmp_path),
        features=tfds.features.FeaturesDict(
            {
                "image": tfds.features.Image(shape=(4, 4, 3)),
                "label": tfds.features.ClassLabel(names=["a", "b"]),
            }
        ),
        split_datasets={"train": split(200), "test": split(4)},
        download_config=tfds.download.DownloadConfig(num_shards=4),
        disable_shuffling=True,
    )
    assert len(list(tmp_path.rglob("many-train*"))) == 4
    task = load_task("many", str(tmp_path), 60)
    pixels = [
        int(resize(tf.constant(image), 4)[0, 0, 0] * 255 + 0.5)
        for image, _ in contents(task.train)
    ]
    assert pixels == list(range(60))


def test_texts_of_a_tfds_set_are_classes(write_set, tmp_path):
    import tensorflow_datasets as tfds

    # The test split holds the first four images.
    labels = ["owl", "öl", "cat", "owl", *["cat", "dog"] * 3]
    write_set(tfds.features.Text(), labels, "texts")
    task = load_task("texts", str(tmp_path), 100)
    assert task.class_names == ["cat", "dog", "owl", "öl"]
    assert task.test.class_names == task.class_names
    for images, expected in ((task.train, labels), (task.test, labels[:4])):
        found = [images.class_names[label] for label in images.labels]
        assert found == expected
    few = load_task("texts", str(tmp_path), 2)
    assert few.class_names == ["cat", "owl", "öl"]
    assert few.train.labels.tolist() == [1, 2]


@pytest.fixture
def classes():
    import tensorflow_datasets as tfds

    return tfds.features.ClassLabel(names=["b", "a"])


@pytest.mark.parametrize("folder", ["drawn/1.0.0", "drawn", "."])
def test_folder_of_a_prepared_tfds_set_is_the_set(
    write_set, classes, tmp_path, folder
):
    write_set(classes, [0, 1] * 6)
    expected = load_task("drawn", str(tmp_path))
    task = load_task(tmp_path / folder)
    assert task.name == "drawn"
    assert task.class_names == ["b", "a"]
    assert contents(task.train) == contents(expected.train)
    assert contents(task.test) == contents(expected.test)


def test_newest_version_of_a_tfds_folder_counts(write_set, classes, tmp_path):
    for number, version in enumerate(("9.0.0", "10.0.0")):
        write_set(classes, [0, 1] * (3 + number), version=version)
    assert load_task(tmp_path / "drawn").train.num_examples == 8


def test_folder_of_several_tfds_sets_explains_the_data_dir(
    write_set, classes, tmp_path
):
    for name in ("drawn", "painted"):
        write_set(classes, [0, 1] * 6, name)
    with pytest.raises(ValueError, match="holds drawn, painted") as error:
        load_task(tmp_path)
    assert f"--task drawn --data_dir {tmp_path}" in str(error.value)


def test_tfds_set_without_a_test_split_holds_out_a_fifth(
    write_set, classes, tmp_path
):
    write_set(classes, [0, 1] * 10, others=())
    whole = contents(load_task("drawn", str(tmp_path), None).train)
    task = load_task("drawn", str(tmp_path))
    assert (task.train.num_examples, task.test.num_examples) == (16, 4)
    assert contents(task.train) == whole
    few = load_task("drawn", str(tmp_path), 6)
    assert contents(few.train) == whole[:6]
    assert contents(few.test) == contents(task.test)


def test_validation_split_of_a_tfds_set_is_used_as_that_of_a_folder(
    write_set, classes, tmp_path, capfd
):
    write_set(classes, [0, 1] * 6, others=("validation",))
    write_set(classes, [0, 1] * 6, "whole", others=("validation", "test"))
    capfd.readouterr()
    task = load_task("drawn", str(tmp_path))
    assert (task.train.num_examples, task.test.num_examples) == (12, 4)
    assert (
        "validation serves as the missing test split" in capfd.readouterr().err
    )
    task = load_task("whole", str(tmp_path), with_validation=True)
    assert task.validation.num_examples == task.test.num_examples == 4


@pytest.mark.parametrize("task", ["photos", "/data/photos", "data/photos"])
def test_missing_folder_is_named(task):
    with pytest.raises(FileNotFoundError, match=f"Received: '{task}', which"):
        load_task(task)


def test_damaged_images_of_a_tfds_set_are_left_out(write_set, tmp_path, capfd):
    import tensorflow_datasets as tfds

    classes = tfds.features.ClassLabel(names=["b", "a"])
    builder = write_set(classes, [0, 1] * 6, "harmed", shards=1)
    (path,) = map(str, builder.data_path.glob("*train*"))
    records = list(tf.data.TFRecordDataset(path).as_numpy_iterator())
    with tf.io.TFRecordWriter(path) as writer:
        for number, record in enumerate(records):
            example = tf.train.Example.FromString(record)
            image = example.features.feature["image"].bytes_list
            if number in (3, 8):
                image.value[0] = image.value[0][:50]
            writer.write(example.SerializeToString())
    capfd.readouterr()  # what TFDS says when it writes
    task = load_task("harmed", str(tmp_path), 10)
    assert task.class_names == ["b", "a"]
    assert task.train.labels.tolist() == [0, 1, 0, 0, 1, 0, 1, 1]
    found = [
        int(tf.io.decode_image(image)[0, 0, 0])
        for image, _ in contents(task.train)
    ]
    assert found == [0, 1, 2, 4, 5, 6, 7, 9]
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(
        "harmed: 8 training images; skipped 2 images: 2 unreadable images "
        f"(image 3 at {path} "
    )
    assert "; image 8 at " in line


def test_classes_without_an_image_to_learn_from_are_named(capfd):
    images = np.zeros((6, 4, 4, 3), np.uint8)
    names = ["ant", "bee", "cow"]
    train = from_arrays(images[:4], np.array([0, 1, 1, 0]), names)
    test = from_arrays(images, np.array([2, 0, 1, 2, 2, 0]), names)
    say_unseen(Task("animals", train, test))
    assert capfd.readouterr().err == (
        "animals: 3 of the 6 images to test on are of classes without one "
        "to learn from: cow\n"
    )
    say_unseen(Task("animals", train, train))
    assert capfd.readouterr().err == ""
