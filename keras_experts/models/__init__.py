"""The backbone, its presets and weights, and models with experts in them.

Importing this package registers its models with Keras, so that
`keras.saving.load_model` finds them in a saved model.
"""

from keras_experts.models.backbone import BitResNet
from keras_experts.models.backbone import bit_resnet
from keras_experts.models.bit_weights import load_bit_weights
from keras_experts.models.experts import add_adapters
from keras_experts.models.experts import extract_expert
from keras_experts.models.experts import insert_expert
from keras_experts.models.heads import add_head
from keras_experts.models.text_encoder import TextEncoder

__all__ = [
    "BitResNet",
    "TextEncoder",
    "add_adapters",
    "add_head",
    "bit_resnet",
    "extract_expert",
    "insert_expert",
    "load_bit_weights",
]
