"""A small encoder of texts, with the inputs and outputs of BERT's modules."""

import keras
from keras import layers
from keras import ops

from keras_experts import config
from keras_experts.layers.masked_mean import MaskedMean
from keras_experts.layers.text_embedding import TextEmbedding
from keras_experts.mediums import DEFAULT
from keras_experts.mediums import PACKED
from keras_experts.mediums import POOLED
from keras_experts.mediums import SEQUENCE

EXPANSION = 4  # of the channels within a block's second half


@keras.saving.register_keras_serializable(package="keras_experts")
class TextEncoder(keras.Model):
    """Maps the tokens of texts to vectors, one a token and one a text.

    Transformer blocks with the norm before each half, and no dropout. The
    vector of a text is the mean over its tokens, so that distances between
    texts mean something without further training (our choice; BERT's is that
    of its first token).

    Args:
        vocabulary_size: int. Different tokens.
        max_length: int. Tokens of the longest text.
        width: int. Channels; a multiple of `num_heads`.
        depth: int. Blocks.
        num_heads: int. Heads of the attention.

    Call arguments:
        inputs: dict of int32 tensors `(batch, length)`, `input_word_ids`,
            `input_mask` (1 for tokens, 0 for padding) and `input_type_ids`.

    Returns:
        Dict of float tensors: `sequence_output` `(batch, length, width)`,
        `pooled_output` `(batch, width)`, and `default`, which is the latter.

    References:
        The common text API of TensorFlow Hub; BERT (Devlin et al., 2019).
    """

    def __init__(
        self,
        vocabulary_size: int,
        max_length: int = 128,
        width: int = 128,
        depth: int = 2,
        num_heads: int = 4,
        name: str = "text_encoder",
        **kwargs,
    ):
        if width % num_heads:
            raise ValueError(
                "`width` must be a multiple of `num_heads`. "
                f"Received: width={width}, num_heads={num_heads}."
            )
        inputs = {
            key: keras.Input((None,), dtype="int32", name=key) for key in PACKED
        }
        words, present, types = (inputs[key] for key in PACKED)
        embedding = TextEmbedding(
            vocabulary_size, max_length, width, name="embedding"
        )
        x = embedding(words, types)
        for block in range(1, depth + 1):
            x = _apply_block(x, present, num_heads, f"block{block}")
        x = layers.LayerNormalization(name="norm")(x)
        pooled = MaskedMean(name="pooled")(x, present)
        outputs = {DEFAULT: pooled, POOLED: pooled, SEQUENCE: x}
        super().__init__(inputs=inputs, outputs=outputs, name=name, **kwargs)
        self.vocabulary_size = vocabulary_size
        self.max_length = max_length
        self.width = width
        self.depth = depth
        self.num_heads = num_heads

    def get_config(self):
        return {
            "name": self.name,
            "vocabulary_size": self.vocabulary_size,
            "max_length": self.max_length,
            "width": self.width,
            "depth": self.depth,
            "num_heads": self.num_heads,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        return cls(**config)


@config.register
def text_encoder(
    vocabulary_size: int,
    max_length: int = 128,
    width: int = 128,
    depth: int = 2,
    num_heads: int = 4,
) -> TextEncoder:
    """Builds a `TextEncoder`, whose arguments these are."""
    return TextEncoder(vocabulary_size, max_length, width, depth, num_heads)


def _apply_block(x, present, num_heads: int, prefix: str):
    """Adds attention between the tokens, then a network on each."""
    width = x.shape[-1]
    normed = layers.LayerNormalization(name=f"{prefix}_a_norm")(x)
    attention = layers.MultiHeadAttention(
        num_heads, width // num_heads, name=f"{prefix}_attention"
    )
    mask = ops.cast(present, "bool")[:, None, :]  # (batch, 1, length)
    x = layers.Add(name=f"{prefix}_a_add")(
        [x, attention(normed, normed, attention_mask=mask)]
    )
    hidden = layers.LayerNormalization(name=f"{prefix}_b_norm")(x)
    hidden = layers.Dense(
        EXPANSION * width, activation="gelu", name=f"{prefix}_expand"
    )(hidden)
    hidden = layers.Dense(width, name=f"{prefix}_contract")(hidden)
    return layers.Add(name=f"{prefix}_b_add")([x, hidden])
