"""Upstream data: labelled images whose labels are nodes of a hierarchy."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from keras_experts.data.label_rows import LabelRows
from keras_experts.data.label_rows import Targets
from keras_experts.data.labeled_images import LabeledImages
from keras_experts.hierarchy import Hierarchy
from keras_experts.layers.label_router import LabelRouter

# Different rows of labels that are routed at a time.
ROUTED_ROWS = 1024


@dataclasses.dataclass(frozen=True)
class Upstream:
    """A labelled set and the hierarchy above its classes.

    Attributes:
        name: str. Of the data set.
        hierarchy: Hierarchy.
        nodes: list of str. What the rows `nodes` of the images are places in.
        classes: list of str. The node of each class label.
        train: LabeledImages, with `nodes`.
        test: LabeledImages, with `nodes`.
    """

    name: str
    hierarchy: Hierarchy
    nodes: list[str]
    classes: list[str]
    train: LabeledImages
    test: LabeledImages

    def outputs(self, loss: str) -> list[str]:
        """Names what the baseline predicts, the classes first.

        Args:
            loss: str. "softmax" over the classes, or "sigmoid" over them and
                all their ancestors.
        """
        if loss == "softmax":
            return list(self.classes)
        above = set().union(*map(self.hierarchy.ancestors, self.classes))
        return [*self.classes, *sorted(above - set(self.classes))]

    def targets(self, images: LabeledImages, loss: str) -> Targets:
        """Gives what the baseline should predict for each image.

        Raises:
            ValueError: if softmax is to learn from images that have not one
                label each.
        """
        if loss == "softmax":
            if (images.labels < 0).any():
                raise ValueError(
                    "A softmax loss wants one class an image; train with "
                    "loss='sigmoid'. Received: images with several labels or "
                    f"none, in {self.name}."
                )
            return self.class_targets(images)
        outputs = self.outputs(loss)
        place = {node: column for column, node in enumerate(outputs)}

        def columns(node: int) -> list[int]:
            above = self.hierarchy.ancestors(self.nodes[node])
            return [place[name] for name in above if name in place]

        return Targets(images.nodes, columns, len(outputs))

    def class_targets(self, images: LabeledImages) -> Targets:
        """Tells the classes of each image: one, or several, or none."""
        if (images.labels >= 0).all():
            rows = LabelRows.single(images.labels)
            return Targets(rows, lambda label: [label], len(self.classes))
        place = {node: label for label, node in enumerate(self.classes)}

        def columns(node: int) -> list[int]:
            name = self.nodes[node]
            return [place[name]] if name in place else []

        return Targets(images.nodes, columns, len(self.classes))

    def expert_targets(
        self, images: LabeledImages, synsets: Sequence[str]
    ) -> Targets:
        """Tells the experts of each image: the hard-coded routing."""
        membership = self._membership(images.nodes.values, synsets)
        return Targets(
            images.nodes,
            lambda node: np.flatnonzero(membership[node]),
            len(synsets),
        )

    def slices(
        self, images: LabeledImages, synsets: Sequence[str]
    ) -> list[np.ndarray]:
        """Routes the images to experts: those at or under each node.

        Every row of labels goes through LabelRouter; one image may belong to
        several experts.

        Args:
            images: LabeledImages, with `nodes`.
            synsets: the experts' nodes.

        Returns:
            For each expert the indices of its images, int32, rising.

        Raises:
            ValueError: if a node is not in the hierarchy.
        """
        rows, which = images.nodes.distinct()
        labels = np.unique(rows.values)  # a column each: those that occur
        membership = self._membership(labels, synsets)
        router = LabelRouter([membership[label] for label in labels])
        routed = np.zeros((len(rows), len(synsets)), bool)
        for first in range(0, len(rows), ROUTED_ROWS):
            part = rows.take(np.arange(first, len(rows))[:ROUTED_ROWS])
            multi_hot = np.zeros((len(part), len(labels)), np.float32)
            image = np.repeat(np.arange(len(part)), part.lengths)
            multi_hot[image, np.searchsorted(labels, part.values)] = 1.0
            routed[first : first + ROUTED_ROWS] = router(multi_hot)
        return [
            np.flatnonzero(column[which]).astype(np.int32)
            for column in routed.T
        ]

    def _membership(
        self, labels: np.ndarray, synsets: Sequence[str]
    ) -> dict[int, np.ndarray]:
        """Tells of each label the experts it belongs to, bool `(experts,)`."""
        for synset in synsets:
            self.hierarchy.ancestors(synset)  # raises where there is none
        labels = np.unique(labels)
        matrix = self.hierarchy.membership(
            [self.nodes[label] for label in labels], synsets
        )
        return dict(zip(labels.tolist(), matrix, strict=True))
