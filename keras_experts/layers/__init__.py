"""Keras layers of the method; all but HubLayer run on any Keras backend."""

from keras_experts.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "AdapterBank": "adapter_bank",
        "AdapterGroups": "adapter_groups",
        "HubLayer": "hub_layer",
        "LabelRouter": "label_router",
        "MaskedMean": "masked_mean",
        "ResidualAdapter": "residual_adapter",
        "StandardizedConv2D": "standardized_conv",
        "TextEmbedding": "text_embedding",
    },
)
