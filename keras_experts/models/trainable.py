"""Which parts of a classifier are trained."""

from collections.abc import Iterator
from collections.abc import Sequence

import keras

from keras_experts.layers.standardized_conv import StandardizedConv2D
from keras_experts.layers.text_embedding import TextEmbedding
from keras_experts.models.backbone import BitResNet
from keras_experts.models.experts import ADAPTER_PREFIX
from keras_experts.models.heads import HEAD_NAME
from keras_experts.models.text_encoder import TextEncoder

# Of all variables; norms are those outside adapters, blocks the convolutions,
# or of texts the tables, the attention and the layers on each token.
GROUPS = ("head", "adapters", "norms", "blocks")
BLOCKS = (
    *(StandardizedConv2D, TextEmbedding),
    *(keras.layers.MultiHeadAttention, keras.layers.Dense),
)


def check_groups(groups: Sequence[str]) -> None:
    """Raises unless all are among `GROUPS`."""
    unknown = [group for group in groups if group not in GROUPS]
    if unknown:
        raise ValueError(
            f"Groups to train must be among {', '.join(GROUPS)}. "
            f"Received: {', '.join(map(str, unknown))}."
        )


def train_only(classifier: keras.Model, groups: Sequence[str]) -> None:
    """Leaves some groups of a classifier's variables trainable.

    Args:
        classifier: of `add_head`.
        groups: of `GROUPS`; all of them where there is none. The head is
            always trained: it begins with zeros.

    Raises:
        ValueError: if one has no variable in this classifier, or its
            features come from a SavedModel that is not one of ours, of which
            no part is known.
    """
    check_groups(groups)
    wanted = {"head", *(groups or GROUPS)}
    parts = list(_parts(classifier))
    present = {group for group, _ in parts}
    if None in present and groups and wanted != {"head"}:
        raise ValueError(
            "Of a module that does not name its network, all is trained or "
            f"the head. Received: {', '.join(groups)}."
        )
    missing = [group for group in groups if group not in present]
    if missing:
        raise ValueError(
            "Groups to train must be in the network, which has "
            f"{', '.join(sorted(present))}. Received: {', '.join(missing)}."
        )
    for group, layer in parts:
        if group is not None:
            layer.trainable = group in wanted
        elif groups:
            layer.trainable = False


def _parts(
    classifier: keras.Model,
) -> Iterator[tuple[str | None, keras.layers.Layer]]:
    """Gives all layers with variables, each with its group."""
    for layer in classifier.layers:
        if layer.name == HEAD_NAME:
            yield "head", layer
        elif isinstance(layer, keras.Model):
            for inner in layer.layers:
                if isinstance(inner, BitResNet | TextEncoder):
                    yield from _parts_of_backbone(inner)
                elif inner.variables:  # another's encoder of texts
                    yield None, inner
        elif layer.variables:
            yield None, layer


def _parts_of_backbone(
    backbone: BitResNet | TextEncoder,
) -> Iterator[tuple[str, keras.layers.Layer]]:
    for layer in backbone.layers:
        if layer.name.startswith(ADAPTER_PREFIX):
            yield "adapters", layer
        elif isinstance(layer, BLOCKS):
            yield "blocks", layer
        elif layer.variables:
            yield "norms", layer
