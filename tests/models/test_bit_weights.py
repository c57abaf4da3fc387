import importlib.util
from pathlib import Path

import numpy as np
import pytest
from keras import ops

from keras_experts.models import BitResNet
from keras_experts.models import bit_resnet
from keras_experts.models import load_bit_weights
from keras_experts.models.bit_weights import bit_name
from keras_experts.models.bit_weights import named_variables

SCRIPT = Path(__file__).with_name("bit_reference.py")


@pytest.fixture(scope="module")
def reference():
    spec = importlib.util.spec_from_file_location("bit_reference", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def weights_file(reference, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "BiT.npz"
    np.savez(path, **reference.make_weights())
    return path


@pytest.fixture(scope="module")
def model(weights_file):
    model = bit_resnet("r50x1")
    load_bit_weights(model, weights_file)
    return model


@pytest.mark.parametrize("size", [224, 225, 97])
def test_features_equal_the_stored_ones_of_transformers(model, reference, size):
    with np.load(reference.REFERENCE) as stored:
        expected = stored[str(size)]
    features = model(reference.make_image(size))["pre_logits"]
    assert expected.std() > 0.1  # not a comparison of zeros
    np.testing.assert_allclose(
        ops.convert_to_numpy(features), expected, atol=1e-4
    )


@pytest.mark.parity
def test_stored_features_are_what_transformers_gives_now(reference):
    with np.load(reference.REFERENCE) as stored:
        for size, features in reference.torch_features().items():
            np.testing.assert_allclose(stored[size], features, atol=1e-5)


def test_names_are_the_published_ones(reference):
    ours = {bit_name(name) for name in named_variables(bit_resnet("r50x1"))}
    theirs = {n for n in reference.make_weights() if "/head/" not in n}
    assert ours == theirs


@pytest.fixture
def small():
    model = BitResNet(14, 0.125, "small", adapters="single")
    weights = {
        bit_name(name): np.ones(variable.shape, np.float32)
        for name, variable in named_variables(model).items()
        if not name.startswith("adapter")
    }
    return model, weights


def test_adapters_keep_their_values(small, tmp_path):
    model, weights = small
    before = ops.convert_to_numpy(model.get_layer("adapter1").down)
    np.savez(tmp_path / "w.npz", **weights)
    load_bit_weights(model, tmp_path / "w.npz")
    after = ops.convert_to_numpy(model.get_layer("adapter1").down)
    np.testing.assert_array_equal(after, before)


def test_every_mismatch_is_listed_and_nothing_assigned(small, tmp_path):
    model, weights = small
    before = model.get_weights()
    weights.pop("resnet/group_norm/gamma")
    weights.pop("resnet/group_norm/beta")
    weights["resnet/block9/kernel"] = np.ones(3)
    weights["resnet/block1/unit01/a/group_norm/beta"] = np.ones(5)
    np.savez(tmp_path / "w.npz", **weights)
    with pytest.raises(ValueError) as error:
        load_bit_weights(model, tmp_path / "w.npz")
    message = str(error.value)
    assert "2 missing: resnet/group_norm/beta, resnet/group_norm/ga" in message
    assert "1 unexpected: resnet/block9/kernel" in message
    assert "1 of another shape: resnet/block1/unit01/a/group_norm/b" in message
    for weight, value in zip(model.get_weights(), before):
        np.testing.assert_array_equal(weight, value)


def test_file_that_is_no_npz_is_refused(small, tmp_path):
    (tmp_path / "w.npz").write_text("no weights")
    with pytest.raises(ValueError, match="must be an .npz"):
        load_bit_weights(small[0], tmp_path / "w.npz")
    with pytest.raises(FileNotFoundError):
        load_bit_weights(small[0], tmp_path / "none.npz")
