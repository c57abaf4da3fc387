"""Modules as trainable feature extractors.

A SavedModel's gradients do not compile well with XLA: the call of a loaded
function hands its backward function the shapes it computed, XLA takes all
that leads to them for constants, the weights too, and so compiles anew after
each update (seconds a step, measured). A module of ours names its
architecture, so it is built as a Keras model instead.
"""

import keras

from keras_experts import saved_models
from keras_experts.layers.hub_layer import HubLayer
from keras_experts.models import heads
from keras_experts.models.backbone import BitResNet
from keras_experts.models.bit_weights import assign
from keras_experts.models.bit_weights import named_variables


def load_features(handle: str) -> tuple[keras.layers.Layer, bool]:
    """Loads a module from images in [0, 1] to features, to be fine-tuned.

    Args:
        handle: str. Path or URL of a reusable SavedModel.

    Returns:
        The layer, all trainable, and whether its gradients compile with XLA.

    Raises:
        FileNotFoundError: if there is no such module.
        ValueError: if it does not load or has nothing to train.
    """
    config = saved_models.read_metadata(handle).get("backbone")
    if config is not None:
        backbone = BitResNet.from_config(config)
        values = {
            variable.name.partition(":")[0]: variable.numpy()
            for variable in saved_models.load_module(handle).variables
        }
        assign(named_variables(backbone), values, f"the module {handle}")
        return heads.image_features(backbone), True
    layer = HubLayer(handle, trainable=True)
    if not layer.trainable_variables:
        raise ValueError(
            "A module to fine-tune must have trainable variables. "
            f"Received: {handle} with none."
        )
    return layer, False
