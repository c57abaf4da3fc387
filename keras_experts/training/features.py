"""Modules as trainable feature extractors.

A SavedModel's gradients do not compile well with XLA: the call of a loaded
function hands its backward function the shapes it computed, XLA takes all
that leads to them for constants, the weights too, and so compiles anew after
each update (seconds a step, measured). A module of ours names its
architecture, so it is built as a Keras model instead.
"""

import keras

from keras_experts.layers.hub_layer import HubLayer
from keras_experts.models import heads
from keras_experts.models import rebuilding
from keras_experts.saved_models import handles
from keras_experts.saved_models.loading import read_weights


def load_features(
    handle: str, trust: bool = False
) -> tuple[keras.layers.Layer, bool]:
    """Loads a module from images in [0, 1] to features, to be fine-tuned.

    Args:
        handle: str. Path or URL of a reusable SavedModel; `MODULE#name` is an
            expert of a bank.
        trust: bool. As in `HubLayer`.

    Returns:
        The layer, all trainable, and whether its gradients compile with XLA.

    Raises:
        FileNotFoundError: if there is no such module.
        ValueError: if it does not load or has nothing to train.
    """
    metadata = handles.read_metadata(handle)
    if "backbone" in metadata:
        backbone = rebuilding.rebuild(metadata, read_weights(handle), handle)
        if metadata["kind"] == handles.BANK:
            _, expert = handles.split(handle)
            backbone = rebuilding.cut_out(backbone, metadata, expert, handle)
        return heads.image_features(backbone), True
    layer = HubLayer(handle, trainable=True, trust=trust)
    return layer, False
