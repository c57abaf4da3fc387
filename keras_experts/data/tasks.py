"""Downstream tasks: a TFDS set, a folder of images, arrays, or texts."""

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_experts.checks import check_local
from keras_experts.checks import check_utf8
from keras_experts.checks import first_line
from keras_experts.console import say
from keras_experts.data import folders
from keras_experts.data import texts
from keras_experts.data import tfds_reader
from keras_experts.data.labeled_images import LabeledImages
from keras_experts.data.labeled_images import from_arrays
from keras_experts.data.preprocessing import decode
from keras_experts.mediums import TEXTS
from keras_experts.text.columns import Columns
from keras_experts.text.tables import stem_of

# Share of the images of a task without a test set that become one.
TEST_SHARE = 0.2
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

    Raises:
        ValueError: if its name or that of a class is not valid UTF-8.
    """

    name: str
    train: LabeledImages
    test: LabeledImages

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
) -> Task:
    """Opens a task.

    Args:
        task: a TFDS name; a folder with one sub-folder of images a class,
            below `train/` and `test/` if it has both; the path of an .npz
            with `images` and `labels`; or of texts a CSV, TSV or JSONL file
            (compressed with gzip or not; "-" is standard input), or a folder
            with one of the name `train` and, if it has one, `test`.
        data_dir: str. The folder of TFDS data sets, or None.
        num_examples: int. Training images, at most: the first ones of a TFDS
            set, and of others the first by the hash of their content. None
            for all.

    Raises:
        FileNotFoundError: if there is no such path or data set.
        ValueError: if it is not fit to be a task.
    """
    check_local(task, "A task")
    path = Path(task).expanduser()
    if num_examples is not None and num_examples < 2:
        raise ValueError(
            f"`num_examples` must be at least 2. Received: {num_examples}."
        )
    columns = Columns(text_column, label_column)
    sides = texts.find_sides(path)
    if sides is not None:
        loaded = _from_texts(path, *sides, columns)
    elif path.is_dir():
        loaded = _from_folder(path)
    elif path.suffix == ".npz":
        loaded = _from_npz(path)
    elif len(path.parts) > 1 and not data_dir and not _is_tfds(str(task)):
        raise FileNotFoundError(
            f"{tfds_reader.TASK_RULE} "
            f"Received: {str(task)!r}, which does not exist."
        )
    else:
        loaded = _from_tfds(str(task), data_dir, num_examples)
    if num_examples is None:
        return loaded
    return dataclasses.replace(loaded, train=loaded.train.take(num_examples))


def split_by_hash(contents: list[bytes]) -> tuple[list[int], list[int]]:
    """Splits contents into training and test by their hash.

    The same file goes to the same side whatever else there is, and
    duplicates to the same one. Within a side the order is the hash's, so that
    the first thousand are of all classes.

    Returns:
        Indices of the training contents, and of the test contents.
    """
    return _split([_digest(content) for content in contents])


def _split(digests: list[bytes]) -> tuple[list[int], list[int]]:
    order = sorted(range(len(digests)), key=lambda i: (digests[i], i))
    # Other bytes than those that decide the order.
    limit = int(TEST_SHARE * 2**64)
    is_test = [int.from_bytes(d[-8:], "big") < limit for d in digests]
    train = [index for index in order if not is_test[index]]
    return train, [index for index in order if is_test[index]]


def _is_tfds(name: str) -> bool:
    """Tells "dataset/config" from the path of something missing."""
    return not name.startswith((".", "/")) and name.count("/") == 1


def _from_tfds(
    name: str, data_dir: str | None, num_examples: int | None
) -> Task:
    builder = tfds_reader.prepared_builder(name, data_dir)
    splits = builder.info.splits
    if "train" not in splits or "test" not in splits:
        raise ValueError(
            "A task must have the splits train and test. "
            f"Received: {name} with {sorted(splits)}."
        )
    train = "train"
    # Only the files of these are looked into.
    if num_examples and num_examples < splits["train"].num_examples:
        train = f"train[:{num_examples}]"
    train, test = (tfds_reader.read(builder, s) for s in (train, "test"))
    if num_examples is not None:
        train = train.take(num_examples)
    if train.medium == TEXTS:
        train, test = texts.without_faulty(name, (train, test))
    elif num_examples is not None:  # training finds what is damaged itself
        train = _without_damaged(train)
    if train.class_names != test.class_names:  # each split has its own
        names = sorted({*train.class_names, *test.class_names})
        train, test = (_renamed(images, names) for images in (train, test))
    return Task(name, train, test)


def _renamed(images: LabeledImages, names: list[str]) -> LabeledImages:
    """Gives labels by the sorted names of a larger set of classes."""
    places = np.searchsorted(names, images.class_names)
    return dataclasses.replace(
        images, labels=places[images.labels], class_names=names
    )


def _without_damaged(images: LabeledImages) -> LabeledImages:
    """Leaves out encoded images that cannot be decoded, and names them.

    Those that begin and end as they should are taken for whole: to decode all
    would take longer than a selection whose features are known.
    """
    kept, failed = [], {}
    for index in range(images.num_examples):
        (image,) = images.read(np.array([index]))
        ends = (image.startswith(b) and image.endswith(e) for b, e in ENDS)
        try:
            if not any(ends):
                decode(tf.constant(image))
            kept.append(index)
        except tf.errors.InvalidArgumentError as error:
            failed[f"image {index} ({images.name(index)})"] = first_line(error)
    if not kept:
        raise ValueError(
            "A task must have an image that can be decoded. "
            f"Received: none of {images.num_examples}."
        )
    folders.name_left_out(failed)
    return images.subset(kept) if failed else images


def _from_folder(path: Path) -> Task:
    check_utf8("The name of a folder of images", path.resolve().name)
    parts = [path / "train", path / "test"]
    if all(part.is_dir() for part in parts):
        names = folders.class_names(parts[0])
        unknown = set(folders.class_names(parts[1])) - set(names)
        if unknown:
            raise ValueError(
                "The classes of test/ must be among those of train/. "
                f"Received: {path} with {', '.join(sorted(unknown))}."
            )
        train, test = (folders.read(part, names) for part in parts)
        # In the order of the hash: as they lie, classes come one by one.
        train.sort(key=lambda file: file.digest)
        return Task(
            path.resolve().name,
            folders.to_images(train, names),
            folders.to_images(test, names),
        )
    names = folders.class_names(path)
    files = folders.read(path, names)
    train, test = _split([file.digest for file in files])
    return Task(
        path.resolve().name,
        folders.to_images([files[i] for i in train], names),
        folders.to_images([files[i] for i in test], names),
    )


def _from_texts(
    path: Path, train: Path, test: Path | None, columns: Columns
) -> Task:
    rows = texts.read_texts(train, columns=columns)
    held_out = []
    if test is not None:
        held_out = texts.read_texts(test, columns=columns)
    names = sorted({row.label for row in (*rows, *held_out)})
    place = {name: label for label, name in enumerate(names)}
    order, own = _split([_digest(row.text) for row in rows])
    if test is None:
        held_out = [rows[i] for i in own]
    else:  # all of them, in the order of the hash
        order = sorted([*order, *own], key=lambda i: _digest(rows[i].text))
    sides = [
        texts.to_texts(side, [place[row.label] for row in side], names)
        for side in ([rows[i] for i in order], held_out)
    ]
    return Task(stem_of(path), *sides)


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


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
    digests = [hashlib.sha256(image.tobytes()).digest() for image in images]
    train, test = (
        from_arrays(images[side], rows[side], names) for side in _split(digests)
    )
    return Task(path.stem, train, test)


def _classes(labels: np.ndarray, path: Path) -> tuple[list[str], np.ndarray]:
    """Gives the names of the classes, sorted, and of each image its place.

    Raises:
        ValueError: if labels are not one number or text an image.
    """
    if labels.ndim != 1:
        raise ValueError(
            "`labels` must have shape (n,). "
            f"Received: {labels.shape} in {path}."
        )
    kind = labels.dtype.kind
    is_fit = kind in "biuSU"
    if kind == "f" and np.isfinite(labels).all():
        is_fit = (labels % 1 == 0).all()
    if kind == "S":
        try:
            labels = np.char.decode(labels, "utf-8")
        except UnicodeDecodeError:
            is_fit = False
    if not is_fit:
        raise ValueError(
            "`labels` must be whole numbers or texts (UTF-8). "
            f"Received: {labels.dtype} in {path}, such as {labels[:3]}."
        )
    values, rows = np.unique(labels, return_inverse=True)
    return [f"{v:.0f}" if kind == "f" else str(v) for v in values], rows
