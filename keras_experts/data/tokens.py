"""From texts to what a network takes: tokens of a preprocessor, or strings."""

import tensorflow as tf

from keras_experts import config
from keras_experts.mediums import PACKED
from keras_experts.saved_models.loading import load_module
from keras_experts.saved_models.preprocessor import END
from keras_experts.saved_models.preprocessor import MASK
from keras_experts.saved_models.text_modules import check_packed


class Packer:
    """Packs a text as a network takes it.

    Args:
        preprocessor: str. Path or URL of a preprocessor.
        trust: bool. As in `load_module`.

    Attributes:
        seq_length: int. Tokens of each text.
        module: the loaded preprocessor.

    Raises:
        FileNotFoundError: if there is no such module.
        ValueError: if it does not load or is no preprocessor.
    """

    def __init__(self, preprocessor: str, trust: bool = False):
        self.module = load_module(preprocessor, trust)
        empty = self.module(tf.constant([""]))
        check_packed(empty, preprocessor)
        self.seq_length = int(empty[PACKED[0]].shape[1])

    def __call__(self, text: tf.Tensor) -> tf.Tensor:
        """Returns int32 `(3, seq_length)` of a string: ids, mask and types."""
        return self.batch(text[None])[0]

    def batch(self, texts: tf.Tensor) -> tf.Tensor:
        """Returns int32 `(batch, 3, seq_length)` of strings `(batch,)`."""
        packed = self.module(texts)
        stacked = tf.stack([packed[key] for key in PACKED], axis=1)
        return tf.ensure_shape(stacked, (None, len(PACKED), self.seq_length))


class Strings:
    """Passes texts on as they are, to a network that takes strings.

    It stands in for a `Packer`.

    Attributes:
        module: None. There is no preprocessor.
    """

    module = None

    def __call__(self, text: tf.Tensor) -> tf.Tensor:
        """Returns the text."""
        return text

    def batch(self, texts: tf.Tensor) -> tf.Tensor:
        """Returns the texts."""
        return texts


@config.register
def hide_words(
    text: tf.Tensor, seed: tf.Tensor, pack: Packer, share: float = 0.1
) -> tf.Tensor:
    """Packs a text, and hides tokens of it at random; for training.

    Args:
        text: string.
        seed: int64 tensor `(2,)`.
        pack: Packer of a preprocessor of ours.
        share: float. Of the tokens between the marks, in [0, 1).

    Returns:
        Int32 `(3, seq_length)`.
    """
    packed = pack(text)
    draws = tf.random.stateless_uniform((pack.seq_length,), seed)
    hidden = (draws < share) & (packed[0] > END)
    words = tf.where(hidden, MASK, packed[0])
    return tf.concat([words[None], packed[1:]], axis=0)
