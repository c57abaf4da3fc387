"""Downstream tasks: a TFDS set, a folder of images, arrays, or texts."""

import dataclasses
import os
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_experts.checks import check_local
from keras_experts.checks import check_utf8
from keras_experts.checks import first_line
from keras_experts.console import say
from keras_experts.data import texts
from keras_experts.data import tfds_reader
from keras_experts.data.folder_splits import read_splits
from keras_experts.data.labeled_images import LabeledImages
from keras_experts.data.labeled_images import from_arrays
from keras_experts.data.labels import check_labels
from keras_experts.data.listing import UNREADABLE
from keras_experts.data.listing import Skipped
from keras_experts.data.preprocessing import decode
from keras_experts.data.splits import TEST
from keras_experts.data.splits import TEST_FRACTION
from keras_experts.data.splits import TRAIN
from keras_experts.data.splits import choose_splits
from keras_experts.data.splits import digest
from keras_experts.data.splits import find_splits
from keras_experts.data.splits import split_by_hash
from keras_experts.data.splits import split_digests
from keras_experts.mediums import TEXTS
from keras_experts.text.columns import Columns
from keras_experts.text.tables import stem_of

SHOWN_CLASSES = 5
# How whole JPEG and PNG files begin and end.
ENDS = ((b"\xff\xd8", b"\xff\xd9"), (b"\x89PNG", b"IEND\xaeB`\x82"))


@dataclasses.dataclass(frozen=True)
class Task:
    """A classification task with its training and its test images or texts.

    Attributes:
        name: str.
        train: LabeledImages.
        test: LabeledImages.
        validation: LabeledImages to choose the best state of training by, or
            None for a part of the training images.

    Raises:
        ValueError: if its name or that of a class is not valid UTF-8.
    """

    name: str
    train: LabeledImages
    test: LabeledImages
    validation: LabeledImages | None = None

    def __post_init__(self):
        check_utf8("The name of a task", self.name)
        for name in self.class_names:
            check_utf8("The name of a class", name)

    @property
    def medium(self) -> str:
        """What its examples are: "images" or "texts"."""
        return self.train.medium

    @property
    def class_names(self) -> list[str]:
        """Name of each label."""
        return self.train.class_names

    def check_classes(self, labels: np.ndarray) -> list[str]:
        """Raises unless the labels `(n,)` are fit to learn from.

        Returns:
            Names of the classes with a single image, of which little can be
            learnt.

        Raises:
            ValueError: if there is one class.
        """
        counts = np.bincount(labels, minlength=len(self.class_names))
        present = np.flatnonzero(counts)
        if len(present) < 2:
            names = [self.class_names[label] for label in present]
            raise ValueError(
                "A task must have at least two classes among its training "
                f"{self.medium}. Received: {self.name} with {names}."
            )
        return [
            self.class_names[label] for label in np.flatnonzero(counts == 1)
        ]


def say_unseen(task: Task) -> None:
    """Names the classes of test images that no training image has.

    A network gets none of them right.
    """
    seen = np.unique(task.train.labels)
    unseen = np.setdiff1d(task.test.labels, seen)
    if len(unseen):
        names = [task.class_names[label] for label in unseen]
        number = int(np.isin(task.test.labels, unseen).sum())
        say(
            f"{task.name}: {number} of the {task.test.num_examples} "
            f"{task.medium} to test on are of classes without one to learn "
            "from: "
            f"{', '.join(names[:SHOWN_CLASSES])}"
            + (", ..." if len(names) > SHOWN_CLASSES else "")
        )


def load_task(
    task: str | Path,
    data_dir: str | None = None,
    num_examples: int | None = 1000,
    text_column: str | None = None,
    label_column: str | None = None,
    with_validation: bool = False,
) -> Task:
    """Loads a task.

    Args:
        task: a TFDS name, or the folder of a prepared TFDS data set; a folder
            with one sub-folder of images per class, or with `train/`, `test/`
            and `validation/` that hold such sub-folders; the path of an .npz
            with `images` and `labels`; or of texts a CSV, TSV or JSONL file
            (compressed with gzip or not; "-" is standard input), or a folder
            with files named `train`, `test` and `validation`. Names of splits
            are known in any case and usual form ("Training", "val"). Without
            a test split the validation split is one; without both, a fifth of
            the examples.
        data_dir: str. The folder of TFDS data sets, or None.
        num_examples: int. Training examples, at most: the first ones of a
            TFDS set, and of others the first by the hash of their content.
            None for all.
        with_validation: bool. Whether to read a validation split besides a
            test split.

    Raises:
        FileNotFoundError: if there is no such path or data set.
        ValueError: if it is not fit to be a task.
    """
    if not isinstance(task, str | os.PathLike):
        raise ValueError(f"{tfds_reader.TASK_RULE} Received: {task!r}.")
    check_local(task, "A task")
    path = Path(task).expanduser()
    if num_examples is not None and num_examples < 2:
        raise ValueError(
            f"`num_examples` must be at least 2. Received: {num_examples}."
        )
    columns = Columns(text_column, label_column)
    prepared = tfds_reader.find_prepared(path)
    sides = None if prepared else texts.find_sides(path)
    if prepared is not None:
        loaded = _from_tfds(prepared, None, num_examples, with_validation)
    elif sides is not None:
        loaded = _from_texts(path, sides, columns, with_validation)
    elif path.is_dir():
        splits = read_splits(path, with_validation)
        loaded = Task(path.resolve().name, **splits)
    elif path.suffix == ".npz":
        loaded = _from_npz(path)
    elif len(path.parts) > 1 and not data_dir and not _is_tfds(str(task)):
        raise FileNotFoundError(
            f"{tfds_reader.TASK_RULE} "
            f"Received: {str(task)!r}, which does not exist."
        )
    else:
        loaded = _from_tfds(str(task), data_dir, num_examples, with_validation)
    if num_examples is None:
        return loaded
    return dataclasses.replace(loaded, train=loaded.train.take(num_examples))


def _is_tfds(name: str) -> bool:
    """Returns whether a missing path may be "dataset/config"."""
    return not name.startswith((".", "/")) and name.count("/") == 1


def _from_tfds(
    name: str,
    data_dir: str | None,
    num_examples: int | None,
    with_validation: bool,
) -> Task:
    builder = tfds_reader.prepared_builder(name, data_dir)
    name = tfds_reader.task_name(name, builder)
    splits = builder.info.splits
    found = find_splits(splits, name)
    if TRAIN not in found:
        raise ValueError(
            "A task must have a split to train on. "
            f"Received: {name} with {sorted(splits)}."
        )
    found = choose_splits(name, found, with_validation)
    train, num_train = found[TRAIN], splits[found[TRAIN]].num_examples
    if TEST not in found:  # prepared data sets are in random order
        num_train -= round(TEST_FRACTION * num_train)
        found[TEST] = f"{train}[{num_train}:]"
    # Only the files of these are looked into.
    first = min(num_examples or num_train, num_train)
    if first < splits[train].num_examples:
        found[TRAIN] = f"{train}[:{first}]"
    sets = {key: tfds_reader.read(builder, found[key]) for key in found}
    if num_examples is not None:
        sets[TRAIN] = sets[TRAIN].take(num_examples)
    if sets[TRAIN].medium == TEXTS:
        good = texts.without_faulty(name, sets.values())
        sets = dict(zip(sets, good, strict=True))
    elif num_examples is not None:  # training finds what is damaged itself
        sets[TRAIN] = _without_damaged(sets[TRAIN], name)
    # Where labels are texts, each split has its own classes.
    names = sorted({n for images in sets.values() for n in images.class_names})
    if any(
        images.class_names != sets[TRAIN].class_names
        for images in sets.values()
    ):
        sets = {key: _renamed(images, names) for key, images in sets.items()}
    return Task(name, **sets)


def _renamed(images: LabeledImages, names: list[str]) -> LabeledImages:
    """Gives labels by the sorted names of a larger set of classes."""
    places = np.searchsorted(names, images.class_names)
    return dataclasses.replace(
        images, labels=places[images.labels], class_names=names
    )


def _without_damaged(images: LabeledImages, name: str) -> LabeledImages:
    """Returns encoded images without those that cannot be decoded.

    Those that begin and end as they should are taken for whole: to decode all
    would take longer than a selection whose features are known.
    """
    kept, skipped = [], Skipped(unit=("image", "images"))
    for index in range(images.num_examples):
        (image,) = images.read(np.array([index]))
        ends = (image.startswith(b) and image.endswith(e) for b, e in ENDS)
        try:
            if not any(ends):
                decode(tf.constant(image))
            kept.append(index)
        except tf.errors.InvalidArgumentError as error:
            shown = f"image {index} at {images.name(index)}"
            skipped.add(UNREADABLE, shown, first_line(error))
    if not kept:
        raise ValueError(
            "A task must have an image that can be decoded. "
            f"Received: none of {images.num_examples}."
        )
    skipped.say(f"{name}: {len(kept)} training images")
    return images.subset(kept) if skipped else images


def _from_texts(
    path: Path,
    sides: dict[str, Path],
    columns: Columns,
    with_validation: bool,
) -> Task:
    names = {split: file.name for split, file in sides.items()}
    found = choose_splits(stem_of(path), names, with_validation)
    rows = {
        split: texts.read_texts(sides[TRAIN].with_name(name), columns=columns)
        for split, name in found.items()
    }
    classes = sorted({row.label for split in rows for row in rows[split]})
    label_of = {name: label for label, name in enumerate(classes)}
    train = rows[TRAIN]
    order, held_out = split_digests([digest(row.text) for row in train])
    if TEST in rows:  # all of them, in the order of the hash
        order = sorted([*order, *held_out], key=lambda i: digest(train[i].text))
    else:
        rows[TEST] = [train[i] for i in held_out]
    rows[TRAIN] = [train[i] for i in order]
    sets = {
        split: texts.to_texts(
            rows[split], [label_of[row.label] for row in rows[split]], classes
        )
        for split in rows
    }
    return Task(stem_of(path), **sets)


def _from_npz(path: Path) -> Task:
    if not path.exists():
        raise FileNotFoundError(
            f"{tfds_reader.TASK_RULE} "
            f"Received: {str(path)!r}, which does not exist."
        )
    try:
        with np.load(path, allow_pickle=False) as archive:
            images, labels = archive["images"], archive["labels"]
    except Exception as error:
        raise ValueError(
            "A task file must be an .npz with `images` and `labels`, without "
            f"pickles. Received: {path} ({error})."
        ) from error
    if images.dtype == bool:
        images = images.astype(np.uint8) * np.uint8(255)
    names, rows = _classes(labels, path)
    from_arrays(images, rows, names)  # raises where they do not fit
    train, test = (
        from_arrays(images[side], rows[side], names)
        for side in split_by_hash([image.tobytes() for image in images])
    )
    return Task(path.stem, train, test)


def _classes(labels: np.ndarray, path: Path) -> tuple[list[str], np.ndarray]:
    """Returns the names of the classes, sorted, and the class of each example.

    Raises:
        ValueError: if labels are not one whole number or text per image.
    """
    labels = check_labels(labels, f"`labels` in {path}")
    if labels.dtype.kind == "S":
        try:
            labels = np.char.decode(labels, "utf-8")
        except UnicodeDecodeError:
            raise ValueError(
                "`labels` must be whole numbers or texts (UTF-8). "
                f"Received: {labels.dtype} in {path}, such as {labels[:3]}."
            ) from None
    values, rows = np.unique(labels, return_inverse=True)
    is_float = labels.dtype.kind == "f"
    return [f"{v:.0f}" if is_float else str(v) for v in values], rows
