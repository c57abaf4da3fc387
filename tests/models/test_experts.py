import keras
import numpy as np
import pytest
from keras import ops

from keras_experts.models import BitResNet
from keras_experts.models import add_adapters
from keras_experts.models import bit_resnet
from keras_experts.models import extract_expert
from keras_experts.models import insert_expert
from keras_experts.models.bit_weights import named_variables
from keras_experts.models.experts import adapter_layers
from keras_experts.models.experts import adapter_variables


@pytest.fixture(scope="module")
def backbone():
    return BitResNet(14, 0.125, "small")


@pytest.fixture
def bank(backbone, rng):
    bank = add_adapters(backbone, "bank", num_experts=3)
    for layer in adapter_layers(bank):
        layer.up.assign(rng.normal(size=layer.up.shape) * 0.3)
    return bank


@pytest.fixture
def images(rng):
    return rng.normal(size=(2, 16, 16, 3)).astype("float32")


def features(model, images, index=None):
    inputs = images
    if index is not None:
        indices = np.full(len(images), index, "int32")
        inputs = {"images": images, "expert_index": indices}
    return ops.convert_to_numpy(model(inputs)["pre_logits"])


def test_r50x1_adapters_have_the_parameters_of_the_paper():
    model = bit_resnet("r50x1", adapters="single")
    sizes = {
        name: np.prod(variable.shape)
        for name, variable in adapter_variables(model).items()
    }
    kernels = [s for n, s in sizes.items() if n.endswith(("/down", "/up"))]
    assert sum(kernels) == 1_380_352
    assert sum(sizes.values()) == 1_385_920


def test_adapters_stand_before_each_block():
    names = [layer.name for layer in bit_resnet(adapters="single").layers]
    for block in range(1, 5):
        place = names.index(f"adapter{block}")
        assert names[place + 1].startswith(f"block{block}_unit01")


def test_new_adapters_do_not_change_the_features(backbone, images):
    model = add_adapters(backbone)
    np.testing.assert_array_equal(
        features(model, images), features(backbone, images)
    )


@pytest.mark.parametrize("index", [0, 2])
def test_expert_cut_out_gives_the_bank_s_features(bank, images, index):
    expert = extract_expert(bank, index)
    np.testing.assert_allclose(
        features(expert, images), features(bank, images, index), atol=1e-5
    )


@pytest.mark.parametrize("index", [3, -2, 2**32, 2**32 + 2])
def test_network_uses_no_expert_for_an_invalid_index(bank, images, index):
    indices = np.array([index] * len(images))
    with pytest.raises(ValueError, match=r"integers in \[-1, 3\)"):
        bank({"images": images, "expert_index": indices})
    if keras.backend.backend() == "tensorflow" or index < 2**31:
        inputs = {"images": images, "expert_index": indices}
        inputs = {key: ops.convert_to_tensor(x) for key, x in inputs.items()}
        outputs = ops.convert_to_numpy(bank(inputs)["pre_logits"])
        assert np.isnan(outputs).all()


def test_index_minus_one_cuts_out_the_baseline(bank, backbone, images):
    np.testing.assert_array_equal(
        features(extract_expert(bank, -1), images), features(backbone, images)
    )


def test_expert_put_in_leaves_the_others_alone(bank, images):
    others = [features(bank, images, index) for index in (-1, 0, 2)]
    expert = extract_expert(bank, 2)
    insert_expert(bank, 1, expert)
    np.testing.assert_allclose(
        features(bank, images, 1), features(expert, images), atol=1e-5
    )
    for before, index in zip(others, (-1, 0, 2), strict=True):
        np.testing.assert_array_equal(features(bank, images, index), before)


def test_expert_of_another_backbone_is_refused(bank):
    stranger = BitResNet(14, 0.125, "small", adapters="single")
    with pytest.raises(ValueError, match="bank's own backbone"):
        insert_expert(bank, 0, stranger)


def test_expert_of_another_ratio_is_refused(bank, backbone):
    expert = add_adapters(backbone, bottleneck_ratio=0.25)
    with pytest.raises(ValueError, match="bank's bottleneck ratio"):
        insert_expert(bank, 0, expert)


@pytest.mark.parametrize("index", [-2, 3])
def test_expert_out_of_range_is_refused(bank, index):
    with pytest.raises(ValueError, match=r"Received: -?\d"):
        extract_expert(bank, index)


def test_plain_model_is_no_bank(backbone):
    with pytest.raises(ValueError, match="adapters='bank'"):
        extract_expert(backbone, 0)


def test_variables_have_unique_names(bank):
    assert len(named_variables(bank)) == len(bank.variables)
