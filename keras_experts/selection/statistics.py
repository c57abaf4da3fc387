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
    """

    value: float
    per_example: np.ndarray | None = None
    num_examples: int | None = None
    votes: Votes | None = None

    def __post_init__(self):
        if not math.isfinite(self.value):
            raise ValueError(f"A score must be finite. Received: {self.value}.")

    @property
    def standard_error(self) -> float | None:
        """Of the value, over examples; None where it is no mean."""
        if self.per_example is None:
            return None
        return _standard_error(self.per_example)


def mean_score(per_example: np.ndarray, votes: Votes | None = None) -> Score:
    """Makes a score of what each example says, `(n,)`."""
    per_example = np.asarray(per_example, np.float64)
    return Score(float(per_example.mean()), per_example, votes=votes)


def paired_difference(first: Score, second: Score) -> tuple[float, float]:
    """Compares two scores of the same examples.

    Returns:
        First less second, and the standard error of that: of the differences
        of examples, which is smaller than that of unpaired scores wherever
        both find the same examples hard.
    """
    difference = first.per_example - second.per_example
    return float(difference.mean()), _standard_error(difference)


def sign_test(better: Score, worse: Score) -> float:
    """Tests on pairs of examples whether one score is higher than another.

    Of the examples that one has right and the other wrong, half would be the
    one's if both were as good (the exact test of McNemar, one-sided).

    Returns:
        float. The probability of so many or more.

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
    """Estimates how often each candidate would be the best.

    Examples are drawn again with replacement, the same for all candidates
    (paired bootstrap). Equal best scores share a draw.

    Args:
        scores: of the same n examples, each with `per_example`.
        seed: int.

    Returns:
        Float array `(candidates,)`; sums to 1.
    """
    values = np.stack([score.per_example for score in scores])
    number = values.shape[1]
    rng = np.random.default_rng(seed)
    even = np.full(number, 1 / number)
    wins = np.zeros(len(values))
    for _ in range(0, NUM_RESAMPLES, RESAMPLES_AT_ONCE):
        # How often each example was drawn: `(resamples, n)`.
        draws = rng.multinomial(number, even, RESAMPLES_AT_ONCE)
        # Rounded, so that equal sums in another order stay equal.
        means = np.round(values @ draws.T / number, 12)
        best = means == means.max(axis=0)
        wins += (best / best.sum(axis=0)).sum(axis=1)
    return wins / NUM_RESAMPLES


def interval_95(score: Score, is_share: bool = True) -> list[float] | None:
    """Gives the 95 % interval of a mean.

    Of a share of examples it is Wilson's, which lies in [0, 1] and is not
    empty where all are right or wrong; of other means the normal one.
    """
    error = score.standard_error
    if error is None:
        return None
    if is_share:
        number, z2 = len(score.per_example), NORMAL_95**2
        middle = (score.value + z2 / (2 * number)) / (1 + z2 / number)
        variance = score.value * (1 - score.value) / number
        half = np.sqrt(z2 * variance + z2**2 / (4 * number**2))
        half /= 1 + z2 / number
        return [float(max(middle - half, 0)), float(min(middle + half, 1))]
    return [score.value + sign * NORMAL_95 * error for sign in (-1, 1)]


def _standard_error(values: np.ndarray) -> float:
    return float(np.std(values) / np.sqrt(len(values)))
