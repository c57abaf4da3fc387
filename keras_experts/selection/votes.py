"""Votes of nearest neighbors, among all examples or some of them."""

import dataclasses

import numpy as np

from keras_experts.selection.neighbors import most_neighbors
from keras_experts.selection.neighbors import most_votes
from keras_experts.selection.neighbors import nearest_neighbors

# Beyond three times the voters: of so many, enough are on one's own side of a
# random halving, but for seven examples of a thousand at most.
SPARE = 5


@dataclasses.dataclass(frozen=True, eq=False)
class Votes:
    """Each example's nearest others, which vote on its label.

    Attributes:
        neighbors: int array `(n, m)`, the nearest first.
        labels: int array `(n,)`.
        k: int. Those that vote, at most m.
    """

    neighbors: np.ndarray
    labels: np.ndarray
    k: int

    @property
    def voters(self) -> np.ndarray:
        """The k nearest of each example, int array `(n, k)`."""
        return self.neighbors[:, : self.k]

    def correct(self) -> np.ndarray:
        """Returns whether each example's neighbors vote for its label.

        Returns:
            Bool array `(n,)`. Ties go to the lower label.
        """
        return most_votes(self.labels, self.voters) == self.labels

    def influences(self, groups: np.ndarray) -> np.ndarray:
        """Returns how many right outcomes would be lost without each group.

        Without a group, the outcomes of its examples are missing, and where
        they voted the next neighbors vote in their place.

        Args:
            groups: int array `(n,)`. As in `nearest_neighbors`.

        Returns:
            Float array `(n,)`, to be added up over the examples of a group.
        """
        correct = self.correct().astype(float)
        influences = correct.copy()
        group = groups[self.neighbors]  # (n, m)
        for rank in range(self.k):
            removed = group == group[:, rank, None]
            rest = np.argsort(removed, axis=1, kind="stable")[:, : self.k]
            voters = np.take_along_axis(self.neighbors, rest, axis=1)
            lost = correct - (most_votes(self.labels, voters) == self.labels)
            lost[removed[:, :rank].any(axis=1)] = 0  # counted at a lower rank
            influences += np.bincount(
                self.neighbors[:, rank], lost, minlength=len(correct)
            )
        return influences

    def placed(self, order: np.ndarray) -> "Votes":
        """Gives the votes of examples in another order.

        Args:
            order: int array `(n,)`. Where each example stands there.
        """
        here = np.argsort(order)
        return dataclasses.replace(
            self,
            neighbors=order.astype(self.neighbors.dtype)[self.neighbors][here],
            labels=self.labels[here],
        )

    def correct_beside(self, sides: np.ndarray) -> np.ndarray:
        """Tells the same, if only examples on one's own side vote.

        Args:
            sides: bool array `(n,)`. On which of two sides each example is.

        Returns:
            Bool array `(n,)`; False where fewer than k of the m are there.
        """
        beside = sides[self.neighbors] == sides[:, None]  # (n, m)
        nearest = np.argsort(~beside, axis=1, kind="stable")[:, : self.k]
        voters = np.take_along_axis(self.neighbors, nearest, axis=1)
        enough = np.take_along_axis(beside, nearest, axis=1).all(axis=1)
        return enough & (most_votes(self.labels, voters) == self.labels)


def vote(
    features: np.ndarray,
    labels: np.ndarray,
    k: int,
    metric: str,
    groups: np.ndarray | None = None,
) -> Votes:
    """Returns the neighbors that vote, and some more.

    Args:
        features: array of numbers `(n, channels)`.
        labels: int array `(n,)`.
        k: int. Number of neighbors that vote.
        metric: str. As in `nearest_neighbors`, and so is the next.
        groups: int array `(n,)`.
    """
    more = min(3 * k + SPARE, most_neighbors(len(features), groups))
    neighbors = nearest_neighbors(features, max(k, more), metric, groups)
    return Votes(neighbors.astype(np.int32), np.asarray(labels), k)
