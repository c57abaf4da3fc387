"""Sets of hyperparameters to choose from, as fields of a `Recipe`.

Lengths are relative: 1 is that of the BiT-HyperRule (500 steps of 512 for small
sets), or what stands in its place where less is affordable.
"""

import math
import random as standard_random

from keras_experts.evaluation.results import BASELINE

NUM_RANDOM = 36
# Ours: the paper's ranges are in an appendix that is not public.
RATES = (1e-3, 0.3)
LENGTHS = (0.5, 1.0, 2.0)
DECAYS = (0.0, 1e-4)
# Of small networks, which want more than the HyperRule's 0.003.
SMALL_RATES = (0.1, 0.4, 1.6)
# VTAB's recommended sweep: rates and lengths of 2,500 and 10,000 steps, as its
# paper is remembered; its leaderboard tells that there are four.
VTAB_RATES, VTAB_LENGTHS = (0.1, 0.01), (5.0, 20.0)


def hyperrule(unit: int, seed: int) -> list[dict]:
    """Gives the one recipe of the BiT-HyperRule.

    Args:
        unit: int. Images of length 1.
        seed: int. Of random ones.
    """
    return [{"num_images": unit}]


def rates(unit: int, seed: int) -> list[dict]:
    """Gives three rates for small networks; arguments as of `hyperrule`."""
    return [
        {"num_images": unit, "base_learning_rate": rate} for rate in SMALL_RATES
    ]


def vtab(unit: int, seed: int) -> list[dict]:
    """Gives VTAB's recommended four; arguments as of `hyperrule`."""
    return [
        {"num_images": round(length * unit), "base_learning_rate": rate}
        for rate in VTAB_RATES
        for length in VTAB_LENGTHS
    ]


def random(unit: int, seed: int) -> list[dict]:
    """Draws 36 (section 6.3 of the paper); arguments as of `hyperrule`."""
    draw = standard_random.Random(seed)
    low, high = map(math.log, RATES)
    return [
        {
            "num_images": round(draw.choice(LENGTHS) * unit),
            "base_learning_rate": float(f"{math.exp(rate):.3g}"),
            "weight_decay": draw.choice(DECAYS),
        }
        for rate in (draw.uniform(low, high) for _ in range(NUM_RANDOM))
    ]


HYPERRULE = "hyperrule"
SWEEPS = {
    HYPERRULE: hyperrule,
    "rates": rates,
    "vtab": vtab,
    "random": random,
}
# Whose hyperparameters are chosen.
EACH = "each"
SWEPT = (EACH, BASELINE)
