"""One stage of training, here or in a process of its own, as users start it.

    python child.py STAGE WORKDIR DEVICES PARAM ...

Prints the losses of its steps as JSON, or the one line of an error.
"""

import json
import sys
from unittest import mock

import tensorflow as tf

from keras_experts import config
from keras_experts.training import experts
from keras_experts.training import pretraining
from keras_experts.training import trainer

STAGES = {
    "baseline": pretraining.train_baseline,
    "experts": experts.train_experts,
}
SMALL = [
    "BATCH_SIZE = 8",
    "LEARNING_RATE = 0.02",
    "cosine_schedule.warmup_steps = 0",
    "synthetic_upstream.num_train = 4",
    "synthetic_upstream.num_test = 1",
]


def train(stage: str, workdir, *params: str) -> list:
    """Runs a stage in this process and gives the losses of its steps."""
    losses = []
    fit = trainer.Trainer.fit

    def noted_fit(self, *arguments, **named):
        training = fit(self, *arguments, **named)
        losses.append(training.losses.tolist())
        return training

    config.parse([f"stages/demo_{stage}.gin"], [*SMALL, *params])
    with mock.patch.object(trainer.Trainer, "fit", noted_fit):
        STAGES[stage](workdir)
    (losses,) = losses
    return losses


def main() -> int:
    stage, workdir, devices, *params = sys.argv[1:]
    cpu = tf.config.list_physical_devices("CPU")[0]
    logical = [tf.config.LogicalDeviceConfiguration()] * int(devices)
    tf.config.set_logical_device_configuration(cpu, logical)
    try:
        losses = train(stage, workdir, *params)
    except (RuntimeError, ValueError, OSError) as error:
        print(f"{type(error).__name__}: {error}".splitlines()[0])
        return 1
    print(json.dumps(losses))
    return 0


if __name__ == "__main__":
    sys.exit(main())
