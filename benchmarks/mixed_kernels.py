"""The ways to run one adapter layer for many experts in one batch.

    python benchmarks/mixed_kernels.py

Forward and backward of one adapter on 256 images of 8 x 8 x 256: `gather`
copies an adapter for each image, `groups` multiplies each expert's images at
once, `loop` runs one expert after the other, as replicas would that have one
expert each. Prints `name value unit` lines, measured in turn in one run.
"""

import argparse
import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

from keras_experts.layers import AdapterBank
from keras_experts.layers import AdapterGroups
from keras_experts.layers import ResidualAdapter

SHAPE = (256, 8, 8, 256)


def ways(num_experts: int, inputs: tf.Tensor) -> dict:
    """Gives by name a function that computes all gradients."""
    each = len(inputs) // num_experts
    bank, groups = AdapterBank(num_experts), AdapterGroups(num_experts)
    singles = [ResidualAdapter() for _ in range(num_experts)]
    for layer in (bank, groups, *singles):
        layer.build(inputs.shape)
    index = tf.repeat(tf.range(num_experts), each)

    def loop(x):
        parts = tf.split(x, num_experts)
        return tf.concat(
            [layer(part) for layer, part in zip(singles, parts, strict=True)], 0
        )

    def gradients(call, layers):
        variables = [v.value for layer in layers for v in layer.variables]

        @tf.function(jit_compile=True)
        def run():
            with tf.GradientTape() as tape:
                tape.watch(inputs)
                loss = tf.reduce_sum(call(inputs) ** 2)
            found = tape.gradient(loss, [inputs, *variables])
            return tf.add_n([tf.reduce_sum(g) for g in found])

        return lambda: run().numpy()

    found = {
        "gather": gradients(lambda x: bank(x, expert_index=index), [bank]),
        "groups": gradients(groups, [groups]),
    }
    if num_experts <= 64:  # XLA takes minutes to compile more
        found["loop"] = gradients(loop, singles)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--experts", type=int, nargs="+")
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    inputs = tf.constant(
        np.random.default_rng(0).standard_normal(SHAPE, np.float32)
    )
    for number in options.experts or (4, 16, 64, 256):
        named = ways(number, inputs)
        seconds = {name: [] for name in named}
        for _ in range(options.repeats + 1):
            for name, run in named.items():
                started = time.perf_counter()
                run()
                seconds[name].append(time.perf_counter() - started)
        for name, values in seconds.items():  # the first one compiles
            print(f"{name}_{number}_experts {np.median(values[1:]):.4f} s")


if __name__ == "__main__":
    main()
