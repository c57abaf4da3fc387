"""The embedding of token ids."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_experts")
class TextEmbedding(keras.layers.Layer):
    """Sums a vector for each token, for its position and for its segment.

    Args:
        vocabulary_size: int. Number of different tokens.
        max_length: int. Number of positions, the length of the longest text.
        width: int. Channels of the vectors.
        num_types: int. Number of segments that a text may have.

    Call arguments:
        word_ids: int tensor `(batch, length)`, values in
            `[0, vocabulary_size)`; at most `max_length` long.
        type_ids: int tensor `(batch, length)`, values in `[0, num_types)`.

    Returns:
        Float tensor `(batch, length, width)`.
    """

    def __init__(
        self,
        vocabulary_size: int,
        max_length: int,
        width: int,
        num_types: int = 2,
        **kwargs,
    ):
        super().__init__(**kwargs)
        for name, value in (
            ("vocabulary_size", vocabulary_size),
            ("max_length", max_length),
            ("width", width),
            ("num_types", num_types),
        ):
            if not value >= 1:
                raise ValueError(
                    f"`{name}` must be at least 1. Received: {value!r}."
                )
        self.vocabulary_size = vocabulary_size
        self.max_length = max_length
        self.width = width
        self.num_types = num_types

    def build(self, word_ids_shape, type_ids_shape=None):
        # Of a deviation of one: plain SGD moves small vectors too slowly
        # beside the layers above them.
        self.words = self._table("words", self.vocabulary_size, 1.0)
        self.places = self._table("places", self.max_length, 0.1)
        self.types = self._table("types", self.num_types, 0.1)

    def _table(self, name: str, rows: int, stddev: float):
        return self.add_weight(
            name=name,
            shape=(rows, self.width),
            initializer=keras.initializers.RandomNormal(stddev=stddev),
        )

    def call(self, word_ids, type_ids):
        length = ops.shape(word_ids)[1]
        places = ops.take(self.places, ops.arange(length), axis=0)
        vectors = ops.take(self.words, word_ids, axis=0)
        vectors += ops.take(self.types, type_ids, axis=0)
        return vectors + places  # (batch, length, width)

    def compute_output_shape(self, word_ids_shape, type_ids_shape=None):
        return (*word_ids_shape, self.width)

    def get_config(self):
        return {
            **super().get_config(),
            "vocabulary_size": self.vocabulary_size,
            "max_length": self.max_length,
            "width": self.width,
            "num_types": self.num_types,
        }
