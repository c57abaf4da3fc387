"""The SavedModel of all experts, read back by all that reads modules."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_experts.exporting.bank_module import write_bank
from keras_experts.layers import HubLayer
from keras_experts.models import bit_resnet
from keras_experts.models import experts as expert_models
from keras_experts.models import heads
from keras_experts.saved_models import handles
from keras_experts.saved_models.loading import load_module
from keras_experts.saved_models.loading import read_weights
from keras_experts.training.features import load_features

NAMES = ["animal", "bird's_nest", "plant"]
NUM_EXPERTS = len(NAMES)
INDICES = range(-1, NUM_EXPERTS)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).random((4, 24, 20, 3), np.float32)


@pytest.fixture(scope="module")
def bank():
    keras.utils.set_random_seed(0)
    network = bit_resnet(
        "r14x0.25_small", adapters="bank", num_experts=NUM_EXPERTS
    )
    rng = np.random.default_rng(0)
    for variable in network.variables:
        if variable.path.endswith("up"):  # else they change nothing
            variable.assign(rng.normal(size=variable.shape) * 0.1)
    return network


def metadata_of(bank):
    return {
        "kind": "bank",
        "name": "bank",
        "image_size": 24,
        "backbone": bank.get_config(),
        "experts": [{"name": name} for name in NAMES],
    }


@pytest.fixture(scope="module")
def path(bank, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bank") / "1"
    write_bank(folder, bank, NAMES, metadata_of(bank))
    return str(folder)


@pytest.fixture(scope="module")
def module(path):
    return load_module(path)


@pytest.fixture(scope="module")
def expected(bank, images):
    """Each expert's features by a model that is cut out, -1 at the end."""
    features = [
        heads.image_features(expert_models.extract_expert(bank, i))(images)
        for i in [*range(NUM_EXPERTS), -1]
    ]
    features = np.stack(features)
    for index in range(NUM_EXPERTS):
        assert np.abs(features[index] - features[-1]).max() > 1e-2
    return features


@pytest.mark.slow
@pytest.mark.parametrize("training", [False, True])
def test_one_trace_takes_numbers_scalars_and_vectors(
    module, images, expected, training
):
    for i in INDICES:
        for expert in (
            i,
            np.int64(i),
            tf.constant(i),
            tf.constant(i, tf.int64),
            [i],
            [i] * 4,
            tf.constant([i] * 4, tf.int64),
        ):
            features = module(images, training=training, expert=expert)
            np.testing.assert_allclose(features, expected[i], atol=1e-5)


@pytest.fixture(scope="module")
def layer(path):
    return HubLayer(path)


@pytest.mark.parametrize("expert", [1, np.int32(1), [1], (1, 1, 1, 1)])
def test_dict_takes_plain_python_indices(
    module, layer, images, expected, expert
):
    for call in (module, layer):
        features = call({"images": images, "expert": expert})
        np.testing.assert_allclose(features, expected[1], atol=1e-5)


@pytest.mark.parametrize("expert", [2**32, [[0]]])
def test_layer_refuses_an_invalid_index_as_the_module_does(
    layer, images, expert
):
    for arguments in ({"expert": expert}, {}):
        layer.arguments = arguments
        inputs = images if arguments else {"images": images, "expert": expert}
        with pytest.raises(tf.errors.InvalidArgumentError, match="`expert` mu"):
            layer(inputs)


def test_no_expert_is_the_baseline(module, images, expected):
    np.testing.assert_allclose(module(images), expected[-1], atol=1e-5)


def test_each_image_has_its_own_expert(module, images, expected):
    index = np.array([2, -1, 0, 1])
    rows = expected[index, np.arange(4)]
    for features in (
        module(images, expert=index),
        module({"images": images, "expert": index}),
        module({"images": images, "expert": index.astype(np.int32)}),
        module({"images": images, "expert": index.tolist()}),
    ):
        np.testing.assert_allclose(features, rows, atol=1e-5)


OUT_OF_RANGE = [NUM_EXPERTS, -2, 2**32, 2**32 + 2, -(2**32), [0, 0, 0, 9]]
OF_ANOTHER_RANK = [[[0], [0], [0], [0]], [[0, 0], [0, 0]], [[0]]]


@pytest.mark.parametrize("expert", [*OUT_OF_RANGE, *OF_ANOTHER_RANK])
def test_invalid_index_is_an_error_in_every_call(module, images, expert):
    by_index = module.signatures["by_index"]
    index = tf.constant(expert, tf.int64)
    for call in (
        lambda: module(images, expert=expert),
        lambda: module({"images": images, "expert": expert}),
        lambda: by_index(inputs=tf.constant(images), expert=index),
    ):
        with pytest.raises(tf.errors.InvalidArgumentError, match="`expert` mu"):
            call()


def test_index_of_another_length_is_an_error(module, images):
    # TensorFlow refuses a known length before the graph runs.
    with pytest.raises((tf.errors.InvalidArgumentError, ValueError)):
        module(images, expert=[0, 1])


def test_name_in_two_dimensions_is_an_error(module, images):
    names = tf.constant([["animal"], ["animal"], ["animal"], ["animal"]])
    with pytest.raises(tf.errors.InvalidArgumentError, match="scalar or have"):
        module.signatures["by_name"](
            inputs=tf.constant(images), expert_name=names
        )


@pytest.mark.slow
def test_compiled_with_xla_an_invalid_index_gives_nan(module, images, expected):
    compiled = tf.function(module, jit_compile=True)
    index = tf.constant([2, 2**32 + 1, -1, NUM_EXPERTS], tf.int64)
    features = np.asarray(compiled(images, expert=index))
    for row, expert in ((0, 2), (2, -1)):
        np.testing.assert_allclose(
            features[row], expected[expert, row], atol=1e-4
        )
    assert np.isnan(features[[1, 3]]).all()
    for expert in (-2, [[0], [0], [0], [0]]):
        index = tf.constant(expert, tf.int64)
        assert np.isnan(compiled(images, expert=index)).all()


def test_experts_are_callables_one_level_deep(module, images, expected):
    for index, name in enumerate(["animal", "bird_s_nest", "plant"]):
        expert = getattr(module, f"experts_{name}")
        np.testing.assert_allclose(expert(images), expected[index], atol=1e-5)
        assert len(expert.variables) == len(module.variables)
        assert list(expert.regularization_losses) == []


@pytest.mark.slow
def test_part_of_a_handle_is_an_expert(path, images, expected):
    for index, name in enumerate(NAMES):
        part = load_module(f"{path}#{name}")
        np.testing.assert_allclose(part(images), expected[index], atol=1e-5)
    part = load_module(f"{path}#baseline")
    np.testing.assert_allclose(part(images), expected[-1], atol=1e-5)
    with pytest.raises(ValueError, match="'unicorn' of"):
        load_module(f"{path}#unicorn")


def test_signatures_take_names_and_indices(module, images, expected):
    inputs = tf.constant(images)
    by_name = module.signatures["by_name"]
    by_index = module.signatures["by_index"]
    for index, name in enumerate([*NAMES, "baseline"]):
        features = by_name(inputs=inputs, expert_name=tf.constant(name))
        np.testing.assert_allclose(
            features["features"], expected[index], atol=1e-5
        )
    names = tf.constant(["plant", "baseline", "animal", "bird's_nest"])
    features = by_name(inputs=inputs, expert_name=names)["features"]
    rows = expected[[2, 3, 0, 1], np.arange(4)]
    np.testing.assert_allclose(features, rows, atol=1e-5)
    index = tf.constant([2, -1, 0, 1], tf.int64)
    features = by_index(inputs=inputs, expert=index)["features"]
    np.testing.assert_allclose(features, rows, atol=1e-5)
    default = module.signatures["serving_default"](inputs=inputs)
    np.testing.assert_allclose(default["features"], expected[-1], atol=1e-5)


@pytest.mark.parametrize("name", ["Animal", "", "unicorn"])
def test_unknown_name_is_an_error_and_never_the_baseline(module, images, name):
    by_name = module.signatures["by_name"]
    with pytest.raises(tf.errors.InvalidArgumentError, match="expert_name"):
        by_name(inputs=tf.constant(images), expert_name=tf.constant(name))


def test_all_experts_come_at_once(module, images, expected):
    features = module.signatures["all_experts"](inputs=tf.constant(images))
    np.testing.assert_allclose(
        features["features"], expected[:-1].transpose(1, 0, 2), atol=1e-5
    )


def test_files_grow_by_little_more_than_the_adapters(path, bank):
    folder = handles.resolve(path)
    size = sum(f.stat().st_size for f in (folder / "variables").iterdir())
    # The index of a network this small is more than 1 % of its weights.
    assert size <= 1.01 * 4 * bank.count_params() + 8192
    assert (folder / "saved_model.pb").stat().st_size <= 4 * 2**20
    names = [variable.name for variable in load_module(path).variables]
    assert len(set(names)) == len(names) == len(bank.variables)


def test_weights_are_read_without_the_graph(path, bank):
    weights = read_weights(path)
    assert len(weights) == len(bank.variables)
    for variable in bank.variables:
        name = variable.path.removeprefix(f"{bank.name}/")
        np.testing.assert_array_equal(weights[name], variable)


@pytest.mark.parametrize("index", [1, -1])
def test_expert_cut_out_of_the_module_is_the_bank_s(
    path, images, expected, index
):
    name = [*NAMES, "baseline"][index]
    features, compiles = load_features(f"{path}#{name}")
    assert compiles
    np.testing.assert_allclose(features(images), expected[index], atol=1e-5)


@pytest.mark.parametrize("part", ["", "#unicorn"])
def test_bank_without_an_expert_is_not_fine_tuned(path, part):
    with pytest.raises(ValueError, match="An expert of a bank must be named"):
        load_features(f"{path}{part}")


def relative_error(features, expected):
    """Gives the largest of any image, in Euclidean norm."""
    error = np.linalg.norm(features - expected, axis=-1)
    return (error / np.linalg.norm(expected, axis=-1)).max()


@pytest.mark.slow
def test_half_precision_halves_the_file_and_hardly_moves_features(
    bank, path, images, expected, tmp_path
):
    half = tmp_path / "half"
    write_bank(half, bank, NAMES, metadata_of(bank), "float16")
    module = load_module(str(half))
    assert len(module.trainable_variables) == 0
    for i in INDICES:
        features = module(images, expert=i)
        assert features.dtype == tf.float32
        assert relative_error(features, expected[i]) < 1e-3

    def size(folder):
        data = next((folder / "variables").glob("*.data*"))
        return data.stat().st_size

    assert size(half) < 0.51 * size(handles.resolve(path))
    with pytest.raises(ValueError, match="must have trainable variables"):
        HubLayer(str(half), trainable=True)
    features, _ = load_features(f"{half}#plant")
    assert {v.dtype for v in features.variables} == {"float32"}
    assert relative_error(features(images), expected[2]) < 1e-3


def test_names_that_are_the_same_attribute_are_refused(bank, tmp_path):
    for names in (["a", "b", "a"], ["a", "baseline", "b"], ["a b", "a_b", "c"]):
        with pytest.raises(ValueError, match="must differ"):
            write_bank(tmp_path / "m", bank, names, {})
    with pytest.raises(ValueError, match="Received: 2 names, 3 experts"):
        write_bank(tmp_path / "m", bank, ["a", "b"], {})
    with pytest.raises(ValueError, match="Received: 'float8'"):
        write_bank(tmp_path / "m", bank, NAMES, {}, "float8")


def gradient_step(layer_variables, call, images):
    """Moves what has a gradient, and tells what it was by name."""
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(call(images) ** 2)
    gradients = tape.gradient(loss, layer_variables)
    moved = {}
    for variable, gradient in zip(layer_variables, gradients, strict=True):
        dense = tf.convert_to_tensor(gradient)
        variable.assign_sub(0.1 * dense)
        moved[variable.name.partition(":")[0]] = np.asarray(dense)
    return moved


def check_moved(moved, bank, index):
    assert len(moved) == len(bank.variables)
    for name, gradient in moved.items():
        if not name.startswith("adapter"):
            assert np.any(gradient), name
            continue
        rows = [i for i in range(NUM_EXPERTS) if np.any(gradient[i])]
        assert rows == [index], name


@pytest.mark.slow
def test_tf_keras_fine_tunes_one_expert_and_the_backbone(
    path, bank, images, expected
):
    import tensorflow_hub as hub

    layer = hub.KerasLayer(path, trainable=True, arguments={"expert": 1})
    np.testing.assert_allclose(layer(images), expected[1], atol=1e-5)
    for _ in range(2):
        moved = gradient_step(
            layer.trainable_variables,
            lambda x: layer(x, training=True),
            images,
        )
        check_moved(moved, bank, 1)
    frozen = hub.KerasLayer(path, arguments={"expert": 2})
    np.testing.assert_allclose(frozen(images), expected[2], atol=1e-5)
    assert len(frozen.trainable_variables) == 0


def test_tf_keras_layer_takes_an_expert_for_each_image(path, images, expected):
    import tensorflow_hub as hub

    layer = hub.KerasLayer(path, trainable=True)
    index = np.array([2, -1, 0, 1])
    features = layer({"images": images, "expert": index})
    rows = expected[index, np.arange(4)]
    np.testing.assert_allclose(features, rows, atol=1e-5)


@pytest.mark.slow
def test_keras3_fine_tunes_one_expert_and_the_backbone(
    path, bank, images, expected
):
    layer = HubLayer(path, trainable=True, arguments={"expert": 0})
    np.testing.assert_allclose(layer(images), expected[0], atol=1e-5)
    variables = [weight.value for weight in layer.trainable_weights]
    for _ in range(2):
        moved = gradient_step(
            variables, lambda x: layer(x, training=True), images
        )
        check_moved(moved, bank, 0)
    part = HubLayer(f"{path}#plant")
    np.testing.assert_allclose(part(images), expected[2], atol=1e-5)


@pytest.mark.slow
def test_keras3_layer_calls_signatures(path, images, expected, tmp_path):
    layer = HubLayer(
        path, signature="by_name", arguments={"expert_name": "plant"}
    )
    model = keras.Sequential([keras.Input((None, None, 3)), layer])
    np.testing.assert_allclose(model(images), expected[2], atol=1e-5)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(again(images), expected[2], atol=1e-5)
    every = HubLayer(path, signature="all_experts")
    assert every(images).shape == (4, NUM_EXPERTS, expected.shape[-1])
    with pytest.raises(ValueError, match="'nothing' of"):
        HubLayer(path, signature="nothing")
    with pytest.raises(ValueError, match="cannot be trained"):
        HubLayer(path, trainable=True, signature="by_name")


def test_keras_s_own_layer_reads_the_signatures(path, images, expected):
    layer = keras.layers.TFSMLayer(path, call_endpoint="serving_default")
    features = layer(tf.constant(images))["features"]
    np.testing.assert_allclose(features, expected[-1], atol=1e-5)
