import json

import keras
import pytest
import tensorflow as tf

from keras_experts import cli
from keras_experts.models import bit_resnet
from keras_experts.models import heads
from keras_experts.saved_models.cost import frozen_graph
from keras_experts.saved_models.cost import measure_cost
from keras_experts.saved_models.loading import load_module


def profiled(model, size):
    """What TensorFlow's profiler counts."""
    spec = tf.TensorSpec((1, size, size, 3), tf.float32)
    traced = tf.function(lambda x: model(x)).get_concrete_function(spec)
    profiler = tf.compat.v1.profiler
    options = (
        profiler.ProfileOptionBuilder(
            profiler.ProfileOptionBuilder.float_operation()
        )
        .with_empty_output()
        .build()
    )
    with frozen_graph(traced).as_default() as graph:
        return profiler.profile(graph, options=options).total_float_ops


@pytest.mark.slow
@pytest.mark.parametrize("name", ["r50x1", "mobilenet"])
def test_operations_are_those_of_tensorflow_s_profiler(name):
    if name == "r50x1":
        model = heads.image_features(bit_resnet("r50x1"))
    else:
        model = keras.applications.MobileNetV2(weights=None, alpha=0.5)
    found = measure_cost(model, 224)
    assert found.flops == pytest.approx(profiled(model, 224), rel=0.02)
    weights = model.get_weights()
    assert found.parameters == sum(w.size for w in weights)
    assert found.num_bytes == sum(w.nbytes for w in weights)


def test_layers_by_hand():
    images = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(5, 3, use_bias=False)(images)  # 6 x 6 x 5
    x = keras.layers.Flatten()(x)
    x = keras.layers.Dense(7, use_bias=False)(x)
    found = measure_cost(keras.Model(images, x), 8)
    assert found.flops == 2 * 27 * 180 + 2 * 180 * 7
    assert found.parameters == 27 * 5 + 180 * 7


def test_module_costs_what_its_model_does(run_dir, baseline_module):
    from keras_experts.models import run_folder

    classifier, _ = run_folder.load_baseline(run_dir)
    model = heads.image_features(heads.backbone_of(classifier))
    module = load_module(baseline_module)
    assert measure_cost(module, 24) == measure_cost(model, 24)


def test_shape_that_does_not_follow_is_refused():
    def strange(images):
        rows = tf.cast(tf.reduce_sum(images), tf.int32)
        return tf.matmul(tf.zeros((2, rows)), tf.zeros((rows, 3)))

    with pytest.raises(ValueError, match="shapes must follow"):
        measure_cost(strange, 8)


def test_inspect_tells_operations(baseline_module, capfd):
    assert cli.main(["inspect", baseline_module, "--cost", "--json", "-"]) == 0
    told = json.loads(capfd.readouterr().out)
    cost = measure_cost(load_module(baseline_module), 24)
    assert (told["flops"], told["parameters"]) == (cost.flops, cost.parameters)
    assert cli.main(["inspect", baseline_module]) == 0
    assert "operations of an example" not in capfd.readouterr().out
