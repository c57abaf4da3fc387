"""Modules as trainable feature extractors.

A SavedModel's gradients do not compile well with XLA: the call of a loaded
function hands its backward function the shapes it computed, XLA takes all
that leads to them for constants, the weights too, and so compiles anew after
each update (seconds a step, measured). A module of ours names its
architecture, so it is built as a Keras model instead.
"""

import keras
import tensorflow as tf

from keras_experts.layers.hub_layer import HubLayer
from keras_experts.mediums import DEFAULT
from keras_experts.mediums import PACKED
from keras_experts.mediums import POOLED
from keras_experts.mediums import TEXTS
from keras_experts.models import heads
from keras_experts.models import rebuilding
from keras_experts.saved_models import handles
from keras_experts.saved_models import keras_models
from keras_experts.saved_models import references
from keras_experts.saved_models import text_modules
from keras_experts.saved_models.keras_files import UNIT_RANGE
from keras_experts.saved_models.keras_files import check_range_of_ours
from keras_experts.saved_models.loading import read_weights


def load_features(
    handle: str | keras.Model,
    trust: bool = False,
    input_range: tuple[float, float] = UNIT_RANGE,
) -> tuple[keras.layers.Layer, bool]:
    """Loads a module of images or of texts to features, to be fine-tuned.

    Args:
        handle: str. Path or URL of a reusable SavedModel; `MODULE#name` is an
            expert of a bank. Of texts, an encoder as in `preprocessor_of`.
            Or a Keras model of images, or the path of its `.keras` file.
        trust: bool. As in `HubLayer`.
        input_range: two floats. Values of black and white that the module
            takes.

    Returns:
        The layer, of images in [0, 1] or as `text_features` makes it, with
        all its trainable weights, and whether its gradients compile with XLA.

    Raises:
        FileNotFoundError: if there is no such module.
        ValueError: if it does not load.
    """
    if keras_models.is_network(handle):
        network = keras_models.copy_network(handle, trust)
        if keras_models.medium_of(network) == TEXTS:
            return _of_strings(network), False
        low, high = keras_models.range_of(network, input_range)
        # XLA is slow for the depthwise convolutions of many of them on CPUs.
        return _of_range(network, low, high), False
    metadata = handles.read_metadata(handle)
    if "backbone" in metadata:
        check_range_of_ours(handle, input_range)
        backbone = rebuilding.rebuild(metadata, read_weights(handle), handle)
        if metadata["kind"] == handles.BANK:
            _, expert = references.split(handle)
            backbone = rebuilding.cut_out(backbone, metadata, expert, handle)
        return heads.features_of(backbone), True
    encoder, _ = references.split_preprocessor(handle)
    layer = HubLayer(encoder, trust=trust)
    layer.trainable = True  # as far as it has trainable weights
    taken = text_modules.takes(handles.resolve(handle))
    if taken == text_modules.STRINGS:
        return _of_strings(layer), False
    if taken == text_modules.TOKENS:
        # Raises where it and its preprocessor do not fit.
        text_modules.TextModule(handle, trust)(tf.constant(["a text"]))
        return _of_encoder(layer), False
    if tuple(input_range) != UNIT_RANGE:
        return _of_range(layer, *input_range), False
    return layer, False


def _of_range(
    layer: keras.layers.Layer, low: float, high: float
) -> keras.Model:
    """Builds a model of images in [0, 1] from a layer of [low, high].

    Args:
        layer: layer of images to features. A Keras network stays one, so that
            a file of the whole needs nothing else to load.
        low: float. Value of black.
        high: float. Value of white.
    """
    expected = None
    if isinstance(layer, keras.Model):
        expected = keras_models.input_of(layer)
    shape = (None, None, 3) if expected is None else expected.shape[1:]
    images = scaled = keras.Input(shape, name="images")
    if (low, high) != UNIT_RANGE:
        scaled = keras.layers.Rescaling(high - low, offset=low)(images)
    features = keras_models.as_function(layer)(scaled)
    features = keras.layers.Activation("linear", dtype="float32")(features)
    return keras.Model(images, features, name=heads.FEATURES_NAME)


def _of_encoder(layer: HubLayer) -> keras.Model:
    """Puts anybody's encoder of texts behind one tensor of tokens."""
    _pick_output(
        layer,
        {key: keras.KerasTensor((None, None), "int32") for key in PACKED},
    )
    return heads.text_features(layer)


def _of_strings(layer: keras.layers.Layer) -> keras.Model:
    """Builds a model from strings `(batch,)` to features `(batch, channels)`.

    Args:
        layer: layer of strings, to features or to a dict as an encoder's.
    """
    texts = keras.Input((), dtype="string", name="texts")
    if isinstance(layer, HubLayer):
        _pick_output(layer, texts)
    features = keras_models.as_function(layer)(texts)
    features = keras.layers.Activation("linear", dtype="float32")(features)
    return keras.Model(texts, features, name=heads.FEATURES_NAME)


def _pick_output(layer: HubLayer, inputs) -> None:
    """Chooses the output for whole texts of a layer that has several."""
    outputs = layer.compute_output_spec(inputs)
    if isinstance(outputs, dict):
        layer.output_key = DEFAULT if DEFAULT in outputs else POOLED
