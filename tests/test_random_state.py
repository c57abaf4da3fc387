import random

import keras
import numpy as np
import pytest

import keras_experts
from keras_experts.data import synthetic
from keras_experts.random_state import callers_random_state
from keras_experts.random_state import seed_initializers
from tests.random_states import unchanged_random_state
from tests.selection.modules import mean


@callers_random_state()
def draw_and_fail():
    seed_initializers(1)
    np.random.seed(1)
    random.random()
    raise RuntimeError("failed")


def test_state_is_restored_after_an_error():
    with unchanged_random_state(), pytest.raises(RuntimeError, match="failed"):
        draw_and_fail()


def test_weights_follow_from_the_seed():
    @callers_random_state()
    def make(seed):
        seed_initializers(seed)
        layer = keras.layers.Dense(3)
        layer.build((None, 2))
        return layer.get_weights()[0]

    np.testing.assert_array_equal(make(1), make(1))
    assert (make(1) != make(2)).all()


@pytest.mark.parametrize("strategy", ["knn", "tree", "random"])
def test_select_leaves_the_random_state_alone(strategy):
    with unchanged_random_state():
        keras_experts.select(synthetic.digits_task(60), [mean], strategy)


@pytest.mark.slow
def test_finetune_leaves_the_random_state_alone(
    baseline_module, image_folder, tmp_path
):
    with unchanged_random_state():
        keras_experts.finetune(
            baseline_module,
            image_folder,
            tmp_path / "out",
            num_images=32,
            batch_size=16,
            base_learning_rate=1.0,
            groups=["head"],
        )
