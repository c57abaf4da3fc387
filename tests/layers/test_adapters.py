import keras
import numpy as np
import pytest
from keras import ops

from keras_experts.layers import AdapterBank
from keras_experts.layers import AdapterGroups
from keras_experts.layers import ResidualAdapter

CHANNELS = 8


def numpy_group_norm(inputs, gamma, beta):
    batch, height, width, channels = inputs.shape
    groups = min(32, channels // 2)
    shape = (batch, height, width, groups, channels // groups)
    grouped = inputs.astype(np.float64).reshape(shape)
    mean = grouped.mean(axis=(1, 2, 4), keepdims=True)
    variance = grouped.var(axis=(1, 2, 4), keepdims=True)
    normalized = (grouped - mean) / np.sqrt(variance + 1e-5)
    return normalized.reshape(inputs.shape) * gamma + beta


def numpy_adapter(inputs, values):
    """The adapter by its definition, in float64."""
    gamma, beta = values["norm_down/gamma"], values["norm_down/beta"]
    hidden = np.maximum(numpy_group_norm(inputs, gamma, beta), 0)
    hidden = hidden @ values["down"].astype(np.float64)
    gamma, beta = values["norm_up/gamma"], values["norm_up/beta"]
    hidden = np.maximum(numpy_group_norm(hidden, gamma, beta), 0)
    return inputs + hidden @ values["up"].astype(np.float64)


@pytest.fixture
def inputs(rng):
    return rng.normal(size=(4, 5, 6, CHANNELS)).astype("float32")


@pytest.fixture
def bank(rng, inputs):
    """A bank of three experts with random variables."""
    bank = AdapterBank(3)
    bank(inputs, expert_index=0)
    for weight in bank.weights:
        weight.assign(rng.normal(size=weight.shape))
    return bank


def run(layer, inputs, **arguments):
    return ops.convert_to_numpy(layer(inputs, **arguments))


def test_new_expert_is_identity(inputs):
    np.testing.assert_array_equal(run(ResidualAdapter(), inputs), inputs)
    outputs = run(AdapterBank(3), inputs, expert_index=[0, 1, 2, -1])
    np.testing.assert_array_equal(outputs, inputs)


def test_adapter_equals_its_definition(rng, inputs):
    layer = ResidualAdapter()
    layer.build(inputs.shape)
    for weight in layer.weights:
        weight.assign(rng.normal(size=weight.shape))
    values = {
        weight.path.removeprefix(f"{layer.name}/"): ops.convert_to_numpy(weight)
        for weight in layer.weights
    }
    expected = numpy_adapter(inputs, values)
    np.testing.assert_allclose(run(layer, inputs), expected, atol=1e-4)


@pytest.mark.parametrize("index", [[2, 0, -1, 1], [1, 1, 1, 1]])
def test_each_example_passes_its_own_expert(bank, inputs, index):
    outputs = run(bank, inputs, expert_index=index)
    for example, expert in enumerate(index):
        one = inputs[example : example + 1]
        expected = one
        if expert >= 0:
            expected = numpy_adapter(one, bank.get_expert(expert))
        np.testing.assert_allclose(
            outputs[example : example + 1], expected, atol=1e-4
        )


def test_every_kind_of_index_gives_the_same(bank, inputs):
    expected = run(bank, inputs, expert_index=[2, 2, 2, 2])
    array = np.array([2, 2, 2, 2])
    one = np.array([2])  # serves the whole batch
    for index in (2, np.int64(2), array, ops.convert_to_tensor(array), one):
        outputs = run(bank, inputs, expert_index=index)
        np.testing.assert_allclose(outputs, expected, atol=1e-6)


def test_index_minus_one_is_no_adapter(bank, inputs):
    np.testing.assert_array_equal(run(bank, inputs, expert_index=-1), inputs)


INVALID = [3, -2, 2**32, 2**32 + 2, [0, 1, 2, 3]]


@pytest.mark.parametrize("index", [*INVALID, 0.5, True, 2**70])
def test_invalid_python_and_numpy_indices_are_refused(bank, inputs, index):
    for given in (index, np.asarray(index)):
        with pytest.raises(ValueError, match=r"integers in \[-1, 3\)"):
            bank(inputs, expert_index=given)


@pytest.mark.parametrize("dtype", ["int8", "int32", "int64", "uint8"])
def test_invalid_values_of_a_tensor_give_nan(bank, inputs, dtype):
    values = np.array([2, 99, 0, 3]).astype(dtype)
    if dtype == "int64" and keras.backend.backend() == "tensorflow":
        values[[1, 3]] = [2**32, 2**32 + 2]  # JAX has no int64
    index = ops.convert_to_tensor(values)
    outputs = run(bank, inputs, expert_index=index)
    expected = run(bank, inputs, expert_index=[2, 0, 0, 0])
    np.testing.assert_allclose(outputs[[0, 2]], expected[[0, 2]], atol=1e-6)
    assert np.isnan(outputs[[1, 3]]).all()


def test_tensor_of_another_type_or_rank_is_refused(bank, inputs):
    for values, message in (
        (np.zeros(4, "float32"), "Received: float32"),
        (np.zeros(4, "uint32"), "Received: uint32"),
        (np.zeros((4, 1), "int32"), r"Received: shape \(4, 1\)"),
    ):
        index = ops.convert_to_tensor(values)
        with pytest.raises(ValueError, match=message):
            bank(inputs, expert_index=index)


def test_setting_an_expert_leaves_the_others_alone(bank):
    others = [bank.get_expert(0), bank.get_expert(2)]
    bank.set_expert(1, bank.get_expert(2))
    for before, index in zip(others, (0, 2), strict=True):
        for name, value in bank.get_expert(index).items():
            np.testing.assert_array_equal(value, before[name])
    for name, value in bank.get_expert(1).items():
        np.testing.assert_array_equal(value, others[1][name])


def test_expert_of_another_shape_changes_nothing(bank):
    before = bank.get_expert(1)
    wrong = {**before, "up": before["up"][:1]}
    wrong["norm_down/gamma"] = before["norm_down/gamma"] + 1
    with pytest.raises(ValueError, match="shapes of the bank's"):
        bank.set_expert(1, wrong)
    for name, value in bank.get_expert(1).items():
        np.testing.assert_array_equal(value, before[name])


def test_no_adapter_is_the_input_whatever_the_experts_hold(bank, inputs):
    bank.up.assign(np.full(bank.up.shape, np.nan))
    np.testing.assert_array_equal(run(bank, inputs, expert_index=-1), inputs)


def test_experts_of_a_new_bank_start_from_different_kernels():
    bank = AdapterBank(2)
    bank.build((None, 4, 4, CHANNELS))
    first, second = bank.get_expert(0)["down"], bank.get_expert(1)["down"]
    assert not np.array_equal(first, second)


def test_kernels_of_an_expert_have_c_squared_parameters():
    layer = ResidualAdapter()
    layer.build((None, 4, 4, 64))
    assert layer.count_params() == 64**2 + 3 * 64


@pytest.mark.parametrize(
    "layer", [AdapterBank(3, 0.25, name="a"), ResidualAdapter(0.25, name="a")]
)
def test_config_makes_an_equal_layer(layer):
    config = layer.get_config()
    assert type(layer).from_config(config).get_config() == config


def test_bank_runs_in_half_precision(inputs):
    bank = AdapterBank(2, dtype="mixed_bfloat16")
    outputs = bank(inputs, expert_index=1)
    assert keras.backend.standardize_dtype(outputs.dtype) == "bfloat16"


@pytest.mark.parametrize("each", [1, 3])
def test_groups_are_the_bank_with_each_group_s_own_expert(rng, each):
    inputs = rng.normal(size=(4 * each, 3, 3, 8)).astype("float32")
    groups, bank = AdapterGroups(4), AdapterBank(4)
    groups.build(inputs.shape)
    bank.build(inputs.shape)
    values = [rng.normal(size=w.shape) for w in groups.get_weights()]
    groups.set_weights(values)
    bank.set_weights(values)
    expected = bank(inputs, expert_index=np.repeat(np.arange(4), each))
    np.testing.assert_allclose(groups(inputs), expected, atol=1e-5)


def test_new_groups_are_the_identity(rng):
    inputs = rng.normal(size=(4, 3, 3, 8)).astype("float32")
    np.testing.assert_array_equal(AdapterGroups(2)(inputs), inputs)
