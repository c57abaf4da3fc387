"""Networks from what an exported module says of itself and holds."""

import numpy as np

from keras_experts.mediums import TEXTS
from keras_experts.models import experts as expert_models
from keras_experts.models.backbone import BitResNet
from keras_experts.models.bit_weights import assign
from keras_experts.models.bit_weights import named_variables
from keras_experts.models.text_encoder import TextEncoder
from keras_experts.saved_models.handles import BASELINE
from keras_experts.saved_models.handles import check_expert


def rebuild(
    metadata: dict, weights: dict[str, np.ndarray], name: str
) -> BitResNet | TextEncoder:
    """Builds the network of a module of ours, float32.

    Args:
        metadata: dict. Of `read_metadata`; its `backbone` is the network's
            configuration.
        weights: dict of str to array. Of `read_weights`.
        name: str. What errors call the module.

    Raises:
        ValueError: if there is no such network, or the weights are not its.
    """
    kind = TextEncoder if metadata.get("medium") == TEXTS else BitResNet
    try:
        model = kind.from_config(metadata["backbone"])
    except TypeError as error:
        raise ValueError(
            f"A module's metadata must describe a {kind.__name__}. "
            f"Received: {name} ({error})."
        ) from error
    values = {key: value.astype(np.float32) for key, value in weights.items()}
    assign(named_variables(model), values, f"the module {name}")
    return model


def cut_out(
    bank: BitResNet, metadata: dict, expert: str | None, name: str
) -> BitResNet:
    """Cuts one expert of a module, or its baseline, out of its bank.

    Args:
        bank: `BitResNet` of `rebuild`.
        metadata: dict. As in `rebuild`.
        expert: str. Its name; the baseline's is "baseline".
        name: str. What errors call the module.

    Raises:
        ValueError: if the bank has no such expert.
    """
    check_expert(metadata, expert, name)
    names = [row["name"] for row in metadata["experts"]]
    index = -1 if expert == BASELINE else names.index(expert)
    return expert_models.extract_expert(bank, index)
