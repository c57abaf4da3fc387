"""The labels of many images, any number each, as two flat arrays."""

import dataclasses
from collections.abc import Callable
from collections.abc import Sequence

import numpy as np


@dataclasses.dataclass(frozen=True)
class LabelRows:
    """One row of labels an image.

    Attributes:
        values: int32 array `(labels in all,)`, row after row; float32 where
            they are measures, not labels.
        offsets: int64 array `(num_images + 1,)`: row i is
            `values[offsets[i]:offsets[i + 1]]`.
    """

    values: np.ndarray
    offsets: np.ndarray

    @classmethod
    def single(cls, labels: np.ndarray) -> "LabelRows":
        """Makes rows of one label each from `(num_images,)`."""
        return cls(
            np.asarray(labels, np.int32),
            np.arange(len(labels) + 1, dtype=np.int64),
        )

    @classmethod
    def of_lengths(cls, values: np.ndarray, lengths: np.ndarray) -> "LabelRows":
        """Makes rows from their labels and their lengths `(num_images,)`."""
        offsets = np.zeros(len(lengths) + 1, np.int64)
        np.cumsum(lengths, out=offsets[1:])
        values = np.asarray(values)
        dtype = np.float32 if values.dtype.kind == "f" else np.int32
        return cls(values.astype(dtype), offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> np.ndarray:
        """Labels of each image, int64 `(num_images,)`."""
        return np.diff(self.offsets)

    def row(self, index: int) -> np.ndarray:
        """Gives one image's labels."""
        return self.values[self.offsets[index] : self.offsets[index + 1]]

    def take(self, indices: np.ndarray) -> "LabelRows":
        """Gives the rows of some images, in the order of `indices`."""
        lengths = self.lengths[indices]
        ends = np.cumsum(lengths)
        # The place of each value: its row's start, and its place therein.
        inner = np.arange(lengths.sum()) - np.repeat(ends - lengths, lengths)
        places = np.repeat(self.offsets[:-1][indices], lengths) + inner
        return LabelRows.of_lengths(self.values[places], lengths)

    def distinct(self) -> tuple["LabelRows", np.ndarray]:
        """Finds the different rows, of which large sets have few.

        Returns:
            The different rows, and for each image which one it has, int64
            `(num_images,)`.
        """
        which = np.zeros(len(self), np.int64)
        values: list[np.ndarray] = []
        lengths: list[int] = []
        for length in np.unique(self.lengths):
            images = np.flatnonzero(self.lengths == length)
            places = self.offsets[images][:, None] + np.arange(length)
            # Rows of one length as one array: (images, length)
            rows, inverse = np.unique(
                self.values[places], axis=0, return_inverse=True
            )
            which[images] = len(lengths) + inverse.ravel()
            values.extend(rows)
            lengths.extend([length] * len(rows))
        flat = np.concatenate(values) if values else np.zeros(0)
        return LabelRows.of_lengths(flat, np.array(lengths, np.int64)), which


class Targets:
    """What the network should give for each image: one for some outputs.

    Args:
        rows: LabelRows of all images.
        columns: function of a label to the outputs that are one for it.
        num_outputs: int. Outputs of the network.
    """

    def __init__(
        self,
        rows: LabelRows,
        columns: Callable[[int], Sequence[int]],
        num_outputs: int,
    ):
        self.num_outputs = num_outputs
        self._rows = rows
        self._columns = {
            int(label): np.asarray(columns(int(label)), np.int64)
            for label in np.unique(rows.values)
        }

    def __call__(self, indices: np.ndarray) -> np.ndarray:
        """Gives float32 `(len(indices), num_outputs)`, zeros and ones."""
        targets = np.zeros((len(indices), self.num_outputs), np.float32)
        for place, index in enumerate(indices):
            for label in self._rows.row(index):
                targets[place, self._columns[int(label)]] = 1.0
        return targets

    def mean(self, indices: np.ndarray | None = None) -> np.ndarray:
        """Gives how often each output is one, float64 `(num_outputs,)`.

        Args:
            indices: images to count, or None for all.
        """
        rows = self._rows if indices is None else self._rows.take(indices)
        distinct, which = rows.distinct()
        share = np.bincount(which, minlength=len(distinct)) / len(rows)
        totals = np.zeros(self.num_outputs)
        for index, weight in enumerate(share):
            labels = distinct.row(index)
            if len(labels):
                columns = [self._columns[int(label)] for label in labels]
                totals[np.unique(np.concatenate(columns))] += weight
        return totals
