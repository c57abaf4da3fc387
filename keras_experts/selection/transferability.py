"""Scores of transferability, as their papers define them, in float64.

All grow with how well features, or the probabilities of a head, fit a task's
labels. None trains a classifier or holds examples out.
"""

import numpy as np

from keras_experts.selection.proxies import check_examples

# Ratios of precisions tried at first, evenly spaced in their logarithm, then
# around the best, which each round brings 4 times nearer.
NUM_RATIOS = 64
NUM_ROUNDS = 10
# So much larger than all squared singular values, features say nothing.
LARGEST_RATIO = 1e9
# Sums of float16 probabilities are within this of 1.
SUM_TOLERANCE = 1e-2


def log_maximum_evidence(features: np.ndarray, labels: np.ndarray) -> float:
    """Scores features by the evidence of a linear model of the labels.

    Each class's indicator y `(n,)` is a target of Bayesian linear regression,
    y ~ N(Fw, 1/β) with w ~ N(0, 1/α), whose evidence is

        log p(y | F, α, β) = n/2 log β + d/2 log α - n/2 log 2π
                             - β/2 |Fm - y|² - α/2 |m|² - 1/2 log |A|

    with A = αI + βFᵀF and m = βA⁻¹Fᵀy. The score (LogME) is its maximum over
    α and β, divided by n, averaged over classes. Features are used as they
    are, not centred. A maximum is a fixed point of the paper's iteration,
    α = γ/|m|², β = (n - γ)/|Fm - y|², which may stop at a lower one: here the
    best β for each ratio α/β has a closed form, and the ratio is searched.
    Where features give a class's labels exactly, the evidence has no bound,
    and the smallest ratio that rounding allows is taken.

    Args:
        features: float array `(n, d)`.
        labels: int array `(n,)`, of at least two classes.

    Returns:
        float. Nats an example, of any sign.

    Raises:
        ValueError: if an array does not fit, or a value is not finite.

    References:
        You et al., "LogME: Practical Assessment of Pre-trained Models for
        Transfer Learning", ICML 2021 (Section 4 and Algorithm 1).
    """
    features, labels = check_examples(features, labels)
    squares, left = _decompose(features)
    targets = np.eye(labels.max() + 1)[labels]  # (n, classes)
    projections = left.T @ targets  # (rank, classes)
    errors = ((targets - left @ projections) ** 2).sum(axis=0)
    lowest = max(features.shape) * np.finfo(np.float64).eps
    evidences = [
        _maximize_evidence(squares, projection**2, error, len(labels), lowest)
        for projection, error in zip(projections.T, errors)
    ]
    return float(np.mean(evidences) / len(labels))


def h_score(features: np.ndarray, labels: np.ndarray) -> float:
    """Scores features by how far classes lie apart for their covariance.

    The regularised H-score is (1 - δ) tr(C⁻¹ B): B is the covariance of the
    class means, each counted as often as its class has examples; C is
    (1 - δ)S + δ tr(S)/d I, where S is the covariance of the features and δ
    the shrinkage of Ledoit and Wolf. All covariances divide by n.

    Args:
        features: float array `(n, d)`.
        labels: int array `(n,)`, of at least two classes.

    Returns:
        float. In [0, classes - 1]; 0 for constant features.

    Raises:
        ValueError: if an array does not fit, or a value is not finite.

    References:
        Ibrahim et al., "Newer is not always better: Rethinking
        transferability metrics, their peculiarities, stability and
        performance", 2021 (shrinkage-based H-score); Ledoit and Wolf, "A
        well-conditioned estimator for large-dimensional covariance matrices",
        2004.
    """
    features, labels = check_examples(features, labels)
    num, channels = features.shape
    constant = np.ptp(features, axis=0) == 0
    features = features - features.mean(axis=0)
    features[:, constant] = 0  # the mean of equal values may be rounded
    counts = np.bincount(labels)
    averages = np.zeros((len(counts), num))  # (classes, n), gives the means
    averages[labels, np.arange(num)] = 1 / np.sqrt(num * counts[labels])
    means = averages @ features  # (classes, d)
    wide = channels > num
    gram = features @ features.T if wide else features.T @ features
    gram /= num  # S, or the n x n matrix with the same eigenvalues
    variance = np.trace(gram) / channels
    if variance == 0:
        return 0.0
    shrinkage = _shrink(features, gram, variance)
    shrunk = (1 - shrinkage) * gram
    shrunk[np.diag_indices_from(shrunk)] += shrinkage * variance
    if wide:
        # Fᵀ(FFᵀ + c)⁻¹ = (FᵀF + c)⁻¹Fᵀ moves the inverse to n dimensions.
        right = num * averages @ gram
        solved = np.linalg.solve(shrunk, averages.T)  # (n, classes)
    else:
        right, solved = means, np.linalg.solve(shrunk, means.T)
    return float((1 - shrinkage) * np.einsum("ci,ic->", right, solved))


def leep(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Scores a head by what its classes tell of the task's labels.

    With θ(x) the probabilities of the head's classes z, the empirical joint
    distribution is P(y, z) = 1/n ∑ θ(xᵢ)_z over examples of label y, and the
    score is the mean of log ∑_z P(yᵢ | z) θ(xᵢ)_z.

    Args:
        probabilities: float array `(n, source_classes)`, rows of sum 1.
        labels: int array `(n,)`, of at least two classes.

    Returns:
        float. Mean log likelihood in nats, at most 0.

    Raises:
        ValueError: if an array does not fit, or holds no probabilities.

    References:
        Nguyen et al., "LEEP: A New Measure to Evaluate Transferability of
        Learned Representations", ICML 2020 (Section 3).
    """
    probabilities, labels = check_examples(
        probabilities, labels, "probabilities"
    )
    sums = probabilities.sum(axis=1, keepdims=True)
    if probabilities.min() < 0 or np.abs(sums - 1).max() > SUM_TOLERANCE:
        raise ValueError(
            "`probabilities` must be at least 0, with rows of sum 1. "
            f"Received: values from {probabilities.min():g}, sums from "
            f"{sums.min():g} to {sums.max():g}."
        )
    probabilities = probabilities / sums
    joint = np.zeros((labels.max() + 1, probabilities.shape[1]))
    np.add.at(joint, labels, probabilities)  # n P(y, z)
    marginal = joint.sum(axis=0)
    conditional = joint / np.where(marginal > 0, marginal, 1)
    predicted = np.einsum("nz,nz->n", conditional[labels], probabilities)
    # Rounding may give an example that is certain slightly more than 1.
    return float(np.log(np.minimum(predicted, 1)).mean())


def _decompose(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gives squared singular values and left singular vectors.

    Returns:
        Float arrays `(rank,)` and `(n, rank)`. Values that rounding may have
        made are left out.
    """
    from threadpoolctl import threadpool_limits

    num, channels = features.shape
    wide = channels > num
    gram = features @ features.T if wide else features.T @ features
    # BLAS threads gain it little, and cost 20 times its time where the cores
    # have other work.
    with threadpool_limits(1):
        squares, vectors = np.linalg.eigh(gram)
    kept = squares > squares[-1] * max(num, channels) * np.finfo(float).eps
    squares, vectors = squares[kept], vectors[:, kept]
    if not wide:
        vectors = features @ (vectors / np.sqrt(squares))
    return squares, vectors


def _maximize_evidence(
    squares: np.ndarray,
    weights: np.ndarray,
    error: float,
    num: int,
    lowest: float,
) -> float:
    """Finds the largest log evidence of one class.

    Args:
        squares: float array `(rank,)`. Squared singular values.
        weights: float array `(rank,)`. Squared projections of the target.
        error: float. Squared norm of the rest of the target.
        num: int. Number of examples.
        lowest: float. Smallest ratio to try, in units of the largest square.
    """

    def evidence(logarithms: np.ndarray) -> np.ndarray:
        shares = squares / np.exp(logarithms)[:, None]  # (ratios, rank)
        unexplained = error + (weights / (1 + shares)).sum(axis=1)
        beta = num / unexplained
        fit = num / 2 * (np.log(beta / (2 * np.pi)) - 1)
        return fit - np.log1p(shares).sum(axis=1) / 2

    largest = squares.max(initial=0) or 1.0
    bounds = np.log(largest * np.array([lowest, LARGEST_RATIO]))
    grid = np.linspace(*bounds, NUM_RATIOS)
    values = evidence(grid)
    for _ in range(NUM_ROUNDS):
        best = values.argmax()
        low, high = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
        grid = np.linspace(low, high, 9)
        values = evidence(grid)
    return float(values.max())


def _shrink(features: np.ndarray, gram: np.ndarray, variance: float) -> float:
    """Gives Ledoit and Wolf's weight of the identity, in (0, 1].

    Args:
        features: float array `(n, d)`, centred.
        gram: float array. The covariance, or the n x n matrix for it.
        variance: float. Mean variance of the channels.
    """
    num, channels = features.shape
    norms = np.einsum("nd,nd->n", features, features)
    squared = (gram**2).sum()
    spread = squared - channels * variance**2  # |S - tr(S)/d I|²
    noise = (np.mean(norms**2) - squared) / num
    # The covariance must have an inverse, even where one point repeats.
    smallest = channels * np.finfo(np.float64).eps
    if spread <= smallest * squared:
        return smallest  # the covariance is the identity already
    return float(np.clip(noise / spread, smallest, 1))
