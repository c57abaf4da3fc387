"""Many experts trained together, against as many steps of one expert.

    python benchmarks/mixed_training.py

The whole stage on rendered images: reading, training, checkpoint. Prints
`name value unit` lines; start-up (compilation, first loop) stands apart.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import functools

import numpy as np
from keras import ops

from keras_experts.data import synthetic
from keras_experts.data.preprocessing import flip_and_shift
from keras_experts.data.streams import BatchPlan
from keras_experts.data.streams import Stream
from keras_experts.models import bit_resnet
from keras_experts.models import experts as expert_models
from keras_experts.models import heads
from keras_experts.training.bank_sgd import BankSgd
from keras_experts.training.distribution import make_strategy
from keras_experts.training.losses import softmax_loss
from keras_experts.training.runtime import Runtime
from keras_experts.training.trainer import Trainer

IMAGE_SIZE = 32


def make_trainer(preset: str, plan: BatchPlan, classes: int) -> Trainer:
    """Makes the trainer of a bank on an untrained network."""
    strategy = make_strategy()
    plain = bit_resnet(preset)
    single = expert_models.adapter_variables(expert_models.add_adapters(plain))
    groups = expert_models.add_adapters(plain, "groups", plan.group_size)
    expert_models.freeze_backbone(groups)
    model = heads.add_head(heads.image_features(groups), classes)
    model.get_layer(heads.HEAD_NAME).trainable = False
    sgd = BankSgd(
        model,
        expert_models.stacked_variables(groups),
        {name: ops.convert_to_numpy(v) for name, v in single.items()},
        softmax_loss,
        np.full(plan.num_updates, 0.01),
        plan,
        strategy,
    )
    return Trainer(sgd, strategy, Runtime())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="r14x0.25_small")
    parser.add_argument("--num_experts", type=int, default=64)
    parser.add_argument("--num_updates", type=int, default=5)
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--experts_per_step", type=int, default=16)
    options = parser.parse_args()
    data = synthetic.synthetic_upstream(20, 1, IMAGE_SIZE)
    targets = data.targets(data.train, "softmax")
    preprocess = functools.partial(flip_and_shift, image_size=IMAGE_SIZE)
    experts, updates = options.num_experts, options.num_updates
    plans = {
        "one_expert": BatchPlan(1, experts * updates, options.batch_size),
        "together": BatchPlan(
            experts, updates, options.batch_size, options.experts_per_step
        ),
    }
    seconds = {}
    for name, plan in plans.items():
        streams = [
            Stream(data.train, targets, seed)
            for seed in range(plan.num_streams)
        ]
        trainer = make_trainer(options.preset, plan, len(data.classes))
        with tempfile.TemporaryDirectory() as folder:
            started = time.perf_counter()
            result = trainer.fit(streams, preprocess, name, Path(folder))
            whole = time.perf_counter() - started
        images = experts * updates * options.batch_size
        seconds[name] = images / result.images_per_second
        start_up = whole - seconds[name]
        print(f"mixed_training_{name}_steps {seconds[name]:.2f} s")
        print(f"mixed_training_{name}_start_up_and_saving {start_up:.2f} s")
    ratio = seconds["together"] / seconds["one_expert"]
    print(
        f"mixed_training_{experts}_experts_of_{updates}_updates_over_one_expert"
        f" {ratio:.3f} ratio"
    )


if __name__ == "__main__":
    main()
