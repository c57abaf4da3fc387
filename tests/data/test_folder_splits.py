import itertools

import numpy as np
import pytest
from PIL import Image

from keras_experts.data.tasks import load_task


@pytest.fixture
def draw(tmp_path):
    """A function that writes three images into each of some folders."""
    rng = np.random.default_rng(0)

    def write(*folders):
        for folder, number in itertools.product(folders, range(3)):
            path = tmp_path / "photos" / folder / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = rng.integers(0, 256, (4, 4, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(path)
        return tmp_path / "photos"

    return write


def classes_of(*splits):
    return [f"{split}/{name}" for split in splits for name in ("cat", "dog")]


def folder_of(images):
    """The split folders that images come from."""
    names = map(images.name, range(images.num_examples))
    return {name.split("/photos/")[1].split("/")[0] for name in names}


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("train", "test"),
        ("Train", "Test"),
        ("TRAINING", "TESTING"),
        ("training", "test"),
        ("train", "val"),
        ("train", "Valid"),
        ("train", "validation"),
        ("Train", "dev"),
    ],
)
def test_splits_are_known_by_their_usual_names(draw, train, test):
    task = load_task(draw(*classes_of(train, test)))
    assert task.class_names == ["cat", "dog"]
    assert folder_of(task.train) == {train}
    assert folder_of(task.test) == {test}
    assert task.train.num_examples == task.test.num_examples == 6
    assert task.validation is None


def test_validation_split_is_the_test_split_where_there_is_no_other(
    draw, capfd
):
    load_task(draw(*classes_of("train", "val")))
    assert capfd.readouterr().err == (
        "photos: the split val serves as the missing test split\n"
    )


def test_validation_split_beside_a_test_split_is_read_if_wanted(draw, capfd):
    photos = draw(*classes_of("train", "val", "test"))
    task = load_task(photos)
    assert task.validation is None and folder_of(task.test) == {"test"}
    (line,) = capfd.readouterr().err.splitlines()
    assert "val is used by `finetune` with `--validation` only" in line
    task = load_task(photos, with_validation=True)
    assert folder_of(task.validation) == {"val"}
    assert folder_of(task.train) == {"train"}
    assert capfd.readouterr().err == ""


def test_a_fifth_of_a_training_split_alone_is_held_out(draw):
    folders = [f"train/{name}/{i}" for name in "ab" for i in range(10)]
    task = load_task(draw(*folders))
    assert task.class_names == ["a", "b"]
    assert 4 < task.test.num_examples < 22


def test_unlabeled_test_images_are_not_used_and_said_so(draw, capfd):
    task = load_task(draw(*classes_of("train"), "test"))
    assert task.class_names == ["cat", "dog"]
    assert folder_of(task.test) <= {"train"}
    assert capfd.readouterr().err == (
        "photos: test/ is not used: it has images outside class folders\n"
    )


def test_classes_may_have_the_names_of_splits(draw, capfd):
    task = load_task(draw("car", "plane", "train"))
    assert task.class_names == ["car", "plane", "train"]
    assert capfd.readouterr().err == (
        "photos: train/ is read as a class, not as a split, beside the other "
        "folders of images\n"
    )


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (
            classes_of("train", "training"),
            "one train split.*photos with train and training",
        ),
        (
            classes_of("train", "val", "dev", "test"),
            "one validation split.*photos with dev and val",
        ),
        ([*classes_of("train"), "cat"], "not both.*train/ beside cat/"),
        (
            [*classes_of("train", "test"), "owl/a"],
            "not both.*test/, train/ beside owl/",
        ),
        (["train", "test"], "test/, train/, which have images outside class"),
        (["train", "test/cat"], "test/, train/, of which test/ has.*no train/"),
        (classes_of("val", "test"), "test/, val/ has class folders.*no train/"),
        ([*classes_of("test"), "cat"], "cat/, test/, of which test/.*no train"),
        (
            ["cat/train", "cat/test", "dog/train", "dog/test"],
            "train/ and test/, with one sub-folder per class.*test/, train/ "
            "inside cat/, dog/",
        ),
        (
            [*classes_of("train"), "test/owl"],
            "classes of test/ must be among.*owl/",
        ),
    ],
)
def test_unclear_splits_are_refused_with_what_was_found(draw, folders, message):
    with pytest.raises(ValueError, match=message) as error:
        load_task(draw(*folders))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("folders", "pass_instead"),
    [
        (["holiday/cat", "holiday/dog"], "holiday"),
        (["a/b/cat", "a/b/dog"], "a/b"),
        (classes_of("data/train", "data/test"), "data"),
    ],
)
def test_nested_layout_names_the_folder_to_pass_instead(
    draw, folders, pass_instead
):
    photos = draw(*folders)
    with pytest.raises(ValueError, match="one sub-folder of images per") as e:
        load_task(photos)
    assert f"pass {photos / pass_instead}." in str(e.value)
    load_task(photos / pass_instead)


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (["cat"], r"at least two classes. Received: .*cat/ \(3 images\)"),
        ([""], r"no sub-folder \(skipped 3 files: 3 images outside"),
        (["cat", "dog", ".git"], None),
    ],
)
def test_folders_without_two_classes_say_what_they_hold(draw, folders, message):
    photos = draw(*folders)
    if message is None:
        assert load_task(photos).class_names == ["cat", "dog"]
        return
    with pytest.raises(ValueError, match=message):
        load_task(photos)


def test_sub_folders_that_all_classes_have_are_said_not_to_be_told_apart(
    draw, capfd
):
    folders = [f"{trip}/{name}" for trip in "ab" for name in ("cat", "dog")]
    assert load_task(draw(*folders)).class_names == ["a", "b"]
    assert capfd.readouterr().err == (
        "photos: the classes are a/, b/; cat/, dog/ inside each of them are "
        "not told apart\n"
    )


def test_what_is_skipped_of_all_splits_is_told_in_one_line(draw, capfd):
    photos = draw(*classes_of("train", "test"))
    for path in ("notes.txt", "train/a.md", "train/cat/b.md", "test/dog/0.png"):
        (photos / path).write_bytes(b"no image")
    (photos / "train" / "@eaDir").mkdir()
    (photos / "labels").mkdir()
    load_task(photos)
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(
        "photos: 11 images in 2 classes; skipped 4 files and 2 folders: "
    )
    assert "3 not images (train/a.md; train/cat/b.md; notes.txt)" in line
    assert "1 unreadable image (test/dog/0.png: not an image" in line
    assert "1 system folder" in line
    assert "1 folder without images (labels)" in line
