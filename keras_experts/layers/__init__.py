"""Keras layers of the method; all but HubLayer run on any Keras backend.

Importing this package registers all of its layers with Keras, so that
`keras.saving.load_model` finds them in a saved model.
"""

from keras_experts.layers.adapter_bank import AdapterBank
from keras_experts.layers.adapter_groups import AdapterGroups
from keras_experts.layers.hub_layer import HubLayer
from keras_experts.layers.label_router import LabelRouter
from keras_experts.layers.masked_mean import MaskedMean
from keras_experts.layers.residual_adapter import ResidualAdapter
from keras_experts.layers.standardized_conv import StandardizedConv2D
from keras_experts.layers.text_embedding import TextEmbedding

__all__ = [
    "AdapterBank",
    "AdapterGroups",
    "HubLayer",
    "LabelRouter",
    "MaskedMean",
    "ResidualAdapter",
    "StandardizedConv2D",
    "TextEmbedding",
]
