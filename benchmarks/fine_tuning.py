"""A fine-tuning step of R50x1 on CPU: ours against torch's.

    pip install -e '.[parity]'
    python benchmarks/fine_tuning.py

The whole network trains, with momentum, on the same batch: as `finetune` does
it, and compiled with XLA; in torch transformers' BitModel, eager, eager with
channels last, and compiled.
Each way runs in a process of its own, by turns; compiling is told apart.
Weights are random. Prints `name value unit` lines.
"""

import argparse
import json
import os
import time

import numpy as np
from children import in_new_process

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

OURS = ("ours", "ours_xla")
TORCH = ("torch_eager", "torch_channels_last", "torch_compile")
CLASSES = 10
RATE, MOMENTUM = 0.003, 0.9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--image_size", type=int, default=224)
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument(
        "--ways", nargs="+", default=OURS + TORCH, choices=OURS + TORCH
    )
    parser.add_argument("--child", help="for this file itself")
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measure(options)))
        return
    seconds: dict[str, list[float]] = {way: [] for way in options.ways}
    first: dict[str, float] = {}
    for _ in range(options.rounds):
        for way, found in seconds.items():
            compiling, steps = in_new_process(way)
            first[way] = compiling
            found += steps
    title = f"fine_tuning_r50x1_{options.image_size}px_{options.batch_size}"
    medians = {way: float(np.median(s)) for way, s in seconds.items()}
    for way, median in medians.items():
        print(f"{title}_first_step_{way} {first[way]:.1f} s")
        print(f"{title}_step_{way} {median:.3f} s")
    for way in options.ways[1:]:
        ratio = medians["ours"] / medians[way]
        print(f"{title}_ours_over_{way} {ratio:.2f} x")


def measure(options) -> tuple[float, list[float]]:
    """Gives the seconds of the first step, and of those after it."""
    rng = np.random.default_rng(0)
    size = options.image_size
    images = rng.random((options.batch_size, size, size, 3), np.float32)
    labels = rng.integers(0, CLASSES, options.batch_size)
    make = our_step if options.child in OURS else torch_step
    step = make(options.child, images, labels)
    seconds = []
    for _ in range(options.steps + 2):
        started = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - started)
    return seconds[0], seconds[2:]


def our_step(way: str, images: np.ndarray, labels: np.ndarray):
    import tensorflow as tf

    from keras_experts.data.streams import BatchPlan
    from keras_experts.models import bit_resnet
    from keras_experts.models import heads
    from keras_experts.training.distribution import make_strategy
    from keras_experts.training.distribution import on_cpu
    from keras_experts.training.losses import softmax_loss
    from keras_experts.training.sgd import NetworkSgd

    features = heads.image_features(bit_resnet("r50x1"))
    strategy = make_strategy()
    sgd = NetworkSgd(
        heads.add_head(features, CLASSES),
        softmax_loss,
        np.full(1000, RATE),
        BatchPlan(1, 1000, len(images)),
        strategy,
        compile=way == "ours_xla" or not on_cpu(),
    )
    batch = {
        "image": tf.constant(images),
        "target": tf.one_hot(labels, CLASSES),
    }
    run = tf.function(lambda b: strategy.run(sgd.replica_step, (b,)))
    return lambda: run(batch).numpy()


def torch_step(way: str, images: np.ndarray, labels: np.ndarray):
    import torch
    from transformers import BitConfig
    from transformers import BitModel

    torch.set_num_threads(os.cpu_count())

    class Classifier(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.body = BitModel(BitConfig(depths=[3, 4, 6, 3]))
            self.head = torch.nn.Linear(2048, CLASSES)

        def forward(self, images):
            return self.head(self.body(images).pooler_output.flatten(1))

    model = Classifier().train()
    batch = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous() * 2 - 1
    if way != "torch_eager":
        model = model.to(memory_format=torch.channels_last)
        batch = batch.contiguous(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE, momentum=MOMENTUM)
    if way == "torch_compile":
        model = torch.compile(model)
    targets = torch.from_numpy(labels)

    def step():
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(batch), targets)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


if __name__ == "__main__":
    main()
