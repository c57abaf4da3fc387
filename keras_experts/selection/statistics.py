"""How sure a ranking is."""

import dataclasses
import math

import numpy as np

from keras_experts.selection.votes import Votes

NUM_RESAMPLES = 2000
RESAMPLES_AT_ONCE = 100
NORMAL_95 = 1.959964


@dataclasses.dataclass(frozen=True)
class Score:
    """What a strategy says of one candidate.

    Attributes:
        value: float. The higher the better.
        per_example: float array `(n,)` whose mean is the value, or None where
            it is no mean over examples.
        num_examples: int. Examples it is of, where it is no mean over them
            and they are a part of the task; else None.
        votes: Votes whose outcomes `per_example` has, or None.
        groups: int array `(n,)`, equal for exact copies, or None for none.

    Raises:
        ValueError: if the value is NaN or infinite, which cannot be ranked.
    """

    value: float
    per_example: np.ndarray | None = None
    num_examples: int | None = None
    votes: Votes | None = None
    groups: np.ndarray | None = None

    def __post_init__(self):
        if not math.isfinite(self.value):
            raise ValueError(f"A score must be finite. Received: {self.value}.")

    @property
    def standard_error(self) -> float | None:
        """The standard error over examples; None where it is no mean."""
        if self.per_example is None:
            return None
        return float(np.std(self.per_example) / np.sqrt(self.num_independent))

    @property
    def num_independent(self) -> float:
        """The effective number of examples: exact copies count as one."""
        sizes = np.bincount(self.group_ids())
        return len(self.per_example) ** 2 / float((sizes**2).sum())

    def group_ids(self) -> np.ndarray:
        """Returns int `(n,)` in [0, groups), equal for exact copies."""
        if self.groups is None:
            return np.arange(len(self.per_example))
        return np.unique(self.groups, return_inverse=True)[1]


def mean_score(
    per_example: np.ndarray,
    votes: Votes | None = None,
    groups: np.ndarray | None = None,
) -> Score:
    """Returns the score that is the mean of a value of each example.

    Args:
        per_example: array of numbers `(n,)`.
        votes: Votes, as in `Score`.
        groups: int array `(n,)`, as in `Score`.
    """
    per_example = np.asarray(per_example, np.float64)
    value = float(per_example.mean())
    return Score(value, per_example, votes=votes, groups=groups)


def paired_difference(first: Score, second: Score) -> tuple[float, float]:
    """Returns the difference of two scores and its standard error.

    Returns:
        First less second, and the standard error of that: of the differences
        of examples, which is smaller than that of unpaired scores wherever
        both find the same examples hard.
    """
    difference = first.per_example - second.per_example
    error = np.std(difference) / np.sqrt(first.num_independent)
    return float(difference.mean()), float(error)


def paired_test(better: Score, worse: Score) -> float:
    """Tests whether one score is higher than another of the same examples.

    `sign_test` alone assumes independent examples. But neighbors vote on each
    other and are right or wrong together, above all near-duplicates such as
    bursts of photos. So the difference is also compared with its jackknife
    standard error, from what would change without each example and its exact
    copies. On average that is not too small (Efron and Stein). Without votes,
    examples count as independent, apart from exact copies.

    Returns:
        float. The larger of the two one-sided p-values.

    Raises:
        ValueError: as `sign_test`.

    References:
        Efron and Stein, "The jackknife estimate of variance", 1981.
    """
    from scipy.stats import norm

    p_value = sign_test(better, worse)
    group = better.group_ids()
    influences = _influences(better, group) - _influences(worse, group)
    number = len(influences)
    influences -= influences.mean()
    influences = np.bincount(group, influences)
    error = np.sqrt((influences**2).sum()) / number
    if not error:
        return p_value
    return max(p_value, float(norm.sf((better.value - worse.value) / error)))


def _influences(score: Score, group: np.ndarray) -> np.ndarray:
    if score.votes is None:
        return score.per_example.copy()
    return score.votes.influences(group)


def sign_test(better: Score, worse: Score) -> float:
    """Tests on pairs of examples whether one score is higher than another.

    Of the examples that only one of two equally good modules gets right, half
    are expected to be its own (the exact one-sided test of McNemar).

    Returns:
        float. The probability of as many or more.

    Raises:
        ValueError: if the scores are no means over examples.
    """
    from scipy.stats import binom

    if better.per_example is None or worse.per_example is None:
        raise ValueError(
            'A race of mode "error" needs a strategy whose score is a mean '
            "over examples, such as knn. Received: one that is none."
        )
    difference = better.per_example - worse.per_example
    wins = np.count_nonzero(difference > 0)
    trials = np.count_nonzero(difference)
    return float(binom.sf(wins - 1, trials, 0.5))


def chances_of_winning(scores: list[Score], seed: int = 0) -> np.ndarray:
    """Returns the estimated probability that each candidate is the best.

    Examples, exact copies together, are drawn again with replacement, the same
    for all candidates (paired bootstrap). Equal best scores share a draw.

    Args:
        scores: of the same n examples, each with `per_example`.
        seed: int.

    Returns:
        Float array `(candidates,)`; sums to 1.
    """
    values = np.stack([score.per_example for score in scores])
    group = scores[0].group_ids()
    sizes = np.bincount(group)
    values = np.stack([np.bincount(group, row) for row in values])
    number = len(sizes)
    rng = np.random.default_rng(seed)
    even = np.full(number, 1 / number)
    wins = np.zeros(len(values))
    for _ in range(0, NUM_RESAMPLES, RESAMPLES_AT_ONCE):
        # How often each example was drawn: `(resamples, n)`.
        draws = rng.multinomial(number, even, RESAMPLES_AT_ONCE)
        # Rounded, so that equal sums in another order stay equal.
        means = np.round(values @ draws.T / (sizes @ draws.T), 12)
        best = means == means.max(axis=0)
        wins += (best / best.sum(axis=0)).sum(axis=1)
    return wins / NUM_RESAMPLES


def interval_95(score: Score, is_share: bool = True) -> list[float] | None:
    """Returns the 95% interval of a mean.

    For a fraction of examples it is Wilson's, which lies in [0, 1] and is not
    empty where all are right or wrong; for other means the normal one.
    """
    error = score.standard_error
    if error is None:
        return None
    if is_share:
        number, z2 = score.num_independent, NORMAL_95**2
        middle = (score.value + z2 / (2 * number)) / (1 + z2 / number)
        variance = score.value * (1 - score.value) / number
        half = np.sqrt(z2 * variance + z2**2 / (4 * number**2))
        half /= 1 + z2 / number
        return [float(max(middle - half, 0)), float(min(middle + half, 1))]
    return [score.value + sign * NORMAL_95 * error for sign in (-1, 1)]
