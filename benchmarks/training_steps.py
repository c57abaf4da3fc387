"""A step of adapters against one of the whole network, alone and mixed.

    python benchmarks/training_steps.py
    python benchmarks/training_steps.py --preset r50x1 --image_size 224 \
        --batch_size 8 --groups 8

Prints `name value unit` lines; all are measured in one run, in turn. The floor
of the adapters' step is the ratio of multiplications.
"""

import argparse
import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_experts.data.streams import BatchPlan
from keras_experts.layers import StandardizedConv2D
from keras_experts.models import bit_resnet
from keras_experts.models import experts as expert_models
from keras_experts.models import heads
from keras_experts.models.backbone import BitResNet
from keras_experts.training.bank_sgd import BankSgd
from keras_experts.training.distribution import make_strategy
from keras_experts.training.losses import softmax_loss
from keras_experts.training.sgd import NetworkSgd

CLASSES = 100


def products(backbone: BitResNet, image_size: int) -> tuple[int, int, int]:
    """Counts a forward pass: root, blocks, adapters; multiplications."""
    layers = [
        layer
        for layer in backbone.layers
        if isinstance(layer, StandardizedConv2D)
        or layer.name.startswith("adapter")
    ]
    probe = keras.Model(backbone.inputs, [layer.output for layer in layers])
    images = np.zeros((1, image_size, image_size, 3), np.float32)
    outputs = probe([images])
    root = blocks = adapters = 0
    for layer, output in zip(layers, outputs, strict=True):
        area = output.shape[1] * output.shape[2]
        if layer.name.startswith("adapter"):
            adapters += area * (np.size(layer.down) + np.size(layer.up))
        elif layer.name.startswith("root"):
            root += area * np.size(layer.kernel)
        else:
            blocks += area * np.size(layer.kernel)
    return root, blocks, adapters


def classifier(backbone: BitResNet) -> keras.Model:
    """Puts a head of some classes on a backbone."""
    model = heads.add_head(heads.image_features(backbone), CLASSES)
    if backbone.adapters is not None:
        expert_models.freeze_backbone(backbone)
        model.get_layer(heads.HEAD_NAME).trainable = False
    return model


def bank_step(plain: BitResNet, plan: BatchPlan):
    """Makes the step of a bank on batches of the plan's groups."""
    strategy = make_strategy()
    groups = expert_models.add_adapters(plain, "groups", plan.group_size)
    single = expert_models.add_adapters(plain)
    initial = {
        name: ops.convert_to_numpy(variable)
        for name, variable in expert_models.adapter_variables(single).items()
    }
    sgd = BankSgd(
        classifier(groups),
        expert_models.stacked_variables(groups),
        initial,
        softmax_loss,
        np.full(plan.num_updates, 0.01),
        plan,
        strategy,
    )
    return compiled(sgd, strategy)


def compiled(sgd, strategy):
    """Gives a function of a batch that does one step."""
    run = tf.function(lambda b: strategy.run(sgd.replica_step, (b,)))
    return lambda batch: run(batch).numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="r14x0.25_small")
    parser.add_argument("--image_size", type=int, default=32)
    parser.add_argument("--batch_size", type=int, default=128)
    parser.add_argument("--groups", type=int, nargs="+", default=[16])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--plot", help="file of a plot over the groups")
    options = parser.parse_args()
    size = options.batch_size
    rng = np.random.default_rng(0)
    shape = (size, options.image_size, options.image_size, 3)
    batch = {
        "image": tf.constant(rng.random(shape, np.float32)),
        "target": tf.one_hot(rng.integers(0, CLASSES, size), CLASSES),
    }
    plain = bit_resnet(options.preset)
    strategy = make_strategy()
    whole = NetworkSgd(
        classifier(expert_models.add_adapters(plain, None)),
        softmax_loss,
        np.full(1000, 0.01),
        BatchPlan(1, 1000, size),
        strategy,
    )
    ways = {"full": compiled(whole, strategy)}
    for groups in (1, *options.groups):
        plan = BatchPlan(groups, 1000, size // groups, groups)
        ways[f"adapters_of_{groups}"] = bank_step(plain, plan)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(options.repeats + 1):
        for name, step in ways.items():
            started = time.perf_counter()
            step(batch)
            seconds[name].append(time.perf_counter() - started)
    # The first round compiles.
    medians = {n: float(np.median(s[1:])) for n, s in seconds.items()}
    title = f"{options.preset}_{options.image_size}px_batch{size}"
    print(f"{title}_compilation_full {seconds['full'][0]:.1f} s")
    for name, median in medians.items():
        print(f"{title}_step_{name} {median:.4f} s")
    root, blocks, adapters = products(
        expert_models.add_adapters(plain), options.image_size
    )
    # Nothing below the first adapter, and no frozen kernel, has a gradient.
    floor = (root + 2 * blocks + 3 * adapters) / (2 * root + 3 * blocks)
    one = medians["adapters_of_1"]
    print(f"{title}_multiplications_adapters_over_full {floor:.3f} ratio")
    print(f"{title}_step_adapters_over_full {one / medians['full']:.3f} ratio")
    for groups in options.groups:
        ratio = medians[f"adapters_of_{groups}"] / one
        print(f"{title}_step_mixed_{groups}_over_one {ratio:.3f} ratio")
    if options.plot:
        counts = [1, *options.groups]
        ratios = [medians[f"adapters_of_{n}"] / one for n in counts]
        plot(options.plot, counts, ratios, title)


def plot(path: str, counts: list[int], ratios: list[float], title: str):
    """Draws the cost of a step over the experts in it."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 3.2), layout="constrained")
    axes.axhline(1.0, color="0.7", linewidth=1)
    axes.plot(counts, ratios, marker="o")
    axes.set_xscale("log", base=2)
    axes.set_xticks(counts, [str(count) for count in counts])
    axes.set_ylim(0, max(1.5, 1.1 * max(ratios)))
    axes.set_xlabel("experts in one batch (the same number of images)")
    axes.set_ylabel("time of a step, over one expert's")
    axes.set_title(title.replace("_", " "), fontsize=10)
    figure.savefig(path)


if __name__ == "__main__":
    main()
