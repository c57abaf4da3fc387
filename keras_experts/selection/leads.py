"""What the lead of the best of many modules is worth.

The best of many leads by luck too: on the images that picked it, it looks
better than it is.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from keras_experts.selection.statistics import NUM_RESAMPLES
from keras_experts.selection.statistics import RESAMPLES_AT_ONCE
from keras_experts.selection.statistics import Score

NUM_HALVINGS = 200


@dataclasses.dataclass(frozen=True)
class Lead:
    """How much of a picked module's lead over the baseline is luck.

    Attributes:
        rivals: int. Modules it was picked from, without the baseline.
        by_chance: float in [0, 1]. How often the best of as many modules, none
            of which is better than the baseline, would lead by as many of its
            standard errors (the level of a test that counts the rivals).
        cross_fitted: float. What half of the examples picks, measured on the
            other half: its lead there, on the mean of many halvings. A pick
            by all of them is a little better.
    """

    rivals: int
    by_chance: float
    cross_fitted: float


def weigh_lead(
    best: Score,
    baseline: Score,
    rivals: Sequence[Score],
    margin: float = 0.0,
    seed: int = 0,
) -> Lead | None:
    """Weighs the lead of the best of many.

    Args:
        best: Score of what was picked, one of the rivals or the baseline.
        baseline: Score.
        rivals: Score of all others it was picked from.
        margin: float. As in `select`.
        seed: int. Of the draws.

    Returns:
        Lead, or None where there is no rival, or a score is no mean over the
        same two or more examples.

    References:
        Westfall and Young, Resampling-Based Multiple Testing (1993): the
        single-step maximum of studentised bootstrap means.
    """
    every = [best, baseline, *rivals]
    if not rivals or any(score.per_example is None for score in every):
        return None
    number = len(baseline.per_example)
    if number < 2 or any(len(s.per_example) != number for s in every):
        return None
    leads = np.stack([s.per_example - baseline.per_example for s in rivals])
    lead = best.per_example - baseline.per_example
    rng = np.random.default_rng(seed)
    return Lead(
        len(rivals),
        _by_chance(lead, leads, rng),
        _cross_fitted(leads, margin, rng),
    )


def _by_chance(lead: np.ndarray, leads: np.ndarray, rng) -> float:
    number = len(lead)
    if lead.mean() <= 0:
        return 1.0
    if not lead.std():
        return 0.0  # better on every example
    seen = lead.mean() / lead.std()
    spread = leads.std(axis=1)
    varying = spread > 0
    # With the means of what none is better than.
    centred = leads[varying] - leads[varying].mean(axis=1, keepdims=True)
    centred /= spread[varying, None]
    even = np.full(number, 1 / number)
    reached = 0
    for _ in range(0, NUM_RESAMPLES, RESAMPLES_AT_ONCE):
        draws = rng.multinomial(number, even, RESAMPLES_AT_ONCE)
        means = centred @ draws.T / number  # (rivals, resamples)
        reached += int((means.max(axis=0) >= seen).sum())
    return reached / NUM_RESAMPLES


def _cross_fitted(leads: np.ndarray, margin: float, rng) -> float:
    number = leads.shape[1]
    half = number // 2
    inside = np.zeros((NUM_HALVINGS, number))
    inside[:, :half] = 1
    inside = rng.permuted(inside, axis=1)
    sums = leads @ inside.T  # (rivals, halvings)
    one = sums / half
    other = (leads.sum(axis=1, keepdims=True) - sums) / (number - half)
    found = []
    for picking, measuring in ((one, other), (other, one)):
        picked = np.argmax(picking, axis=0)[None]
        ahead = np.take_along_axis(picking, picked, axis=0) > margin
        # Else the baseline is kept, which does not lead.
        found.append(ahead * np.take_along_axis(measuring, picked, axis=0))
    return float(np.mean(found))
