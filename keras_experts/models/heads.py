"""From images or texts as people have them to features, and to classes."""

import keras

from keras_experts.mediums import DEFAULT
from keras_experts.mediums import PACKED
from keras_experts.models import experts as expert_models
from keras_experts.models.backbone import BitResNet
from keras_experts.models.text_encoder import TextEncoder

HEAD_NAME = "head"
FEATURES_NAME = "features"
TOKENS_NAME = "tokens"  # of the input that is all of a text's tokens


def to_range() -> keras.layers.Layer:
    """Makes the layer that turns [0, 1] into the backbone's [-1, 1]."""
    return keras.layers.Rescaling(
        2.0, offset=-1.0, dtype="float32", name="to_range"
    )


def image_features(backbone: BitResNet) -> keras.Model:
    """Puts a backbone behind the input convention of hub modules.

    Args:
        backbone: `BitResNet` without a bank.

    Returns:
        Model from images `(batch, height, width, 3)`, values in [0, 1], to
        features `(batch, channels)`, float32.
    """
    images = keras.Input((None, None, 3), name="images")
    features = backbone(to_range()(images))["pre_logits"]
    features = keras.layers.Activation("linear", dtype="float32")(features)
    return keras.Model(images, features, name=FEATURES_NAME)


def text_features(encoder: keras.layers.Layer) -> keras.Model:
    """Puts an encoder of texts behind one tensor of all that it takes.

    Args:
        encoder: layer from the dict of the common text API to a dict with
            `default`, or to features alone.

    Returns:
        Model from int32 tokens `(batch, 3, length)`, ids, mask and types, to
        features `(batch, channels)`, float32.
    """
    tokens = keras.Input((len(PACKED), None), dtype="int32", name=TOKENS_NAME)
    parts = {key: tokens[:, row] for row, key in enumerate(PACKED)}
    features = encoder(parts)
    if isinstance(features, dict):
        features = features[DEFAULT]
    features = keras.layers.Activation("linear", dtype="float32")(features)
    return keras.Model(tokens, features, name=FEATURES_NAME)


def with_named_inputs(classifier: keras.Model) -> keras.Model:
    """Returns a classifier as it is given to people, with the same weights.

    Args:
        classifier: model of `add_head`.

    Returns:
        The classifier of images itself; of texts a model from a dict of int32
        tensors `(batch, length)`, which are what a preprocessor returns:
        `input_word_ids`, `input_mask` and `input_type_ids`.
    """
    if classifier.input.name != TOKENS_NAME:
        return classifier
    inputs = {
        key: keras.Input((None,), dtype="int32", name=key) for key in PACKED
    }
    tokens = keras.ops.stack([inputs[key] for key in PACKED], axis=1)
    return keras.Model(inputs, classifier(tokens), name=classifier.name)


def features_of(network: keras.Model) -> keras.Model:
    """Puts a network of images or of texts behind its input convention."""
    if isinstance(network, TextEncoder):
        return text_features(network)
    return image_features(network)


def add_head(features: keras.layers.Layer, num_classes: int) -> keras.Model:
    """Puts a new linear head on a feature extractor.

    The head is zero, as in BiT: at first the model gives all classes the same
    probability.

    Args:
        features: model, such as `features_of` gives, or a layer from images
            `(batch, height, width, 3)`, values in [0, 1], to features
            `(batch, channels)`.
        num_classes: int. Number of logits, at least 1.

    Returns:
        Model of the same inputs to logits `(batch, num_classes)`, float32.
    """
    inputs = keras.Input((None, None, 3), name="images")
    if isinstance(features, keras.Model):
        given = features.input
        inputs = keras.Input(
            given.shape[1:], dtype=given.dtype, name=given.name
        )
    head = keras.layers.Dense(
        num_classes,
        kernel_initializer="zeros",
        dtype="float32",
        name=HEAD_NAME,
    )
    outputs = head(features(inputs))
    return keras.Model(inputs, outputs, name="classifier")


def backbone_of(classifier: keras.Model) -> BitResNet | TextEncoder:
    """Finds the backbone inside `add_head(features_of(backbone))`."""
    for layer in classifier.get_layer(FEATURES_NAME).layers:
        if isinstance(layer, BitResNet | TextEncoder):
            return layer
    raise ValueError(
        "The classifier must be made from a BitResNet or a TextEncoder. "
        f"Received: {classifier.name}."
    )


def with_adapters(
    classifier: keras.Model,
    bottleneck_ratio: float = 0.5,
    num_groups: int | None = None,
) -> keras.Model:
    """Copies a classifier into one whose new adapters alone are trainable.

    Args:
        classifier: model of `add_head(image_features(backbone), ...)`.
        bottleneck_ratio: float. As in `ResidualAdapter`.
        num_groups: int. Experts in a batch, as `BitResNet`'s "groups"; None
            for one expert.
    """
    backbone = expert_models.add_adapters(
        backbone_of(classifier),
        "single" if num_groups is None else "groups",
        num_groups,
        bottleneck_ratio,
    )
    expert_models.freeze_backbone(backbone)
    head = classifier.get_layer(HEAD_NAME)
    model = add_head(image_features(backbone), head.units)
    new_head = model.get_layer(HEAD_NAME)
    new_head.set_weights(head.get_weights())
    new_head.trainable = False
    return model
