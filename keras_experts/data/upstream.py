"""Upstream data: labelled images whose labels are nodes of a hierarchy."""

import csv
import dataclasses
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_experts import config
from keras_experts.data import tfds_reader
from keras_experts.data.labeled_images import LabeledImages
from keras_experts.files import open_text
from keras_experts.hierarchy import Hierarchy


@dataclasses.dataclass(frozen=True)
class Upstream:
    """A labelled set and the hierarchy above its classes.

    Attributes:
        name: str. Of the data set.
        hierarchy: Hierarchy.
        nodes: list of str. The hierarchy's nodes; `node` counts along it.
        classes: list of str. The node of each class label.
        train: LabeledImages, with `node`.
        test: LabeledImages, with `node`.
    """

    name: str
    hierarchy: Hierarchy
    nodes: list[str]
    classes: list[str]
    train: LabeledImages
    test: LabeledImages

    def node_targets(self) -> tuple[list[str], np.ndarray]:
        """Gives the targets of a sigmoid over all nodes above the classes.

        Returns:
            The output nodes, the classes first, and a float32 array
            `(classes, output nodes)`: 1 at a class and at its ancestors.
        """
        above = set().union(*map(self.hierarchy.ancestors, self.classes))
        outputs = [*self.classes, *sorted(above - set(self.classes))]
        targets = self.hierarchy.membership(self.classes, outputs)
        return outputs, targets.astype(np.float32)

    def slice_train(self, synset: str) -> LabeledImages:
        """Gives the training images at or under a node (an expert's slice).

        Raises:
            ValueError: if the node is not in the hierarchy or has no image.
        """
        images = self._slice(self.train, synset)
        if not images.num_examples:
            raise ValueError(
                "An expert's slice must have at least one training image. "
                f"Received: none at or under {synset}."
            )
        return images

    def slice_test(self, synset: str) -> LabeledImages:
        """Gives the test images at or under a node; there may be none."""
        return self._slice(self.test, synset)

    def _slice(self, images: LabeledImages, synset: str) -> LabeledImages:
        self.hierarchy.ancestors(synset)  # raises where there is none
        inside = self.hierarchy.membership(self.nodes, [synset])[:, 0]
        inside = tf.constant(inside)
        dataset = images.dataset.filter(
            lambda example: tf.gather(inside, example["node"])
        )
        number = int(dataset.reduce(np.int64(0), lambda n, _: n + 1))
        return dataclasses.replace(images, dataset=dataset, num_examples=number)


@config.register
def tfds_upstream(
    name: str,
    hierarchy: str,
    classes: str | None = None,
    node_key: str | None = None,
    data_dir: str | None = None,
    train_split: str = "train",
    test_split: str = "test",
) -> Upstream:
    """Reads upstream data from a prepared TFDS data set.

    Args:
        name: str. TFDS name, with the features `image` and `label`.
        hierarchy: str. `wordnet:DIR` or the path of an is-a file; a path is
            looked up in `data_dir` too.
        classes: str. Path of a CSV with the columns `label` (int) and
            `synset`; without it class names are nodes themselves.
        node_key: str. A text feature with each image's own node, at or under
            its class's; without it the class's node counts.
        data_dir: str. The TFDS folder, or None for TFDS' default.
        train_split: str. TFDS split to train on.
        test_split: str. TFDS split to evaluate on.

    Raises:
        FileNotFoundError: if a file or the data set is not there.
        ValueError: if a class has no node in the hierarchy.
    """
    builder = tfds_reader.prepared_builder(name, data_dir)
    dag = Hierarchy.read(find_beside(hierarchy, data_dir))
    names = builder.info.features["label"].names
    synsets = list(names)
    if classes:
        synsets = read_class_synsets(find_beside(classes, data_dir), len(names))
    nodes = sorted(dag.parents)
    row = {node: index for index, node in enumerate(nodes)}
    for synset in synsets:
        dag.ancestors(synset)  # raises on a class outside the hierarchy
    class_rows = tf.constant([row[synset] for synset in synsets], tf.int64)
    table = None
    if node_key:
        table = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(
                nodes, tf.range(len(nodes), dtype=tf.int64)
            ),
            default_value=-1,
        )

    def add_node(example):
        if table is None:
            node = tf.gather(class_rows, example["label"])
        else:
            node = table.lookup(example[node_key])
            tf.debugging.assert_non_negative(
                node, f"`{node_key}` must hold nodes of the hierarchy."
            )
        return {
            "image": example["image"],
            "label": example["label"],
            "node": node,
        }

    splits = []
    for split in (train_split, test_split):
        images = tfds_reader.read(builder, split)
        splits.append(
            dataclasses.replace(images, dataset=images.dataset.map(add_node))
        )
    return Upstream(builder.info.full_name, dag, nodes, synsets, *splits)


def count_labels(
    name: str, label_key: str, data_dir: str | None, split: str = "train"
) -> dict[tuple[str, ...], int]:
    """Counts which labels occur together, image by image, without decoding.

    Args:
        name: str. TFDS name.
        label_key: str. A feature of class labels or texts, one or a sequence.
        data_dir: str. The TFDS folder, or None for TFDS' default.
        split: str. TFDS split.
    """
    builder = tfds_reader.prepared_builder(name, data_dir)
    features = builder.info.features
    if label_key not in features:
        raise ValueError(
            f"The data set has the features {sorted(features)}. "
            f"Received: {label_key!r}."
        )
    inner = getattr(features[label_key], "feature", features[label_key])
    names = getattr(inner, "names", None)
    counts: dict[tuple[str, ...], int] = {}
    examples = tfds_reader.read_raw(builder, split, keys=(label_key,))
    for example in examples.as_numpy_iterator():
        labels = np.atleast_1d(example[label_key])
        if names:
            key = tuple(sorted({names[label] for label in labels}))
        else:
            key = tuple(sorted({label.decode() for label in labels}))
        counts[key] = counts.get(key, 0) + 1
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
