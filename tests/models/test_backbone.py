import keras
import numpy as np
import pytest
from keras import ops

from keras_experts.models import BitResNet
from keras_experts.models import bit_resnet
from keras_experts.models.backbone import base_channels
from keras_experts.models.presets import BLOCK_UNITS


def test_r50x1_has_the_parameters_of_the_paper():
    assert bit_resnet("r50x1").count_params() == 23_500_352


@pytest.mark.parametrize("depth", BLOCK_UNITS)
def test_depth_is_three_layers_a_unit_and_two(depth):
    assert 3 * sum(BLOCK_UNITS[depth]) + 2 == depth


def test_activations_are_named_down_to_pre_logits():
    model = bit_resnet("r50x1")
    shapes = {
        name: tuple(value.shape)
        for name, value in model(np.zeros((1, 64, 96, 3))).items()
    }
    assert shapes == {
        "root": (1, 16, 24, 64),
        "block1": (1, 16, 24, 256),
        "block2": (1, 8, 12, 512),
        "block3": (1, 4, 6, 1024),
        "block4": (1, 2, 3, 2048),
        "pre_logits": (1, 2048),
    }


def test_small_root_keeps_the_size():
    model = bit_resnet("r14x0.25_small")
    outputs = model(np.zeros((1, 32, 32, 3)))
    assert tuple(outputs["root"].shape) == (1, 32, 32, 16)
    assert tuple(outputs["pre_logits"].shape) == (1, 512)


@pytest.mark.parametrize("width", [0.05, 0.125, 0.3, 0.7, 1, 1.3, 2, 3, 4])
def test_every_width_builds(width):
    base = base_channels(width)
    assert abs(base - 64 * width) <= 16
    BitResNet(depth=14, width=width, root="small")


@pytest.mark.parametrize("width", [0.25, 0.5, 1, 2, 3, 4])
def test_usual_widths_are_exact(width):
    assert base_channels(width) == 64 * width


def test_saved_model_gives_the_same(tmp_path, rng):
    model = BitResNet(14, 0.125, "small", adapters="bank", num_experts=2)
    inputs = {
        "images": rng.normal(size=(2, 16, 16, 3)).astype("float32"),
        "expert_index": np.array([1, -1], "int32"),
    }
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.get_config() == model.get_config()
    np.testing.assert_allclose(
        ops.convert_to_numpy(loaded(inputs)["pre_logits"]),
        ops.convert_to_numpy(model(inputs)["pre_logits"]),
        atol=1e-5,
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"depth": 18}, "`depth` must be one of"),
        ({"root": "big"}, "`root` must be one of"),
        ({"adapters": "all"}, "`adapters` must be one of"),
        ({"num_experts": 2}, "`num_experts` goes with"),
        ({"width": 0}, "`width` must be above 0"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        BitResNet(**arguments)


def test_unknown_preset_is_refused():
    with pytest.raises(ValueError, match="Received: 'r51x1'"):
        bit_resnet("r51x1")
