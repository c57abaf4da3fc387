"""Updates against SGD written out in NumPy, on networks and on banks."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_experts.data.batches import training_batches
from keras_experts.data.label_rows import LabelRows
from keras_experts.data.label_rows import Targets
from keras_experts.data.labeled_images import from_arrays
from keras_experts.data.preprocessing import flip_and_shift
from keras_experts.data.streams import BatchPlan
from keras_experts.data.streams import Stream
from keras_experts.models import experts as expert_models
from keras_experts.models import heads
from keras_experts.models.backbone import BitResNet
from keras_experts.training.bank_sgd import BankSgd
from keras_experts.training.distribution import make_strategy
from keras_experts.training.losses import softmax_loss
from keras_experts.training.runtime import Runtime
from keras_experts.training.sgd import NetworkSgd
from keras_experts.training.sgd import SgdOptions
from keras_experts.training.trainer import Trainer

RATES = np.array([0.1, 0.05, 0.2, 0.1], np.float32)
SIZE = 12
preprocess = functools.partial(flip_and_shift, image_size=SIZE)


def make_stream(seed, number=20):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (number, SIZE, SIZE, 3)).astype(np.uint8)
    labels = rng.integers(0, 3, number)
    data = from_arrays(images, labels, ["a", "b", "c"])
    targets = Targets(LabelRows.single(labels), lambda label: [label], 3)
    return Stream(data, targets, seed)


def linear_model():
    inputs = keras.Input((SIZE, SIZE, 3))
    pooled = keras.layers.AveragePooling2D(SIZE)(inputs)
    start = keras.initializers.Constant(0.1)
    dense = keras.layers.Dense(3, kernel_initializer=start)
    return keras.Model(inputs, dense(keras.layers.Flatten()(pooled)))


def numpy_training(stream, plan, options):
    """SGD with momentum on the same batches, written out in float64."""
    weights = [np.full((3, 3), 0.1), np.zeros(3)]
    velocities = [np.zeros((3, 3)), np.zeros(3)]
    batches = training_batches([stream], plan, preprocess)
    for step, batch in enumerate(batches.as_numpy_iterator()):
        x = batch["image"].astype(np.float64).mean(axis=(1, 2))
        logits = x @ weights[0] + weights[1]
        shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        error = (shares - batch["target"]) / plan.batch_size
        gradients = [x.T @ error, error.sum(axis=0)]
        norm = np.sqrt(sum((g**2).sum() for g in gradients))
        if options.clip_norm and norm > options.clip_norm:
            gradients = [g * options.clip_norm / norm for g in gradients]
        for i in range(2):
            gradient = gradients[i] + options.weight_decay * weights[i]
            velocities[i] = options.momentum * velocities[i] + gradient
            weights[i] = weights[i] - RATES[step] * velocities[i]
    return weights


@pytest.mark.parametrize("compile", [True, False])
@pytest.mark.parametrize(
    "options",
    [SgdOptions(), SgdOptions(0.05, 0.01, 0.8)],
    ids=["plain", "clipped and decayed"],
)
def test_updates_of_a_network_are_sgd_with_momentum(compile, options):
    strategy, stream = make_strategy(), make_stream(0)
    plan = BatchPlan(1, 4, 8)
    model = linear_model()
    sgd = NetworkSgd(
        model, softmax_loss, RATES, plan, strategy, options, compile
    )
    Trainer(sgd, strategy, Runtime()).fit([stream], preprocess)
    expected = numpy_training(stream, plan, options)
    for weight, value in zip(model.get_weights(), expected, strict=True):
        np.testing.assert_allclose(weight, value, atol=1e-6)


@functools.cache
def plain_backbone():
    keras.utils.set_random_seed(0)
    return BitResNet(14, 0.125, "small")


def frozen_classifier(adapters, num_experts=None):
    """The same classifier each time, with new adapters of some kind."""
    plain = plain_backbone()
    keras.utils.set_random_seed(0)
    backbone = expert_models.add_adapters(plain, adapters, num_experts)
    expert_models.freeze_backbone(backbone)
    model = heads.add_head(heads.image_features(backbone), 3)
    head = model.get_layer(heads.HEAD_NAME)
    rng = np.random.default_rng(0)
    head.set_weights([rng.normal(size=w.shape) for w in head.get_weights()])
    head.trainable = False
    return model


@functools.cache
def initial_adapters():
    backbone = heads.backbone_of(frozen_classifier("single"))
    return {
        name: np.array(variable)
        for name, variable in expert_models.adapter_variables(backbone).items()
    }


@functools.cache
def single_trainer(options, num_updates):
    """A trainer of one expert, its model and the weights to start from."""
    model, strategy = frozen_classifier("single"), make_strategy()
    plan = BatchPlan(1, num_updates, 4)
    sgd = NetworkSgd(
        model, softmax_loss, RATES, plan, strategy, options, compile=False
    )
    return Trainer(sgd, strategy, Runtime()), model, model.get_weights()


@functools.cache
def train_alone(seed, number, options, num_updates):
    trainer, model, start = single_trainer(options, num_updates)
    trainer.sgd.reset(start)
    trainer.fit([make_stream(seed, number)], preprocess)
    variables = expert_models.adapter_variables(heads.backbone_of(model))
    return {name: np.array(value) for name, value in variables.items()}


def bank_sgd(options, plan, strategy, compile):
    model = frozen_classifier("groups", plan.group_size)
    return BankSgd(
        model,
        expert_models.stacked_variables(heads.backbone_of(model)),
        initial_adapters(),
        softmax_loss,
        RATES,
        plan,
        strategy,
        options,
        compile,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("group_size", "compile"), [(1, False), (2, True), (3, False)]
)
def test_experts_trained_together_are_those_trained_alone(group_size, compile):
    options = SgdOptions(clip_norm=0.5, weight_decay=0.01)
    # Slices of different sizes, and steps with idle groups: 3 x 3 updates.
    slices = [(1, 20), (2, 7), (3, 50)]
    streams = [make_stream(*part) for part in slices]
    strategy, plan = make_strategy(), BatchPlan(3, 3, 4, group_size)
    sgd = bank_sgd(options, plan, strategy, compile)
    Trainer(sgd, strategy, Runtime()).fit(streams, preprocess)
    start = initial_adapters()
    for index, part in enumerate(slices):
        alone = train_alone(*part, options, 3)
        for name, value in sgd.expert(index).items():
            np.testing.assert_allclose(value, alone[name], atol=1e-5)
        assert np.abs(alone["adapter1/up"] - start["adapter1/up"]).max() > 1e-3


@pytest.mark.slow
def test_expert_that_is_not_in_a_step_does_not_move():
    streams = [make_stream(seed) for seed in range(3)]
    strategy, plan = make_strategy(), BatchPlan(3, 4, 4, 2)
    sgd = bank_sgd(SgdOptions(None, 0.1), plan, strategy, compile=False)
    batches = training_batches(streams, sgd.plan, preprocess)
    batch = next(iter(batches))
    strategy.run(tf.function(lambda b: sgd.replica_step(b)), (batch,))
    for name, value in initial_adapters().items():
        np.testing.assert_array_equal(sgd.expert(2)[name], value)
        # At first only the last kernel has a gradient; the rest decays.
        if "up" in name.split("/") or name.endswith("gamma"):
            assert not np.array_equal(sgd.expert(1)[name], value)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["network", "bank"])
def test_whole_step_compiles_at_fixed_shapes(kind):
    """What a TPU compiles: loss, gradients and update as one program."""
    strategy = make_strategy()
    streams = [make_stream(1), make_stream(2)]
    if kind == "bank":
        plan = BatchPlan(2, 1, 4, 2)
        sgd = bank_sgd(SgdOptions(1.0, 0.1), plan, strategy, compile=False)
    else:
        model = frozen_classifier("single")
        sgd = NetworkSgd(
            model,
            softmax_loss,
            RATES,
            BatchPlan(1, 2, 4),
            strategy,
            SgdOptions(1.0, 0.1),
            compile=False,
        )
        streams = streams[:1]

    @tf.function(jit_compile=True)
    def step(batch):
        return strategy.run(sgd.replica_step, (batch,))

    batch = next(iter(training_batches(streams, sgd.plan, preprocess)))
    losses = step(batch)
    assert losses.shape == (sgd.plan.group_size,)
    assert np.isfinite(losses).all()
    assert int(sgd.step) == 1
    hlo = step.experimental_get_compiler_ir(batch)(stage="hlo")
    assert "fusion" in hlo or "dot" in hlo


def test_frozen_variables_do_not_move():
    strategy = make_strategy()
    model = frozen_classifier("single")
    before = {v.path: np.array(v) for v in model.non_trainable_variables}
    plan = BatchPlan(1, 2, 4)
    sgd = NetworkSgd(model, softmax_loss, RATES, plan, strategy, compile=False)
    Trainer(sgd, strategy, Runtime()).fit([make_stream(0)], preprocess)
    assert len(before) > 40
    for variable in model.non_trainable_variables:
        np.testing.assert_array_equal(variable, before[variable.path])


@pytest.mark.slow
def test_computing_in_bfloat16_keeps_float32_weights():
    from keras_experts.training.stages import precision_of

    strategy = make_strategy()
    with precision_of("bfloat16"):
        model = heads.add_head(
            heads.image_features(BitResNet(14, 0.125, "small")), 3
        )
    assert model(np.zeros((1, SIZE, SIZE, 3))).dtype == tf.float32
    backbone = heads.backbone_of(model)
    assert backbone.get_layer("block1_unit01_add").compute_dtype == "bfloat16"
    sgd = NetworkSgd(
        model, softmax_loss, RATES, BatchPlan(1, 4, 8), strategy, SgdOptions()
    )
    training = Trainer(sgd, strategy, Runtime()).fit(
        [make_stream(0)], preprocess
    )
    assert {v.dtype for v in model.variables} == {"float32"}
    assert np.isfinite(training.losses).all()
    with precision_of("float32"):
        assert keras.config.dtype_policy().name == "float32"


@pytest.mark.parametrize(
    "wrong",
    [{"momentum": 1.0}, {"clip_norm": 0.0}, {"weight_decay": -0.1}],
)
def test_options_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match="Received"):
        SgdOptions(**wrong)
