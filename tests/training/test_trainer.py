import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_experts.training.losses import sigmoid_loss
from keras_experts.training.losses import softmax_loss
from keras_experts.training.strategy import make_strategy
from keras_experts.training.trainer import Trainer

RATES = np.array([0.1, 0.05, 0.2, 0.1], np.float32)


def make_batches(start=0):
    """Four batches of eight examples of two features, over and over."""
    rng = np.random.default_rng(0)
    images = rng.normal(size=(32, 1, 1, 3)).astype(np.float32)
    targets = np.eye(2, dtype=np.float32)[rng.integers(0, 2, 32)]
    dataset = tf.data.Dataset.from_tensor_slices(
        {"image": images, "target": targets}
    )
    return dataset.batch(8, drop_remainder=True).repeat().skip(start)


def make_trainer(strategy=None, rates=RATES, **arguments):
    strategy = strategy or make_strategy()
    with strategy.scope():
        inputs = keras.Input((1, 1, 3))
        flat = keras.layers.Flatten()(inputs)
        start = keras.initializers.Constant(0.1)
        outputs = keras.layers.Dense(2, kernel_initializer=start)(flat)
        model = keras.Model(inputs, outputs)
    return Trainer(model, softmax_loss, rates, 8, strategy, **arguments)


def numpy_training(num_steps, momentum, clip_norm):
    """SGD with momentum on the same batches, written out in float64."""
    weights = [np.full((3, 2), 0.1), np.zeros(2)]
    velocities = [np.zeros((3, 2)), np.zeros(2)]
    batches = make_batches().as_numpy_iterator()
    for step in range(num_steps):
        batch = next(batches)
        x = batch["image"].reshape(8, 3).astype(np.float64)
        logits = x @ weights[0] + weights[1]
        shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        error = (shares - batch["target"]) / 8
        gradients = [x.T @ error, error.sum(axis=0)]
        if clip_norm:
            norm = np.sqrt(sum((g**2).sum() for g in gradients))
            gradients = [g * min(1, clip_norm / norm) for g in gradients]
        for i in range(2):
            velocities[i] = momentum * velocities[i] + gradients[i]
            weights[i] = weights[i] - RATES[step] * velocities[i]
    return weights


@pytest.mark.parametrize("compile", [True, False])
@pytest.mark.parametrize("clip_norm", [None, 0.05])
def test_updates_are_sgd_with_momentum(compile, clip_norm):
    trainer = make_trainer(compile=compile, clip_norm=clip_norm)
    trainer.fit(make_batches)
    expected = numpy_training(4, 0.9, clip_norm)
    for weight, value in zip(trainer.model.get_weights(), expected):
        np.testing.assert_allclose(weight, value, atol=1e-6)


def test_reset_gives_the_same_run_again():
    trainer = make_trainer()
    initial = trainer.model.get_weights()
    first = trainer.fit(make_batches, steps_per_loop=1)
    trainer.reset(initial)
    assert trainer.fit(make_batches, steps_per_loop=1) == first


def test_interrupted_run_ends_bit_equal(tmp_path, monkeypatch):
    whole = make_trainer()
    whole.fit(make_batches)
    monkeypatch.setattr("keras_experts.training.trainer.CHECKPOINT_SECONDS", -1)
    first = make_trainer(rates=RATES)
    first.num_steps = 2
    first.fit(make_batches, checkpoints=tmp_path)
    second = make_trainer()
    second.fit(make_batches, checkpoints=tmp_path)
    assert int(second.step) == 4
    for weight, value in zip(
        second.model.get_weights(), whole.model.get_weights()
    ):
        np.testing.assert_array_equal(weight, value)


def test_frozen_variables_do_not_move():
    strategy = make_strategy()
    inputs = keras.Input((1, 1, 3))
    frozen = keras.layers.Dense(3, trainable=False)
    outputs = keras.layers.Dense(2)(frozen(keras.layers.Flatten()(inputs)))
    trainer = Trainer(
        keras.Model(inputs, outputs), softmax_loss, RATES, 8, strategy
    )
    before = frozen.get_weights()
    trainer.fit(make_batches)
    for weight, value in zip(frozen.get_weights(), before):
        np.testing.assert_array_equal(weight, value)


def test_divergence_stops_with_the_step_and_the_rate():
    rates = np.full(30, 3e38, np.float32)
    with pytest.raises(FloatingPointError, match="at step .*rate 3e\\+38"):
        make_trainer(rates=rates).fit(make_batches)


def test_batch_that_replicas_do_not_divide_is_refused():
    script = (
        "import tensorflow as tf, numpy as np\n"
        "cpu = tf.config.list_physical_devices('CPU')[0]\n"
        "two = [tf.config.LogicalDeviceConfiguration()] * 2\n"
        "tf.config.set_logical_device_configuration(cpu, two)\n"
        "from keras_experts.training.trainer import Trainer\n"
        "s = tf.distribute.MirroredStrategy(['CPU:0', 'CPU:1'])\n"
        "Trainer(None, None, np.ones(1), 7, s)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True
    )
    assert "Received: 7 for 2 replicas" in result.stderr


LOSSES_OF_20_STEPS = """
import json, sys
import numpy as np
import tensorflow as tf
cpu = tf.config.list_physical_devices('CPU')[0]
devices = [tf.config.LogicalDeviceConfiguration()] * int(sys.argv[1])
tf.config.set_logical_device_configuration(cpu, devices)
import keras
from keras_experts.models import BitResNet
from keras_experts.models.heads import add_head, image_features
from keras_experts.training.losses import softmax_loss
from keras_experts.training.trainer import Trainer
keras.utils.set_random_seed(0)
names = [f'CPU:{i}' for i in range(int(sys.argv[1]))]
strategy = tf.distribute.MirroredStrategy(names)
with strategy.scope():
    model = add_head(image_features(BitResNet(14, 0.125, 'small')), 3)
rng = np.random.default_rng(0)
data = tf.data.Dataset.from_tensor_slices({
    'image': rng.random((16, 16, 16, 3), np.float32),
    'target': np.eye(3, dtype=np.float32)[rng.integers(0, 3, 16)]})
batches = lambda start: data.repeat().batch(8, drop_remainder=True)
trainer = Trainer(model, softmax_loss, np.full(20, 0.1), 8, strategy,
                  clip_norm=1.0)
print(json.dumps(trainer.fit(batches, steps_per_loop=1)))
"""


def test_two_devices_lose_what_one_does():
    losses = []
    for number in ("1", "2"):
        result = subprocess.run(
            [sys.executable, "-c", LOSSES_OF_20_STEPS, number],
            capture_output=True,
            text=True,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        )
        assert result.returncode == 0, result.stderr[-2000:]
        losses.append(json.loads(result.stdout.splitlines()[-1]))
    assert len(losses[0]) == 20
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-4)
    assert losses[0][-1] < 0.9 * losses[0][0]


def test_losses_equal_their_definitions(rng):
    logits = rng.normal(size=(4, 5))
    targets = rng.integers(0, 2, (4, 5)).astype(float)
    probability = 1 / (1 + np.exp(-logits))
    expected = -(
        targets * np.log(probability) + (1 - targets) * np.log(1 - probability)
    ).sum(axis=1)
    np.testing.assert_allclose(sigmoid_loss(targets, logits), expected)
    one_hot = np.eye(5)[[0, 2, 1, 4]]
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = -np.log((shares * one_hot).sum(axis=1))
    np.testing.assert_allclose(softmax_loss(one_hot, logits), expected)
