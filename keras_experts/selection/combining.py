"""Experts whose concatenated features do better than the best one's.

This is a future direction in section 7 of the paper; the procedure is ours.
Squared distances of concatenated blocks are the sums of those of each block,
so a candidate is tested by adding its matrix to that of the chosen ones.
"""

import dataclasses
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence

import numpy as np

from keras_experts.checks import check_at_least
from keras_experts.selection.distances import pairs_within_groups
from keras_experts.selection.folds import assign_folds
from keras_experts.selection.neighbors import leave_one_out_correct

# Rows of the matrix of sums at a time.
TILE_ROWS = 1024
# Float64 values of direct differences at a time (64 MiB).
DIRECT_VALUES = 2**23


@dataclasses.dataclass(frozen=True, eq=False)
class Combination:
    """Experts whose concatenated features were chosen together.

    Attributes:
        names: list of str. The experts, in the order of their choice.
        correct: bool array `(n,)`. Whether the nearest other example has the
            label of each.
        accuracy: float. Mean of `correct`, in [0, 1]. The same examples chose
            the experts, so it is too high.
        path: list of tuples (name, accuracy with it and those before).
        honest_accuracy: float. As `accuracy`, but each half of the examples
            is scored by itself with the experts that the other half chooses.
        single_honest_accuracy: float. The same with one expert: what
            `honest_accuracy` must exceed for a combination to be worth it.
    """

    names: list[str]
    correct: np.ndarray
    accuracy: float
    path: list[tuple[str, float]]
    honest_accuracy: float
    single_honest_accuracy: float


def combine(
    features: Mapping[str, np.ndarray] | Callable[[str], np.ndarray],
    labels: np.ndarray,
    names: Sequence[str] | None = None,
    max_experts: int = 4,
    margin: float = 0.0,
    normalize: bool = True,
    seed: int = 0,
    cache_bytes: int = 2**30,
    groups: np.ndarray | None = None,
) -> Combination:
    """Chooses experts whose concatenated features do best, one at a time.

    Starts with the best expert; adds the one that raises leave-one-out
    accuracy of the nearest neighbour most, as long as it does by more than
    `margin`. Equal ones go to the earlier expert.

    A block of features is centred and divided by the root of its mean squared
    norm: otherwise the expert with the largest numbers would decide alone.
    That leaves a single expert's neighbours as they are.

    For the honest accuracies each half of the examples makes its own greedy
    choice, which is measured on the other half. Neighbours are found within a
    half: two that are each other's are right or wrong together, and would
    carry luck from one half to the other. With half as many neighbours these
    accuracies are lower, and to be compared with one another alone.

    Args:
        features: maps each expert's name to its features, float `(n, d_i)`;
            or a function that does, which is called again where the results
            are not kept.
        labels: int array `(n,)`.
        names: sequence of str. The experts, where `features` is a function.
        max_experts: int. Experts to choose, at least 1.
        margin: float. Gain in accuracy that one more expert must exceed, at
            least 0.
        normalize: bool. Whether blocks are brought to one scale.
        seed: int. Of the halves.
        cache_bytes: int. Memory for the distances of candidates, 8n² bytes
            each; the others are computed again for each test. Three more
            such matrices are needed at any time.
        groups: int array `(n,)`. Examples with equal ids, such as exact
            copies, are never each other's neighbors, and share a half. By
            default each is a group of its own.

    Returns:
        Combination.

    Raises:
        ValueError: if an argument does not fit, or a value is not finite.
    """
    check_at_least(
        max_experts=(max_experts, 1),
        margin=(margin, 0.0),
        cache_bytes=(cache_bytes, 0),
    )
    if isinstance(features, Mapping):
        names = list(features) if names is None else names
        features = features.__getitem__
    if not names:
        raise ValueError(
            f"`names` must hold at least one expert. Received: {names}."
        )
    labels = np.asarray(labels)
    groups = np.arange(labels.size) if groups is None else np.asarray(groups)
    num_cached = cache_bytes // (8 * max(labels.size, 1) ** 2)
    names = list(dict.fromkeys(names))
    pool = _Pool(features, names, labels, groups, normalize, num_cached)
    path = pool.grow(max_experts, margin)
    names = [name for name, _ in path]
    correct = pool.correct(names)
    pool.cached.clear()
    folds = assign_folds(labels, seed, 2, groups)
    halves = [pool.part(np.flatnonzero(folds == half)) for half in (0, 1)]
    return Combination(
        names,
        correct,
        path[-1][1],
        path,
        _cross_fit(*halves, max_experts, margin),
        _cross_fit(*halves, 1, margin),
    )


@dataclasses.dataclass
class _Pool:
    """Experts' features, and which examples sets of them get right."""

    fetch: Callable[[str], np.ndarray]
    names: list[str]
    labels: np.ndarray
    groups: np.ndarray
    normalize: bool
    num_cached: int
    cached: dict[str, tuple] = dataclasses.field(default_factory=dict)
    known: dict[frozenset, np.ndarray] = dataclasses.field(default_factory=dict)
    chosen: list[str] = dataclasses.field(default_factory=list)
    # Distances of the chosen ones, and their rounding.
    total: np.ndarray | float = 0.0
    bound: np.ndarray | float = 0.0

    def part(self, rows: np.ndarray) -> "_Pool":
        """Makes the pool of some of the examples."""
        return _Pool(
            lambda name: self._features(name)[rows],
            self.names,
            self.labels[rows],
            self.groups[rows],
            self.normalize,
            self.num_cached,
        )

    def grow(self, max_experts: int, margin: float) -> list[tuple[str, float]]:
        """Chooses experts, one at a time."""
        path, hits = [], 0
        num = self.labels.size
        while len(path) < min(max_experts, len(self.names)):
            chosen = [name for name, _ in path]
            rest = [name for name in self.names if name not in chosen]
            scores = [
                np.count_nonzero(self.correct([*chosen, name])) for name in rest
            ]
            best = int(np.argmax(scores))
            if path and scores[best] <= hits + margin * num:
                break
            hits = scores[best]
            path.append((rest[best], float(hits / num)))
        return path

    def correct(self, names: list[str]) -> np.ndarray:
        """Tells for each example whether the experts' features fit it."""
        key = frozenset(names)
        if key not in self.known:
            if len(names) == 1:
                features = self._features(names[0])
                correct = leave_one_out_correct(
                    features, self.labels, groups=self.groups
                )
            else:
                correct = self.labels[self._nearest(names)] == self.labels
            self.known[key] = correct
        return self.known[key]

    def _features(self, name: str) -> np.ndarray:
        features = np.asarray(self.fetch(name), np.float64)
        if features.ndim != 2 or self.labels.shape != (len(features),):
            raise ValueError(
                "Features of an expert must have shape (examples, channels), "
                f"and labels (examples,). Received: shape {features.shape} "
                f"of {name!r}, labels of shape {self.labels.shape}."
            )
        return features

    def _scale(self, centered: np.ndarray) -> float:
        """Gives what squared distances are divided by."""
        if not self.normalize:
            return 1.0
        return np.einsum("nd,nd->", centered, centered) / len(centered) or 1.0

    def _distances(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Gives squared distances `(n, n)` and their rounding `(n,)`."""
        if name in self.cached:
            return self.cached[name]
        features = self._features(name)
        features = features - features.mean(axis=0)
        features /= np.sqrt(self._scale(features))
        squares = np.einsum("nd,nd->n", features, features)
        distances = features @ features.T
        distances *= -2
        distances += squares[:, None]
        distances += squares
        for start in range(0, len(distances), TILE_ROWS):
            tile = slice(start, start + TILE_ROWS)
            pairs = pairs_within_groups(self.groups[tile], self.groups)
            distances[tile][pairs] = np.inf  # no example is its own neighbor
        # The error of the product over d terms, and of the sums.
        epsilon = np.finfo(np.float64).eps * (features.shape[1] + 16)
        result = distances, epsilon * (squares + squares.max())
        # The first stay: candidates come round in turn, so that replacing
        # the oldest would never find one again.
        if len(self.cached) < self.num_cached:
            self.cached[name] = result
        return result

    def _add_up(self, names: list[str]) -> None:
        """Makes `total` and `bound` those of the experts."""
        if self.chosen != names[: len(self.chosen)]:
            self.total, self.bound, self.chosen = 0.0, 0.0, []
        for name in names[len(self.chosen) :]:
            distances, bound = self._distances(name)
            self.total = self.total + distances
            self.bound = self.bound + bound
        self.chosen = names

    def _nearest(self, names: list[str]) -> np.ndarray:
        """Finds each example's nearest other, `(n,)`; ties to the lower."""
        self._add_up(names[:-1])
        distances, bound = self._distances(names[-1])
        margin = 2 * (self.bound + bound)
        nearest = np.empty(len(distances), np.int64)
        for start in range(0, len(distances), TILE_ROWS):
            tile = slice(start, start + TILE_ROWS)
            sums = self.total[tile] + distances[tile]
            limits = sums.min(axis=1) + margin[tile]
            near, others = np.nonzero(sums <= limits[:, None])
            near += start
            if len(near) > len(sums):
                exact = self._direct(names, near, others)
                order = np.lexsort((others, exact, near))
                near, others = near[order], others[order]
            _, first = np.unique(near, return_index=True)
            nearest[tile] = others[first]
        return nearest

    def _direct(
        self, names: list[str], left: np.ndarray, right: np.ndarray
    ) -> np.ndarray:
        """Measures squared distances of pairs by their differences."""
        distances = np.zeros(len(left))
        for name in sorted(names, key=self.names.index):
            features = self._features(name)
            scale = self._scale(features - features.mean(axis=0))
            step = max(1, DIRECT_VALUES // features.shape[1])
            for start in range(0, len(left), step):
                pairs = slice(start, start + step)
                difference = features[left[pairs]] - features[right[pairs]]
                squares = np.einsum("pd,pd->p", difference, difference)
                distances[pairs] += squares / scale
        return distances


def _cross_fit(
    first: _Pool, second: _Pool, max_experts: int, margin: float
) -> float:
    """Scores each half of the examples with the other half's choice."""
    hits = 0
    for picking, measuring in ((first, second), (second, first)):
        path = picking.grow(max_experts, margin)
        hits += np.count_nonzero(measuring.correct([name for name, _ in path]))
    return float(hits / (len(first.labels) + len(second.labels)))
