"""Scores of experts by what the upstream's networks predict of a task.

Pure functions of NumPy arrays; none needs the task's labels.
"""

import numpy as np

from keras_experts.saved_models.upstream_labels import LOSSES
from keras_experts.saved_models.upstream_labels import SUM_TOLERANCE

# The least number that float32 holds in full precision: what a sigmoid in
# float32 rounded to zero becomes this, and nothing else is changed.
PROBABILITY_FLOOR = float(np.finfo(np.float32).tiny)


def domain_log_probabilities(probabilities: np.ndarray) -> np.ndarray:
    """Gives each image's log probability of belonging to each expert.

    Domain prediction: an expert's score is the mean over the task's images,
    `1/n sum_i log max(p_ie, PROBABILITY_FLOOR)`, the logarithm of the
    geometric mean of the prediction network's probabilities. Largest wins.

    Args:
        probabilities: float array `(images, experts)`, values in [0, 1].

    Returns:
        Float64 array `(images, experts)`, nats, at most 0.

    Raises:
        ValueError: if a value is out of its range, or there is no image.

    References:
        Section 5 of the paper, "Domain Prediction".
    """
    values = _checked(probabilities)
    return np.log(np.maximum(values, PROBABILITY_FLOOR))


def task_distribution(probabilities: np.ndarray, loss: str) -> np.ndarray:
    """Gives the distribution of upstream labels on a task's images.

    The mean over the images; of sigmoids, which do not exclude one another,
    it is divided by its sum.

    Args:
        probabilities: float array `(images, outputs)`, values in [0, 1].
        loss: str. "softmax" or "sigmoid", as of the `Head` they come from.

    Returns:
        Float64 array `(outputs,)` of sum 1.

    Raises:
        ValueError: if there is no such loss, a value is out of its range, or
            the sum of the mean is not 1 (softmax) or above 0 (sigmoid).
    """
    if loss not in LOSSES:
        raise ValueError(f"`loss` must be one of {LOSSES}. Received: {loss!r}.")
    mean = _checked(probabilities).mean(axis=0)  # (outputs,)
    total = mean.sum()
    is_one = abs(total - 1) <= SUM_TOLERANCE
    if not (total > 0 and (is_one or loss == "sigmoid")):
        raise ValueError(
            "`probabilities` must have the sum 1 for each image (softmax), or "
            f"one above 0 (sigmoid). Received: a mean of {total:.6g}, {loss}."
        )
    return mean / total


def label_divergence(
    probabilities: np.ndarray,
    loss: str,
    prior: np.ndarray,
    upstream_prior: np.ndarray,
) -> float:
    """Measures how far a task's upstream labels are from an expert's.

    Label matching: `KL(task || prior) = sum_c task_c log(task_c / prior_c)`,
    with `task` of `task_distribution`. Smallest wins. A label that no upstream
    image has says nothing about experts, and would make all of them infinitely
    far: such outputs are left out of both distributions (our choice; the
    paper's appendix B is not public).

    Args:
        probabilities: float array `(images, outputs)`, values in [0, 1]. For
            many experts, `task_distribution(...)[None]` gives the same in
            less time.
        loss: str. "softmax" or "sigmoid".
        prior: float array `(outputs,)` of `read_label_prior`: label
            frequencies of the expert's slice, in which 1 % is the upstream's
            already; for the baseline, `upstream_prior`.
        upstream_prior: float array `(outputs,)`. The baseline's.

    Returns:
        float. Nats, at least 0; infinite if the task has labels that the
        prior lacks and the upstream has.

    Raises:
        ValueError: as `task_distribution`, or if lengths differ or a prior is
            no distribution.

    References:
        Section 5 of the paper, "Label Matching".
    """
    task = task_distribution(probabilities, loss)
    prior = _checked_prior("prior", prior, len(task))
    upstream = _checked_prior("upstream_prior", upstream_prior, len(task))
    kept = upstream > 0
    if not (task[kept].any() and prior[kept].any()):
        raise ValueError(
            "`prior` and the task must have labels that `upstream_prior` has. "
            "Received: none in common."
        )
    task = task[kept] / task[kept].sum()
    prior = prior[kept] / prior[kept].sum()
    present = task > 0  # 0 log 0 = 0
    with np.errstate(divide="ignore"):
        ratios = np.log(task[present]) - np.log(prior[present])
    # Not BLAS's product, whose threads wait for one another on a busy machine;
    # rounding may leave less than nothing of equal distributions.
    return max(0.0, float((task[present] * ratios).sum()))


def _checked(probabilities: np.ndarray) -> np.ndarray:
    values = np.asarray(probabilities, np.float64)
    if values.ndim != 2 or not values.size:
        raise ValueError(
            "`probabilities` must have shape (images, outputs), at least one "
            f"of each. Received: shape {values.shape}."
        )
    # Written so that NaN is out of range.
    if not (values.min() >= 0 and values.max() <= 1):
        raise ValueError(
            "`probabilities` must be in [0, 1]. "
            f"Received: values from {values.min():.6g} to {values.max():.6g}."
        )
    return values


def _checked_prior(argument: str, prior: np.ndarray, length: int) -> np.ndarray:
    values = np.asarray(prior, np.float64)
    if values.shape != (length,):
        raise ValueError(
            f"`{argument}` must have one value for each of the {length} "
            f"outputs. Received: shape {values.shape}."
        )
    if not (values.min() >= 0 and values.sum() > 0 and values.max() < np.inf):
        raise ValueError(
            f"`{argument}` must be finite, at least 0 and not all 0. "
            f"Received: values from {values.min():.6g} to {values.max():.6g}."
        )
    return values
