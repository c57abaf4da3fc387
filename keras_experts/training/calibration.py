"""How far predicted probabilities can be believed."""

import numpy as np

NUM_BINS = 15


def calibration(
    probabilities: np.ndarray, targets: np.ndarray, num_bins: int = NUM_BINS
) -> dict:
    """Compares probabilities of yes-or-no questions with what was true.

    Args:
        probabilities: float array `(images, experts)`, values in [0, 1].
        targets: array of the same shape, 0 or 1.
        num_bins: int. Bins of equal width.

    Returns:
        dict of `expected_calibration_error` (mean over all questions of the
        gap between the probability and the frequency in its bin),
        `brier_score`, `log_loss` (nats a question) and `bins`: list of dicts
        `mean_probability`, `frequency` and `num_questions`, empty bins left
        out.

    References:
        Naeini et al., 2015 (the error).
    """
    predicted = np.asarray(probabilities, np.float64).ravel()
    true = np.asarray(targets, np.float64).ravel()
    place = np.minimum((predicted * num_bins).astype(int), num_bins - 1)
    number = np.bincount(place, minlength=num_bins)
    sums = np.bincount(place, predicted, num_bins)
    hits = np.bincount(place, true, num_bins)
    used = number > 0
    mean, frequency = sums[used] / number[used], hits[used] / number[used]
    gaps = np.abs(mean - frequency) * number[used]
    tiny = np.finfo(np.float64).tiny
    likelihood = np.where(true == 1, predicted, 1 - predicted)
    return {
        "expected_calibration_error": float(gaps.sum() / len(predicted)),
        "brier_score": float(np.mean((predicted - true) ** 2)),
        "log_loss": float(-np.mean(np.log(np.maximum(likelihood, tiny)))),
        "bins": [
            {
                "mean_probability": float(m),
                "frequency": float(f),
                "num_questions": int(n),
            }
            for m, f, n in zip(mean, frequency, number[used], strict=True)
        ],
    }
