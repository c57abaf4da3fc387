"""Learning rates as arrays over steps, and the BiT-HyperRule.

Every function is pure NumPy: a schedule is the array of the rates of all
steps, float32 `(num_steps,)`, which the trainer reads at each step.
"""

import numpy as np

from keras_experts import config

# BiT-HyperRule (Kolesnikov et al., 2020, section 3.3; code: bit_hyperrule.py).
BASE_LEARNING_RATE = 0.003
BATCH_SIZE = 512
MIXUP_ALPHA = 0.1
SMALL_SET = 20_000
MEDIUM_SET = 500_000


def bit_boundaries(num_train: int) -> tuple[int, ...]:
    """Returns the end of the warm-up, the three divisions and the last step.

    Args:
        num_train: int. Training images, at least 1.

    Returns:
        Five numbers of steps at batch size 512.
    """
    _check_positive("num_train", num_train)
    if num_train < SMALL_SET:
        return (100, 200, 300, 400, 500)
    if num_train < MEDIUM_SET:
        return (500, 3000, 6000, 9000, 10_000)
    return (500, 6000, 12_000, 18_000, 20_000)


def bit_mixup(num_train: int) -> float:
    """Gives the alpha of mixup: none for small sets."""
    _check_positive("num_train", num_train)
    return 0.0 if num_train < SMALL_SET else MIXUP_ALPHA


def bit_num_images(num_train: int) -> int:
    """Gives how many images the rule passes, repeats counted."""
    return bit_boundaries(num_train)[-1] * BATCH_SIZE


def bit_resolution(height: int, width: int) -> tuple[int, int]:
    """Gives the sides to resize to and to crop, pixels."""
    return (160, 128) if height * width < 96 * 96 else (512, 480)


def bit_schedule(
    num_train: int,
    num_steps: int,
    batch_size: int,
    base_learning_rate: float = BASE_LEARNING_RATE,
) -> np.ndarray:
    """Returns the HyperRule's learning rates, stretched over `num_steps`.

    The rate rises linearly from zero at step 0 and is divided by ten after
    each of the three division steps; the division step itself still has the
    higher rate, as in the published code. The rate scales with the batch size.

    Args:
        num_train: int. Number of training images; decides the shape.
        num_steps: int. Number of steps to stretch the rule over.
        batch_size: int. Images per step.
        base_learning_rate: float. Learning rate at batch size 512.

    Returns:
        Float32 array `(num_steps,)`.
    """
    _check_positive("num_steps", num_steps)
    warmup, *divisions, last = bit_boundaries(num_train)
    # In whole numbers: a rounded fraction could move a division by a step.
    steps = np.arange(num_steps, dtype=np.int64) * last
    rate = base_learning_rate * batch_size / BATCH_SIZE
    factors = np.minimum(1.0, steps / (warmup * num_steps))
    for division in divisions:
        factors[steps > division * num_steps] /= 10
    return (rate * factors).astype(np.float32)


@config.register
def cosine_schedule(
    num_steps: int, learning_rate: float, warmup_steps: int = 0
) -> np.ndarray:
    """Gives a linear warm-up and a cosine to zero.

    Args:
        num_steps: int. All steps.
        learning_rate: float. The largest rate.
        warmup_steps: int. Steps of the warm-up, fewer than `num_steps`.

    Returns:
        Float32 array `(num_steps,)`.
    """
    _check_positive("num_steps", num_steps)
    _check_warmup(warmup_steps, num_steps)
    steps = np.arange(num_steps)
    done = (steps - warmup_steps) / (num_steps - warmup_steps)
    cosine = 0.5 * (1 + np.cos(np.pi * np.clip(done, 0, 1)))
    if warmup_steps:
        warm = (steps + 1) / warmup_steps
        cosine = np.where(steps < warmup_steps, warm, cosine)
    return (learning_rate * cosine).astype(np.float32)


@config.register
def staircase_schedule(
    num_steps: int,
    batch_size: int,
    base_learning_rate: float,
    base_batch_size: int = 256,
    divisions: tuple[float, ...] = (1 / 3, 2 / 3, 8 / 9),
    warmup_steps: int = 0,
) -> np.ndarray:
    """Gives a linear warm-up, then a tenth after each division.

    The rate scales with the batch size. The defaults are those of Big
    Transfer's pre-training: divisions after 30, 60 and 80 of 90 epochs.

    Args:
        num_steps: int. All steps.
        batch_size: int. Images a step.
        base_learning_rate: float. Largest rate at `base_batch_size`.
        base_batch_size: int. Images.
        divisions: shares of all steps, in (0, 1).
        warmup_steps: int. Steps of the warm-up, fewer than `num_steps`.

    Returns:
        Float32 array `(num_steps,)`.

    References:
        Big Transfer (Kolesnikov et al., 2020), section 3.2.
    """
    _check_positive("num_steps", num_steps)
    _check_positive("batch_size", batch_size)
    _check_warmup(warmup_steps, num_steps)
    steps = np.arange(num_steps)
    factors = np.ones(num_steps)
    for division in divisions:
        factors[steps >= division * num_steps] /= 10
    if warmup_steps:
        factors *= np.minimum(1.0, (steps + 1) / warmup_steps)
    rate = base_learning_rate * batch_size / base_batch_size
    return (rate * factors).astype(np.float32)


@config.register
def constant_schedule(num_steps: int, learning_rate: float) -> np.ndarray:
    """Gives the same rate at each step, float32 `(num_steps,)`."""
    _check_positive("num_steps", num_steps)
    return np.full(num_steps, learning_rate, np.float32)


def _check_positive(name: str, value: int) -> None:
    if value < 1:
        raise ValueError(f"`{name}` must be at least 1. Received: {value}.")


def _check_warmup(warmup_steps: int, num_steps: int) -> None:
    if not 0 <= warmup_steps < num_steps:
        raise ValueError(
            f"`warmup_steps` must be in [0, {num_steps}). "
            f"Received: {warmup_steps}."
        )
