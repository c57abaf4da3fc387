"""Many experts in one layer, chosen example by example."""

import functools

import keras
import numpy as np
from keras import ops

from keras_experts.layers.expert_index import as_int32
from keras_experts.layers.expert_index import check_values
from keras_experts.layers.group_norm import normalize
from keras_experts.layers.residual_adapter import bottleneck_channels

# The bank's variable of each variable of a ResidualAdapter, by path.
ADAPTER_VARIABLES = {
    "norm_down/gamma": "norm_down_gamma",
    "norm_down/beta": "norm_down_beta",
    "down": "down",
    "norm_up/gamma": "norm_up_gamma",
    "norm_up/beta": "norm_up_beta",
    "up": "up",
}


@keras.saving.register_keras_serializable(package="keras_experts")
class AdapterBank(keras.layers.Layer):
    """Adds to each image the residual of its own expert.

    Every expert is a `ResidualAdapter` of the same shape; the bank stacks
    their variables along a first axis of length `num_experts`. The index -1
    means no adapter: the layer returns the image unchanged.

    Args:
        num_experts: int. Number of experts, at least 1.
        bottleneck_ratio: float. As in `ResidualAdapter`.

    Call arguments:
        inputs: float tensor `(batch, height, width, channels)`.
        expert_index: int, list or int tensor, scalar, `(1,)` or `(batch,)`,
            values in `[-1, num_experts)`, passed by name. An invalid Python or
            NumPy value raises a `ValueError`. The values of a tensor are not
            known before the computation: where one is invalid, the outputs of
            its image are NaN.

    Returns:
        Float tensor of the shape of `inputs`.

    References:
        Section 4.1 and figure 3a of the paper.
    """

    def __init__(
        self, num_experts: int, bottleneck_ratio: float = 0.5, **kwargs
    ):
        super().__init__(**kwargs)
        if num_experts < 1:
            raise ValueError(
                f"`num_experts` must be at least 1. Received: {num_experts}."
            )
        self.num_experts = num_experts
        self.bottleneck_ratio = bottleneck_ratio

    def build(self, input_shape):
        channels = input_shape[-1]
        hidden = bottleneck_channels(channels, self.bottleneck_ratio)

        def stack(name, shape, initializer):
            return self.add_weight(
                shape=(self.num_experts, *shape),
                initializer=functools.partial(_initialize_experts, initializer),
                name=name,
            )

        self.norm_down_gamma = stack("norm_down_gamma", (channels,), "ones")
        self.norm_down_beta = stack("norm_down_beta", (channels,), "zeros")
        self.down = stack("down", (channels, hidden), "he_normal")
        self.norm_up_gamma = stack("norm_up_gamma", (hidden,), "ones")
        self.norm_up_beta = stack("norm_up_beta", (hidden,), "zeros")
        self.up = stack("up", (hidden, channels), "zeros")

    def __call__(self, *args, **kwargs):
        # Keras converts NumPy arrays to tensors before it calls `call`.
        check_values(kwargs.get("expert_index", -1), self.num_experts)
        return super().__call__(*args, **kwargs)

    def call(self, inputs, expert_index=-1):
        index = as_int32(expert_index, self.num_experts)
        is_valid = index < self.num_experts
        is_adapted = is_valid & (index >= 0)
        chosen = ops.where(is_adapted, index, 0)
        pick = [
            ops.take(getattr(self, name), chosen, axis=0)
            for name in ADAPTER_VARIABLES.values()
        ]  # a leading axis (batch,) where the index has one
        gamma_down, beta_down, down, gamma_up, beta_up, up = pick
        batch, height, width, _ = ops.shape(inputs)

        def product(x, kernel):
            # A kernel for all, or of a first axis that is 1 or the batch's.
            rows = ops.reshape(x, (batch, height * width, x.shape[-1]))
            rows = ops.matmul(rows, kernel)
            return ops.reshape(rows, (batch, height, width, kernel.shape[-1]))

        hidden = ops.relu(normalize(inputs, gamma_down, beta_down))
        hidden = product(hidden, down)
        hidden = ops.relu(normalize(hidden, gamma_up, beta_up))
        residual = product(hidden, up)
        if len(index.shape):
            is_valid = ops.reshape(is_valid, (-1, 1, 1, 1))
            is_adapted = ops.reshape(is_adapted, (-1, 1, 1, 1))
        # Compiled code cannot raise an error about a value.
        others = ops.where(is_valid, inputs, float("nan"))
        return ops.where(is_adapted, inputs + residual, others)

    def compute_output_shape(self, input_shape, **kwargs):
        return input_shape

    def compute_output_spec(self, inputs, expert_index=-1):
        return keras.KerasTensor(inputs.shape, self.compute_dtype)

    def get_expert(self, index: int) -> dict[str, np.ndarray]:
        """Copies one expert's variables, by their path in ResidualAdapter."""
        index = self._one_expert(index)
        return {
            path: ops.convert_to_numpy(getattr(self, name)[index])
            for path, name in ADAPTER_VARIABLES.items()
        }

    def set_expert(self, index: int, values: dict[str, np.ndarray]) -> None:
        """Replaces one expert's variables and leaves the others alone."""
        index = self._one_expert(index)
        for path, name in ADAPTER_VARIABLES.items():
            shape = tuple(getattr(self, name).shape[1:])
            if np.shape(values[path]) != shape:
                raise ValueError(
                    "An expert must have the shapes of the bank's. Received: "
                    f"{path} of {np.shape(values[path])}, not {shape}."
                )
        for path, name in ADAPTER_VARIABLES.items():
            variable = getattr(self, name)
            stacked = np.array(ops.convert_to_numpy(variable))
            stacked[index] = values[path]
            variable.assign(stacked)

    def _one_expert(self, index: int) -> int:
        if not 0 <= index < self.num_experts:
            raise ValueError(
                "An expert of the bank has an index in "
                f"[0, {self.num_experts}). Received: {index}."
            )
        return index

    def get_config(self):
        return {
            **super().get_config(),
            "num_experts": self.num_experts,
            "bottleneck_ratio": self.bottleneck_ratio,
        }


def _initialize_experts(initializer: str, shape: tuple, dtype: str):
    """Initialises each expert as if it stood alone.

    A variance scaling initialiser would count the experts' axis as part of
    the fan-in. Each expert has its own object, since one draws the same
    numbers at each call.
    """
    initializers = [
        keras.initializers.get(initializer) for _ in range(shape[0])
    ]
    return ops.stack([draw(shape[1:], dtype) for draw in initializers])
