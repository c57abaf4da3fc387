"""All experts of a small bank at once, each on its own part of the batch."""

import keras
from keras import ops

from keras_experts.layers.adapter_bank import ADAPTER_VARIABLES
from keras_experts.layers.adapter_bank import AdapterBank
from keras_experts.layers.group_norm import normalize


@keras.saving.register_keras_serializable(package="keras_experts")
class AdapterGroups(AdapterBank):
    """Sends equal parts of the batch through the experts, in their order.

    A batch that is made expert by expert needs no index and no copy of an
    adapter for each image: each expert's convolutions are one matrix product.

    Args:
        num_experts: int. Number of experts, at least 1.
        bottleneck_ratio: float. As in `ResidualAdapter`.

    Call arguments:
        inputs: float tensor `(batch, height, width, channels)`, with batch a
            multiple of `num_experts`: first the images of expert 0.

    Returns:
        Float tensor of the shape of `inputs`.
    """

    # Measured by benchmarks/mixed_kernels.py on 2 cores, forward and backward
    # of 256 images of 8 x 8 x 256 with 4, 16, 64, 256 experts, ms:
    #   this                          37  39  48  49
    #   an adapter for each image     54  53  55  59 (and 256 copies in memory)
    #   one expert after the other    42  39  42   - (as replicas of their own)
    def call(self, inputs):
        gamma_down, beta_down, down, gamma_up, beta_up, up = (
            ops.convert_to_tensor(getattr(self, name))
            for name in ADAPTER_VARIABLES.values()
        )
        batch, height, width, channels = ops.shape(inputs)
        each = batch // self.num_experts

        def product(x, kernel):
            # (experts, images * height * width, channels)
            rows = ops.reshape(x, (self.num_experts, -1, x.shape[-1]))
            rows = ops.einsum("enc,ecd->end", rows, kernel)
            return ops.reshape(rows, (batch, height, width, kernel.shape[-1]))

        def norm(x, gamma, beta):
            gamma, beta = (ops.repeat(v, each, axis=0) for v in (gamma, beta))
            return ops.relu(normalize(x, gamma, beta))

        hidden = product(norm(inputs, gamma_down, beta_down), down)
        return inputs + product(norm(hidden, gamma_up, beta_up), up)

    def compute_output_spec(self, inputs):
        return keras.KerasTensor(inputs.shape, self.compute_dtype)
