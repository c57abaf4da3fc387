from fractions import Fraction

import keras
import numpy as np
import pytest

from keras_experts.training import schedules


@pytest.mark.parametrize(
    ("num_train", "boundaries", "mixup", "num_images"),
    [
        (1_000, (100, 200, 300, 400, 500), 0, 256_000),
        (19_999, (100, 200, 300, 400, 500), 0, 256_000),
        (20_000, (500, 3000, 6000, 9000, 10_000), 0.1, 5_120_000),
        (500_000, (500, 6000, 12_000, 18_000, 20_000), 0.1, 10_240_000),
    ],
)
def test_rule_is_the_published_one(num_train, boundaries, mixup, num_images):
    assert schedules.bit_boundaries(num_train) == boundaries
    assert schedules.bit_mixup(num_train) == mixup
    assert schedules.bit_num_images(num_train) == num_images


@pytest.mark.parametrize(
    ("size", "expected"),
    [((32, 32), (160, 128)), ((95, 96), (160, 128)), ((96, 96), (512, 480))],
)
def test_resolution_depends_on_the_area(size, expected):
    assert schedules.bit_resolution(*size) == expected


SUPPORTS = {
    1_000: (100, 200, 300, 400, 500),
    20_000: (500, 3000, 6000, 9000, 10_000),
    500_000: (500, 6000, 12_000, 18_000, 20_000),
}


def published_rate(step, num_train):
    """The rate of big_transfer's bit_hyperrule.py; steps count from 0."""
    warmup, *divisions, last = SUPPORTS[num_train]
    assert step < last
    if step < warmup:
        return 0.003 * step / warmup
    return 0.003 / 10 ** sum(division < step for division in divisions)


@pytest.mark.parametrize("num_train", SUPPORTS)
def test_rate_of_every_step_is_that_of_the_published_rule(num_train):
    num_steps = SUPPORTS[num_train][-1]
    rates = schedules.bit_schedule(num_train, num_steps, 512)
    expected = [published_rate(step, num_train) for step in range(num_steps)]
    np.testing.assert_allclose(rates, expected, rtol=1e-6)


@pytest.mark.parametrize("num_train", SUPPORTS)
@pytest.mark.parametrize("num_steps", [2, 7, 240, 499, 501, 1000])
def test_stretched_rule_has_the_rate_of_the_same_fraction_of_its_length(
    num_train, num_steps
):
    rates = schedules.bit_schedule(num_train, num_steps, 128)
    last = SUPPORTS[num_train][-1]
    expected = [
        float(published_rate(Fraction(step * last, num_steps), num_train))
        for step in range(num_steps)
    ]
    np.testing.assert_allclose(rates, np.array(expected) / 4, rtol=1e-6)


def test_cosine_equals_keras():
    ours = schedules.cosine_schedule(100, 0.5)
    keras_schedule = keras.optimizers.schedules.CosineDecay(0.5, 100)
    theirs = [float(keras_schedule(step)) for step in range(100)]
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_warm_up_rises_in_a_line():
    rates = schedules.cosine_schedule(100, 1.0, warmup_steps=4)
    np.testing.assert_allclose(rates[:5], [0.25, 0.5, 0.75, 1, 1])


@pytest.mark.parametrize("steps", [0, -1])
def test_no_steps_are_refused(steps):
    with pytest.raises(ValueError, match=f"Received: {steps}"):
        schedules.bit_schedule(1000, steps, 512)


def test_warm_up_of_all_steps_is_refused():
    with pytest.raises(ValueError, match=r"\[0, 10\)"):
        schedules.cosine_schedule(10, 0.1, warmup_steps=10)


def test_staircase_is_that_of_big_transfer():
    # 90 passes of 100 steps each: a tenth after 30, 60 and 80.
    rates = schedules.staircase_schedule(9000, 4096, 0.03, warmup_steps=500)
    assert rates.dtype == np.float32
    peak = 0.03 * 4096 / 256
    np.testing.assert_allclose(rates[[499, 2999]], peak, rtol=1e-6)
    np.testing.assert_allclose(rates[249], peak / 2, rtol=1e-6)
    np.testing.assert_allclose(rates[[3000, 5999]], peak / 10, rtol=1e-6)
    np.testing.assert_allclose(rates[[6000, 7999]], peak / 100, rtol=1e-6)
    np.testing.assert_allclose(rates[[8000, 8999]], peak / 1000, rtol=1e-6)
    with pytest.raises(ValueError, match="warmup_steps"):
        schedules.staircase_schedule(10, 256, 0.03, warmup_steps=10)
