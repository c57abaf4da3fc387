"""Transfer learning with expert models: train, publish, select, fine-tune.

An implementation of "Scalable Transfer Learning with Expert Models"
(Puigcerver et al., ICLR 2021), which docstrings call the paper.
"""

from keras_experts.lazy import attach
from keras_experts.registration import register
from keras_experts.registration import register_after_keras

__version__ = "0.1.0"

_get, __dir__, __all__ = attach(
    __name__,
    {
        "ExpertClassifier": "evaluation.expert_classifier",
        "Hierarchy": "hierarchy",
        "finetune": "training.finetuning",
        "select": "selection.selector",
    },
    ("layers", "models", "selection"),
)


def __getattr__(name: str) -> object:
    value = _get(name)
    register()
    return value


register_after_keras()
