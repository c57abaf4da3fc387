"""Where upstream data comes from: TFDS, folders, lists of files."""

import collections
import csv
import dataclasses
from collections.abc import Callable
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_experts import config
from keras_experts.data import folders
from keras_experts.data import texts
from keras_experts.data import tfds_reader
from keras_experts.data.label_rows import LabelRows
from keras_experts.data.labeled_images import LabeledImages
from keras_experts.data.listing import Skipped
from keras_experts.data.record_index import RecordReader
from keras_experts.data.splits import split_by_hash
from keras_experts.data.upstream import Upstream
from keras_experts.files import open_text
from keras_experts.hierarchy import Hierarchy
from keras_experts.text.columns import Columns

# Images by path, each with its labels.
Rows = list[tuple[str, tuple[str, ...]]]


@config.register
def tfds_upstream(
    name: str,
    hierarchy: str,
    classes: str | None = None,
    label_key: str = "label",
    node_key: str | None = None,
    data_dir: str | None = None,
    train_split: str = "train",
    test_split: str = "test",
) -> Upstream:
    """Reads upstream data from a prepared TFDS data set.

    Args:
        name: str. TFDS name, with the feature `image`.
        hierarchy: str. `wordnet:DIR`, or the path of an is-a file or of a CSV
            with the columns `parent` and `child`; looked up in `data_dir` too.
        classes: str. Path of a CSV with the columns `label` (int) and
            `synset`; without it class names are nodes themselves.
        label_key: str. The feature with the labels: a class or the text of a
            node, or a sequence of either.
        node_key: str. A text feature with each image's own node, at or under
            its class's; without it the class's node counts.
        data_dir: str. The TFDS folder, or None for TFDS' default.
        train_split: str. TFDS split to train on.
        test_split: str. TFDS split to evaluate on.

    Raises:
        FileNotFoundError: if a file or the data set is not there.
        ValueError: if a label has no node in the hierarchy.
    """
    builder = tfds_reader.prepared_builder(name, data_dir)
    tfds_reader.check_image(builder)
    dag = Hierarchy.read(find_beside(hierarchy, data_dir))
    keys = (label_key,) if node_key is None else (label_key, node_key)
    names = tfds_reader.class_names(builder, label_key)
    indexes = [
        tfds_reader.index_split(builder, split, keys)
        for split in (train_split, test_split)
    ]
    if names is None:  # texts: the classes are those that occur
        names = sorted(set().union(*(i.texts[label_key] for i in indexes)))
    synsets = list(names)
    if classes:
        synsets = read_class_synsets(find_beside(classes, data_dir), len(names))
    _check_nodes(dag, synsets)
    nodes = sorted(dag.parents)
    sets = []
    for index in indexes:
        labels = index.labels[label_key]
        if label_key in index.texts:
            labels = _places(labels, index.texts[label_key], names)
        node_rows = _places(labels, synsets, nodes)
        if node_key is not None:
            if node_key not in index.texts:
                raise ValueError(
                    "`node_key` must name a text feature. "
                    f"Received: {node_key!r} of {name}."
                )
            _check_nodes(dag, index.texts[node_key])
            node_rows = _places(
                index.labels[node_key], index.texts[node_key], nodes
            )
        sets.append(
            LabeledImages(
                RecordReader(index),
                _single(labels),
                list(names),
                node_rows,
                index.name_of,
            )
        )
    return Upstream(builder.info.full_name, dag, nodes, synsets, *sets)


@config.register
def folder_upstream(
    folder: str, hierarchy: str, test_folder: str | None = None
) -> Upstream:
    """Reads upstream data from sub-folders that are named after nodes.

    Args:
        folder: str. One sub-folder of images a class.
        hierarchy: str. As in `tfds_upstream`.
        test_folder: str. As `folder`, to evaluate on; without it a fifth of
            the images, by the hash of their paths in `folder`.

    Raises:
        FileNotFoundError: if a file or folder is not there.
        ValueError: if a sub-folder is no node of the hierarchy or is empty.
    """
    dag = Hierarchy.read(hierarchy)
    rows = _list_folder(folder)
    names = sorted({name for _, (name,) in rows})
    _check_nodes(dag, names)
    if test_folder is None:
        train, test = (_below(folder, side) for side in hold_out(rows))
    else:
        train = _below(folder, rows)
        test = _below(test_folder, _list_folder(test_folder))
    return from_rows(Path(folder).resolve().name, dag, names, train, test)


@config.register
def csv_upstream(
    images: str,
    hierarchy: str,
    test_images: str | None = None,
    folder: str | None = None,
) -> Upstream:
    """Reads upstream data listed in a CSV, any number of labels an image.

    Args:
        images: str. Path of a CSV with the columns `image` (a path) and
            `labels` (nodes, with spaces between them).
        hierarchy: str. As in `tfds_upstream`.
        test_images: str. As `images`, to evaluate on; without it a fifth of
            the images, by the hash of their paths.
        folder: str. What the paths are in, or None for the folder of the CSV.

    Raises:
        FileNotFoundError: if a file is not there.
        ValueError: if a label is no node of the hierarchy.
    """
    dag = Hierarchy.read(hierarchy)
    rows = _read_image_list(images)
    names = sorted({name for _, row in rows for name in row})
    _check_nodes(dag, names)
    sides = hold_out(rows)
    if test_images is not None:
        sides = rows, _read_image_list(test_images)
    root = Path(folder) if folder else Path(images).parent
    sides = [_below(root, side) for side in sides]
    for path, _ in (row for side in sides for row in side):
        if not Path(path).is_file():
            raise FileNotFoundError(
                f"An image must be there. Received: {path}, which is not."
            )
    return from_rows(Path(images).stem, dag, names, *sides)


def count_labels(
    name: str, label_key: str, data_dir: str | None, split: str = "train"
) -> dict[tuple[str, ...], int]:
    """Counts which labels occur together, image by image, without decoding.

    Of a file and of a folder those images are left out that are held out
    where there is no test set.

    Args:
        name: str. TFDS name, or the path of a CSV as in `csv_upstream`, of
            texts as in `text_upstream`, or of a folder as in
            `folder_upstream`.
        label_key: str. A feature of class labels or texts, one or a sequence;
            in a file of texts a column, "label" for any usual name.
        data_dir: str. The TFDS folder, or None for TFDS' default.
        split: str. TFDS split.
    """
    sides = None
    if texts.is_text_file(name):
        columns = Columns(label=None if label_key == "label" else label_key)
        sides = hold_out(texts.read_nodes(name, columns), texts.key_of)
    elif name.endswith(".csv"):
        sides = hold_out(_read_image_list(name))
    elif data_dir is None and Path(name).is_dir():
        sides = hold_out(_list_folder(name))
    if sides is not None:
        return dict(collections.Counter(labels for _, labels in sides[0]))
    counts: dict[tuple[str, ...], int] = {}
    builder = tfds_reader.prepared_builder(name, data_dir)
    rows, names = tfds_reader.read_labels(builder, split, label_key)
    distinct, which = rows.distinct()
    for row, number in enumerate(np.bincount(which, minlength=len(distinct))):
        key = tuple(sorted({names[label] for label in distinct.row(row)}))
        counts[key] = counts.get(key, 0) + int(number)
    return counts


def read_class_synsets(path: str | Path, num_classes: int) -> list[str]:
    """Reads the node of each class from a CSV with `label` and `synset`."""
    with open_text(path) as lines:
        rows = list(csv.DictReader(lines))
    try:
        synsets = {int(row["label"]): row["synset"] for row in rows}
    except (KeyError, ValueError) as error:
        raise ValueError(
            "A classes file must be a CSV with the columns label,synset. "
            f"Received: {path}."
        ) from error
    if sorted(synsets) != list(range(num_classes)):
        raise ValueError(
            f"A classes file must name the labels 0 to {num_classes - 1}. "
            f"Received: {len(synsets)} labels in {path}."
        )
    return [synsets[label] for label in range(num_classes)]


def find_beside(path: str, data_dir: str | None) -> str:
    """Looks a relative path up in `data_dir` where it is not found here."""
    if data_dir and not path.startswith("wordnet:") and not Path(path).exists():
        return str(Path(data_dir) / path)
    return path


def _list_folder(folder: str) -> Rows:
    """Lists the images of sub-folders, by their paths in the folder."""
    rows, skipped = [], Skipped(folder)
    classes = folders.list_classes(Path(folder), skipped)
    for name, paths in classes.items():
        rows += [(str(path.relative_to(folder)), (name,)) for path in paths]
    skipped.say(f"{len(rows)} images in {len(classes)} classes")
    return rows


def _read_image_list(path: str) -> Rows:
    """Reads a CSV of images, their paths as they stand there."""
    with open_text(path) as lines:
        reader = csv.DictReader(lines)
        if not {"image", "labels"} <= set(reader.fieldnames or ()):
            raise ValueError(
                "A list of images must be a CSV with the columns "
                f"image,labels. Received: {path} with {reader.fieldnames}."
            )
        rows = []
        for row in reader:
            if row["labels"] is None:
                raise ValueError(
                    "Each row of a list of images must have an image and "
                    f"labels. Received: {path}, line {reader.line_num}."
                )
            rows.append((row["image"], tuple(sorted(row["labels"].split()))))
    if not rows:
        raise ValueError(f"A list of images must have a row. Received: {path}.")
    return rows


def _below(folder: str | Path, rows: Rows) -> Rows:
    """Puts a folder before the paths that are not absolute."""
    return [(str(Path(folder) / path), labels) for path, labels in rows]


def _path_key(path: str) -> bytes:
    return Path(path).as_posix().encode()


def hold_out(
    rows: Rows, key: Callable[..., bytes] = _path_key
) -> tuple[Rows, Rows]:
    """Splits images into training and test by the hash of their paths.

    Args:
        rows: pairs of what an image is and its labels.
        key: function of the first of a pair to what is hashed.
    """
    sides = split_by_hash([key(image) for image, _ in rows])
    train, test = ([rows[i] for i in side] for side in sides)
    return train, test


def from_rows(
    name: str,
    dag: Hierarchy,
    classes: list[str],
    train: Rows,
    test: Rows,
    make: Callable[..., LabeledImages] = folders.from_paths,
) -> Upstream:
    """Makes upstream data of what each image is, and of its labels.

    Args:
        name: str. Of the data set.
        dag: Hierarchy.
        classes: list of str. The node of each class label.
        train: pairs of an image's path and its labels, nodes.
        test: as `train`.
        make: function of the first parts of the pairs and of `classes` to
            LabeledImages without labels.

    Raises:
        ValueError: if a label is no node of the hierarchy.
    """
    nodes = sorted(dag.parents)
    place = {node: row for row, node in enumerate(nodes)}
    column = {node: label for label, node in enumerate(classes)}
    sets = []
    for rows in (train, test):
        flat = [node for _, row in rows for node in row]
        _check_nodes(dag, flat)
        lengths = np.array([len(row) for _, row in rows], np.int64)
        node_rows = LabelRows.of_lengths([place[n] for n in flat], lengths)
        labels = LabelRows.of_lengths(
            [column.get(node, -1) for node in flat], lengths
        )
        images = make([content for content, _ in rows], classes)
        sets.append(
            dataclasses.replace(images, labels=_single(labels), nodes=node_rows)
        )
    return Upstream(name, dag, nodes, classes, *sets)


def _check_nodes(dag: Hierarchy, names: Sequence[str]) -> None:
    for name in set(names):
        dag.ancestors(name)  # raises on a label outside the hierarchy


def _single(labels: LabelRows) -> np.ndarray:
    """Gives the label of each image that has one, and -1 for the others."""
    single = labels.lengths == 1
    result = np.full(len(labels), -1, np.int64)
    result[single] = labels.values[labels.offsets[:-1][single]]
    return result


def _places(
    rows: LabelRows, names: Sequence[str], order: Sequence[str]
) -> LabelRows:
    """Turns places in `names` into places in `order`."""
    place = {name: index for index, name in enumerate(order)}
    table = np.array([place[name] for name in names], np.int32)
    return dataclasses.replace(rows, values=table[rows.values])
