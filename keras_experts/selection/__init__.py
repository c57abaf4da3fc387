"""Choosing an expert: any maps from images to features, scored on a task."""

from keras_experts.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "leave_one_out_accuracy": "neighbors",
        "nearest_neighbors": "neighbors",
        "select": "selector",
    },
)
