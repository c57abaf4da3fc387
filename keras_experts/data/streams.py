"""Endless sequences of images, and whose turn it is in which batch."""

import dataclasses
import hashlib
from collections.abc import Sequence

import numpy as np

from keras_experts.data.label_rows import Targets
from keras_experts.data.labeled_images import LabeledImages


@dataclasses.dataclass(frozen=True)
class Stream:
    """An endless sequence of images, shuffled anew each time they are through.

    Attributes:
        images: LabeledImages.
        targets: Targets of all images.
        seed: int. Of the order and of the augmentation.
        indices: int array. The images that take part, or None for all.
        damaged: ints. Images that cannot be decoded; the next one that can
            stands in for each.
    """

    images: LabeledImages
    targets: Targets
    seed: int
    indices: np.ndarray | None = None
    damaged: tuple[int, ...] = ()

    @property
    def num_examples(self) -> int:
        """Images that take part."""
        if self.indices is None:
            return self.images.num_examples
        return len(self.indices)

    def rows(self, places: np.ndarray) -> np.ndarray:
        """Gives the images at places of the stream, int64."""
        while True:
            rows = places
            if self.indices is not None:
                rows = self.indices[places].astype(np.int64)
            bad = np.isin(rows, self.damaged)
            if not bad.any():
                return rows
            places = np.where(bad, (places + 1) % self.num_examples, places)

    def without(self, damaged: Sequence[int]) -> "Stream":
        """Gives the stream with other images for damaged ones.

        Raises:
            ValueError: if none is left.
        """
        damaged = tuple(sorted({*self.damaged, *damaged}))
        indices = self.indices
        if indices is None:
            indices = np.arange(self.num_examples)
        if np.isin(indices, damaged).all():
            raise ValueError(
                "A stream of images must have one that can be decoded. "
                f"Received: {len(indices)} damaged ones."
            )
        return dataclasses.replace(self, damaged=damaged)


@dataclasses.dataclass(frozen=True)
class BatchPlan:
    """Which streams a step reads, and which part of it a replica.

    A step holds `group_size` groups of `batch_size` images, each of another
    stream; streams take turns, so that each one gives exactly `num_updates`
    groups. Where the last step has groups left over, they are idle.

    Attributes:
        num_streams: int.
        num_updates: int. Groups each stream gives.
        batch_size: int. Images of a group, over all replicas.
        group_size: int. Groups of a step, at most `num_streams`.
    """

    num_streams: int
    num_updates: int
    batch_size: int
    group_size: int = 1

    def __post_init__(self):
        if not 1 <= self.group_size <= self.num_streams:
            raise ValueError(
                "The experts of a step must be at least 1 and at most all "
                f"{self.num_streams}. Received: {self.group_size}."
            )

    @property
    def num_steps(self) -> int:
        """Steps until each stream has given all its groups."""
        return -(-self.num_streams * self.num_updates // self.group_size)

    def groups(self, step):
        """Tells which stream's turn each group of a step is.

        Args:
            step: int64 tensor or NumPy integer.

        Returns:
            Three arrays `(group_size,)`: the stream, which of its updates
            this is, and whether the group counts (not idle).
        """
        place = step * self.group_size + np.arange(self.group_size)
        stream, update = place % self.num_streams, place // self.num_streams
        return stream, update, update < self.num_updates


def stream_seed(seed: int, name: str) -> int:
    """Gives a seed of a name's own, in [0, 2**31)."""
    digest = hashlib.sha256(f"{seed} {name}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1
