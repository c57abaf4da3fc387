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
from keras_experts.selection.statistics import sign_test

NUM_HALVINGS = 20
# Leads that are equal but for rounding count as equal.
ROUNDING = 1e-9


@dataclasses.dataclass(frozen=True)
class Lead:
    """How much of a picked module's lead over the baseline is luck.

    Attributes:
        rivals: int. Modules it was picked from, without the baseline.
        by_chance: float in (0, 1]. How often the best of as many modules, none
            of which is better than the baseline, would lead by as many of its
            standard errors (the level of a test that counts the rivals).
        cross_fitted: float. The gain of the module that one half of the
            examples picks, measured on the other half, each with neighbors of
            its own half only; the mean over many halvings. None without votes
            of neighbors, or if a race used all examples to eliminate rivals.
    """

    rivals: int
    by_chance: float
    cross_fitted: float | None

    @property
    def told(self) -> str:
        """`by_chance` in per cent."""
        if self.by_chance < 1e-3:
            return "below 0.1%"
        digits = 1 if self.by_chance < 0.1 else 0
        return f"{self.by_chance:.{digits}%}"


def weigh_lead(
    best: Score,
    baseline: Score,
    rivals: Sequence[Score],
    eliminated: int = 0,
    margin: float = 0.0,
    seed: int = 0,
    unused: np.ndarray | None = None,
) -> Lead | None:
    """Weighs the lead of the best of many.

    Args:
        best: Score of what was picked, one of the rivals.
        baseline: Score.
        rivals: Score of all it was picked from, in an order that their values
            have no part in: of equals the first is picked.
        eliminated: int. Rivals without a score on all examples.
        margin: float. As in `select`.
        seed: int. Seed of the draws.
        unused: bool array `(n,)`. Examples that had no part in eliminating
            rivals; None if no rival was eliminated.

    Returns:
        Lead, or None where a score is no mean over the same two or more
        examples.

    References:
        Westfall and Young, Resampling-Based Multiple Testing (1993): the
        single-step maximum of standardised bootstrap means.
    """
    every = [best, baseline, *rivals]
    if any(score.per_example is None for score in every):
        return None
    number = len(baseline.per_example)
    if number < 2 or any(len(s.per_example) != number for s in every):
        return None
    rng = np.random.default_rng(seed)
    cross_fitted = None
    if unused is None:
        unused = np.full(number, not eliminated)
    if unused.any() and all(score.votes is not None for score in every):
        cross_fitted = _cross_fitted(baseline, rivals, margin, rng, unused)
    return Lead(
        len(rivals) + eliminated,
        _by_chance(best, baseline, rivals, eliminated, rng),
        cross_fitted,
    )


def _by_chance(
    best: Score,
    baseline: Score,
    rivals: Sequence[Score],
    eliminated: int,
    rng: np.random.Generator,
) -> float:
    from scipy.stats import norm

    lead = best.per_example - baseline.per_example
    if lead.mean() <= 0:
        return 1.0
    if not lead.std():  # better on every example
        alone = sign_test(best, baseline)
        return min(1.0, (len(rivals) + eliminated) * alone)
    seen = lead.mean() / _standard_error(lead, (best, baseline))
    reached = _share_reaching(seen, baseline, rivals, rng)
    # Of what was eliminated no more is known than that it is no better:
    # independent, it makes a maximum at least as large (Sidak).
    reached = 1 - (1 - reached) * norm.cdf(seen) ** eliminated
    if np.isin(lead, (-1, 0, 1)).all():
        # Few draws say nothing of examples that are fewer still.
        reached = max(reached, sign_test(best, baseline))
    return float(reached)


def _share_reaching(
    seen: float, baseline: Score, rivals: Sequence[Score], rng
) -> float:
    """Gives how often the best of rivals without a lead reaches `seen`."""
    number = len(baseline.per_example)
    leads = np.stack([s.per_example - baseline.per_example for s in rivals])
    spread = leads.std(axis=1)
    varying = spread > 0
    # With the means of what none is better than.
    centred = leads[varying] - leads[varying].mean(axis=1, keepdims=True)
    centred /= spread[varying, None] / np.sqrt(number)
    even = np.full(number, 1 / number)
    reached = 0
    for _ in range(0, NUM_RESAMPLES, RESAMPLES_AT_ONCE):
        draws = rng.multinomial(number, even, RESAMPLES_AT_ONCE)
        means = centred @ draws.T / number  # (rivals, resamples)
        reached += int((means.max(axis=0) >= seen - ROUNDING).sum())
    # What was seen is one draw more.
    return (reached + 1) / (NUM_RESAMPLES + 1)


def _standard_error(lead: np.ndarray, scores: Sequence[Score]) -> float:
    """Returns the standard error of a mean gain over dependent examples.

    Neighbors are right or wrong together, and so are exact copies: for each
    pair one of which votes on the other, or of copies, twice the product of
    deviations is added to the variance.
    """
    number = len(lead)
    deviations = lead - lead.mean()
    group = scores[0].group_ids()
    variance = (np.bincount(group, deviations) ** 2).sum()
    pairs = [
        np.sort(np.stack([np.arange(number), voters], axis=1), axis=1)
        for score in scores
        if score.votes is not None
        for voters in score.votes.voters.T
    ]
    if pairs:
        first, second = np.unique(np.concatenate(pairs), axis=0).T
        linked = 2 * (deviations[first] * deviations[second]).sum()
        variance += max(linked, 0.0)
    return float(np.sqrt(variance) / number)


def _cross_fitted(
    baseline: Score,
    rivals: Sequence[Score],
    margin: float,
    rng: np.random.Generator,
    unused: np.ndarray,
) -> float | None:
    group = baseline.group_ids()
    num_groups = group.max() + 1
    # Copies on both sides would measure what they helped to pick.
    unused = (np.bincount(group, ~unused) == 0)[group]
    gains = []
    for _ in range(NUM_HALVINGS):
        side = rng.permuted(np.arange(num_groups) < num_groups // 2)[group]
        # Images by which rivals were eliminated have already picked.
        for picking in (side | ~unused, ~side | ~unused):
            if picking.all():
                continue
            correct = [
                score.votes.correct_beside(picking)
                for score in (baseline, *rivals)
            ]
            leads = np.stack(correct[1:]).astype(float) - correct[0]
            means = leads[:, picking].mean(axis=1)
            picked = int(np.argmax(means))
            # Otherwise the baseline is kept, which has no gain.
            ahead = means[picked] > margin
            gains.append(ahead * leads[picked, ~picking].mean())
    return float(np.mean(gains)) if gains else None
