"""Peak memory of a large bank: built, and trained for one step.

    python benchmarks/bank_memory.py

The floor: weights of the network and of the bank, gradients of the experts in
the step, the optimiser's velocities. Prints `name value unit` lines; what
TensorFlow takes before anything is built stands apart.
"""

import argparse
import os
import resource

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
from keras import ops

from keras_experts.data.streams import BatchPlan
from keras_experts.models import bit_resnet
from keras_experts.models import experts as expert_models
from keras_experts.models import heads
from keras_experts.training.bank_sgd import BankSgd
from keras_experts.training.distribution import make_strategy
from keras_experts.training.losses import softmax_loss

CLASSES = 100
BYTES = 4


def peak() -> float:
    """Gives the most memory this process has had, GiB."""
    kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kib / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="r50x1")
    parser.add_argument("--image_size", type=int, default=224)
    parser.add_argument("--num_experts", type=int, default=256)
    parser.add_argument("--batch_size", type=int, default=8)
    options = parser.parse_args()
    tf.zeros(1).numpy()
    before = peak()
    print(f"bank_memory_of_tensorflow {before:.2f} GiB")
    groups = options.batch_size
    strategy = make_strategy()
    plain = bit_resnet(options.preset)
    single = expert_models.adapter_variables(expert_models.add_adapters(plain))
    initial = {name: ops.convert_to_numpy(v) for name, v in single.items()}
    backbone = expert_models.add_adapters(plain, "groups", groups)
    expert_models.freeze_backbone(backbone)
    model = heads.add_head(heads.image_features(backbone), CLASSES)
    model.get_layer(heads.HEAD_NAME).trainable = False
    sgd = BankSgd(
        model,
        expert_models.stacked_variables(backbone),
        initial,
        softmax_loss,
        np.full(1, 0.01),
        BatchPlan(options.num_experts, 1, 1, groups),
        strategy,
    )
    print(f"bank_memory_built {peak() - before:.2f} GiB")
    size = (groups, options.image_size, options.image_size, 3)
    batch = {"image": tf.zeros(size), "target": tf.zeros((groups, CLASSES))}
    tf.function(lambda b: strategy.run(sgd.replica_step, (b,)))(batch)
    expert = sum(value.size for value in initial.values())
    bank = options.num_experts * expert * BYTES / 2**30
    network = plain.count_params() * BYTES / 2**30
    step = groups * expert * BYTES / 2**30
    floor = network + 2 * bank + step
    found = peak() - before
    print(f"bank_memory_trained {found:.2f} GiB")
    print(f"bank_memory_floor {floor:.2f} GiB")
    print(f"bank_memory_over_floor {found / floor:.2f} ratio")


if __name__ == "__main__":
    main()
