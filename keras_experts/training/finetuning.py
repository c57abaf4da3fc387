"""Transfer: a module, a new head, and everything trains."""

import dataclasses
import functools
import time
from pathlib import Path

import keras
import numpy as np

from keras_experts import config
from keras_experts import files
from keras_experts.checks import check_at_least
from keras_experts.checks import first_line
from keras_experts.console import say
from keras_experts.data.label_rows import LabelRows
from keras_experts.data.label_rows import Targets
from keras_experts.data.labeled_images import LabeledImages
from keras_experts.data.preprocessing import flip_and_shift
from keras_experts.data.streams import BatchPlan
from keras_experts.data.streams import Stream
from keras_experts.data.streams import stream_seed
from keras_experts.data.tasks import Task
from keras_experts.data.tasks import load_task
from keras_experts.models.heads import add_head
from keras_experts.saved_models import handles
from keras_experts.saved_models.writing import write_keras_module
from keras_experts.training import schedules
from keras_experts.training.evaluation import Predictor
from keras_experts.training.evaluation import largest_of_first
from keras_experts.training.features import load_features
from keras_experts.training.losses import softmax_loss
from keras_experts.training.runtime import Runtime
from keras_experts.training.sgd import NetworkSgd
from keras_experts.training.sgd import SgdOptions
from keras_experts.training.trainer import Trainer

MODULE_FOLDER = "module"
MIN_STEPS = 2  # the rule's first one has a rate of zero


@config.configurable
def finetune(
    module: str,
    task: str | Path | Task,
    output: str | Path,
    data_dir: str | None = None,
    num_examples: int | None = 1000,
    num_images: int | None = None,
    batch_size: int = schedules.BATCH_SIZE,
    base_learning_rate: float = schedules.BASE_LEARNING_RATE,
    momentum: float = 0.9,
    image_size: int | None = None,
    flip: bool = False,
    max_shift: int = 0,
    strategy: str = "one_device",
    compile: bool = True,
    seed: int = 0,
    trust: bool = False,
) -> dict:
    """Fine-tunes a whole module with a new head (paper, section 5.1).

    The length, the warm-up, the three divisions of the rate and mixup are
    those of the BiT-HyperRule, stretched over `num_images`.

    Args:
        module: str. Path or URL of a reusable SavedModel; `MODULE#name` is an
            expert of a bank, which is cut out.
        task: TFDS name, folder of images, path of an .npz, or a Task.
        output: folder to make: `module/` (a classifier from images to
            logits), `metrics.json` and `operative_config.gin`.
        data_dir: str. The folder of TFDS data sets, or None.
        num_examples: int. Training images, at most; None for all.
        num_images: int. Images to pass, repeats counted, or None for the
            rule's (256,000 for small sets).
        batch_size: int. Images a step, at most half of all; the rate scales
            with it.
        base_learning_rate: float. Rate at batch size 512.
        momentum: float. In [0, 1).
        image_size: int. Pixels, or None for the module's own.
        flip: bool. Whether to mirror half of the images; only where a
            mirrored image keeps its label.
        max_shift: int. Largest random shift, pixels; only where a shifted
            image keeps its label.
        strategy: str. As in `make_strategy`.
        compile: bool. Whether to compile with XLA.
        seed: int. Of the order and the augmentation.
        trust: bool. As in `HubLayer`.

    Returns:
        dict. The content of `metrics.json`.

    Raises:
        FileExistsError: if `output` holds something.
        FileNotFoundError: if the module or the task is not there.
        ValueError: if the module does not take the task's images, or a number
            is out of its range.
    """
    started = time.monotonic()
    check_at_least(
        batch_size=(batch_size, 1),
        num_images=(MIN_STEPS if num_images is None else num_images, MIN_STEPS),
        image_size=(1 if image_size is None else image_size, 1),
        max_shift=(max_shift, 0),
        base_learning_rate=(base_learning_rate, 0.0),
    )
    with files.whole_folder(output) as directory:
        metadata = handles.read_metadata(module)
        _, part = handles.split(module)
        if metadata.get("kind") == handles.EPN:
            raise ValueError(
                "A module to fine-tune must give features. Received: "
                f"{module}, an expert prediction network."
            )
        if not isinstance(task, Task):
            task = load_task(task, data_dir, num_examples)
        lonely = task.check_classes(task.train.labels)
        if lonely:
            say(f"{task.name} has classes of one image: {', '.join(lonely)}")
        if image_size is None:
            image_size = handles.image_size(module)
        num_train = task.train.num_examples
        if num_images is None:
            num_images = schedules.bit_num_images(num_train)
        batch_size = min(batch_size, num_images // MIN_STEPS)
        num_steps = num_images // batch_size
        keras.utils.set_random_seed(seed)
        running = Runtime(strategy, compile=compile)
        distribution = running.make_strategy()
        num_classes = len(task.class_names)
        with distribution.scope():
            features, compiles = load_features(module, trust)
            model = _add_head(features, num_classes, module)
        running = dataclasses.replace(running, compile=compile and compiles)
        sgd = NetworkSgd(
            model,
            softmax_loss,
            schedules.bit_schedule(
                num_train, num_steps, batch_size, base_learning_rate
            ),
            BatchPlan(1, num_steps, batch_size),
            distribution,
            SgdOptions(momentum=momentum),
            running.compile_replicas,
        )
        targets = Targets(
            LabelRows.single(task.train.labels), lambda c: [c], num_classes
        )
        training = Trainer(sgd, distribution, running).fit(
            [Stream(task.train, targets, stream_seed(seed, task.name))],
            functools.partial(
                flip_and_shift,
                image_size=image_size,
                flip=flip,
                max_shift=max_shift,
            ),
            f"fine-tuning on {task.name}",
            mixup=schedules.bit_mixup(num_train),
        )
        predict = Predictor(
            model,
            distribution,
            running,
            image_size,
            largest_of_first(num_classes),
        )
        metrics = {
            "task": task.name,
            "module": module,
            "expert": part or metadata.get("name", module),
            "num_train": num_train,
            "num_test": task.test.num_examples,
            "num_classes": len(task.class_names),
            "num_images": num_steps * batch_size,
            "batch_size": batch_size,
            "base_learning_rate": base_learning_rate,
            "momentum": momentum,
            "image_size": image_size,
            "flip": flip,
            "max_shift": max_shift,
            "strategy": strategy,
            "seed": seed,
            "train_accuracy": _accuracy(predict, task.train),
            "accuracy": _accuracy(predict, task.test),
            "final_loss": float(training.last_losses[0]),
            "seconds": round(time.monotonic() - started, 1),
        }
        write_keras_module(
            directory / MODULE_FOLDER,
            model,
            "logits",
            {
                "name": f"{metrics['expert']}_{task.name}",
                "kind": "classifier",
                "image_size": image_size,
                "class_names": task.class_names,
            },
        )
        config.write_operative_config(directory)
        files.write_json(directory / "metrics.json", metrics)
    return metrics


def _accuracy(predict: Predictor, images: LabeledImages) -> float | None:
    if not images.num_examples:
        return None
    return float(np.mean(predict(images) == images.labels))


def _add_head(features: keras.layers.Layer, num_classes: int, module: str):
    try:
        return add_head(features, num_classes)
    except Exception as error:
        raise ValueError(
            "A module to fine-tune must take float images (batch, height, "
            "width, 3) and give features (batch, channels). "
            f"Received: {module} ({first_line(error)})."
        ) from error
