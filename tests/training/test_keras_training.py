"""Keras networks as they are found: normalization, dropout, equal names."""

import keras
import numpy as np
import tensorflow as tf

from keras_experts.data import synthetic
from keras_experts.data.streams import BatchPlan
from keras_experts.training.losses import softmax_loss
from keras_experts.training.recipe import Recipe
from keras_experts.training.sgd import NetworkSgd
from keras_experts.training.transfer import Transfer


def make_branch(name):
    """Makes a network whose layers have the names of any other's."""
    images = keras.Input((24, 24, 3))
    hidden = keras.layers.Conv2D(4, 3, name="conv")(images)
    hidden = keras.layers.BatchNormalization(name="norm")(hidden)
    hidden = keras.layers.Dropout(0.2, name="dropout")(hidden)
    pooled = keras.layers.GlobalAveragePooling2D()(hidden)
    return keras.Model(images, pooled, name=name)


def make_network():
    keras.utils.set_random_seed(0)
    images = keras.Input((24, 24, 3))
    branches = [make_branch(name)(images) for name in ("left", "right")]
    features = keras.layers.Concatenate()(branches)
    return keras.Model(images, features, name="branches")


def test_normalization_s_statistics_and_all_weights_move():
    transfer = Transfer(make_network(), 10)
    before = [v.numpy() for v in transfer.model.variables]
    recipe = Recipe(64, 16, base_learning_rate=1.0)
    transfer.fit(synthetic.digits_task(32).train, recipe, 0, "digits")
    for old, variable in zip(before, transfer.model.variables, strict=True):
        moved = not np.array_equal(old, variable.numpy())
        is_unused = variable.path.endswith("conv/bias")  # the norm removes it
        assert moved or is_unused, variable.path


def test_checkpoint_holds_every_weight_though_names_repeat():
    model = make_network()
    paths = [variable.path for variable in model.variables]
    assert len(set(paths)) < len(paths)
    sgd = NetworkSgd(
        model,
        softmax_loss,
        np.zeros(2),
        BatchPlan(1, 2, 4),
        tf.distribute.get_strategy(),
        compile=False,
    )
    held = {id(variable) for variable in sgd.state.values()}
    assert held >= {id(variable.value) for variable in model.variables}
    assert all(isinstance(v, tf.Variable) for v in sgd.state.values())
    assert len(held) == len(model.variables) + len(model.trainable_variables)
