"""Hard-coded routing: from labels to the experts that own them."""

import keras
import numpy as np
from keras import ops


@keras.saving.register_keras_serializable(package="keras_experts")
class LabelRouter(keras.layers.Layer):
    """Routes each image to every expert that owns one of its labels.

    Args:
        membership: bool array-like `(num_labels, num_experts)`. True where
            the expert's node is the label's node or one of its ancestors
            (`Hierarchy.membership`).
        seed: int or None. Seed of the random choices of `sample`.

    Call arguments:
        labels: int, float or bool tensor `(batch, num_labels)`, multi-hot.

    Returns:
        Bool tensor `(batch, num_experts)`.

    References:
        Section 4.3 of the paper.
    """

    def __init__(self, membership, seed: int | None = None, **kwargs):
        super().__init__(**kwargs)
        matrix = np.asarray(membership)
        if matrix.ndim != 2:
            raise ValueError(
                "`membership` must have shape (num_labels, num_experts). "
                f"Received: shape {matrix.shape}."
            )
        self.membership = matrix.astype(bool).tolist()
        self.seed = seed
        self._matrix = matrix.astype("float32")
        self._seed_generator = keras.random.SeedGenerator(seed)
        self.input_spec = keras.InputSpec(ndim=2, axes={-1: len(matrix)})

    def call(self, labels):
        labels = ops.cast(labels, "float32")
        return ops.matmul(labels, self._matrix) > 0.5

    def compute_output_spec(self, labels):
        shape = (labels.shape[0], self._matrix.shape[1])
        return keras.KerasTensor(shape, "bool")

    def sample(self, labels):
        """Samples one of each image's experts, uniformly.

        Args:
            labels: Tensor `(batch, num_labels)`, multi-hot, as in a call.

        Returns:
            Int32 tensor `(batch,)`, values in `[-1, num_experts)`. The value
            is -1 for an image that belongs to no expert.
        """
        owned = self(labels)  # (batch, experts)
        noise = keras.random.uniform(
            ops.shape(owned), minval=0.1, seed=self._seed_generator
        )
        drawn = ops.argmax(ops.where(owned, noise, 0.0), axis=-1)
        drawn = ops.cast(drawn, "int32")
        return ops.where(ops.any(owned, axis=-1), drawn, -1)

    def get_config(self):
        return {
            **super().get_config(),
            "membership": self.membership,
            "seed": self.seed,
        }
