import numpy as np
import pytest
from keras import ops

from keras_experts.layers import LabelRouter

MEMBERSHIP = [[1, 1, 0], [1, 0, 0], [0, 0, 0], [1, 0, 1]]


def test_image_goes_to_every_expert_of_its_labels(rng):
    labels = rng.integers(0, 2, (20, 4))
    routed = ops.convert_to_numpy(LabelRouter(MEMBERSHIP)(labels))
    expected = (labels @ np.array(MEMBERSHIP)) > 0
    np.testing.assert_array_equal(routed, expected)
    assert routed.dtype == bool


def test_sample_is_an_owner_and_every_owner_is_drawn():
    labels = np.tile([[1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], (100, 1))
    drawn = ops.convert_to_numpy(LabelRouter(MEMBERSHIP, 0).sample(labels))
    assert set(drawn[0::3]) == {0, 1}
    assert set(drawn[1::3]) == {-1}
    assert set(drawn[2::3]) == {0, 2}


@pytest.mark.parametrize("shape", [(2, 3), (4,), (1, 2, 4)])
def test_labels_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match="incompatible with the layer"):
        LabelRouter(MEMBERSHIP)(np.ones(shape))


def test_config_makes_an_equal_layer():
    config = LabelRouter(MEMBERSHIP, seed=1).get_config()
    assert LabelRouter.from_config(config).get_config() == config
