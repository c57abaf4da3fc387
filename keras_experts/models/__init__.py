"""The backbone, its presets and weights, and models with experts in them."""

from keras_experts.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "BitResNet": "backbone",
        "TextEncoder": "text_encoder",
        "add_adapters": "experts",
        "add_head": "heads",
        "bit_resnet": "backbone",
        "extract_expert": "experts",
        "insert_expert": "experts",
        "load_bit_weights": "bit_weights",
    },
)
