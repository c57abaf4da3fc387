"""The first upstream stage: the baseline."""

import time
from collections.abc import Callable
from pathlib import Path

import gin
import numpy as np

from keras_experts import config
from keras_experts.checks import finite_or_none
from keras_experts.data.streams import BatchPlan
from keras_experts.data.streams import Stream
from keras_experts.data.streams import stream_seed
from keras_experts.data.upstream import Upstream
from keras_experts.models import heads
from keras_experts.models import run_folder
from keras_experts.random_state import callers_random_state
from keras_experts.random_state import seed_initializers
from keras_experts.saved_models.upstream_labels import label_prior
from keras_experts.training import distribution
from keras_experts.training import stages
from keras_experts.training.evaluation import Predictor
from keras_experts.training.evaluation import hits
from keras_experts.training.evaluation import largest_of_first
from keras_experts.training.inputs import for_baseline
from keras_experts.training.losses import make_loss
from keras_experts.training.runtime import Runtime
from keras_experts.training.samples import write_samples
from keras_experts.training.sgd import NetworkSgd
from keras_experts.training.sgd import SgdOptions
from keras_experts.training.trainer import Trainer


@callers_random_state()
@config.configurable
def train_baseline(
    workdir: str | Path,
    upstream: Callable[[], Upstream] = gin.REQUIRED,
    model: Callable = gin.REQUIRED,
    augmentation: Callable = gin.REQUIRED,
    schedule: Callable = gin.REQUIRED,
    num_steps: int = gin.REQUIRED,
    batch_size: int = gin.REQUIRED,
    image_size: int | None = None,
    preprocessor: Callable | None = None,
    loss: str = "softmax",
    label_smoothing: float = 0.0,
    momentum: float = 0.9,
    clip_norm: float | None = None,
    weight_decay: float = 0.0,
    precision: str = "float32",
    runtime: Callable[[], Runtime] = Runtime,
    seed: int = 0,
) -> dict:
    """Trains the baseline on all upstream images (paper, section 4).

    Args:
        workdir: folder of the whole run; the result goes to `baseline/`.
        upstream: function that reads the data.
        model: function that makes the backbone.
        augmentation: function of `(image, seed, image_size=...)`, or of
            `(text, seed, pack=...)`.
        schedule: function of the number of steps to rates `(num_steps,)`.
        num_steps: int. Updates.
        batch_size: int. Images an update, over all replicas.
        image_size: int. Side of the images, pixels; None for texts.
        preprocessor: function of texts, a folder and settings that makes the
            preprocessor, `preprocessor/` of the run; None for images.
        loss: str. "softmax" over the classes, or "sigmoid" over the classes
            and their ancestors.
        label_smoothing: float. As in the losses, in [0, 1).
        momentum: float. In [0, 1).
        clip_norm: float. Largest norm of the gradients, or None.
        weight_decay: float. At least 0.
        precision: str. "float32" or "bfloat16".
        runtime: function that makes the Runtime.
        seed: int. Of the weights, the order and the augmentation.

    Returns:
        dict. The content of `metadata.json`.

    Raises:
        BlockingIOError: if another process trains this baseline.
        ValueError: if an argument is out of its range, or there is a finished
            result of other settings or data.
        Stopped: if SIGTERM or Ctrl-C came; run it again to go on.
    """
    started = time.monotonic()
    workdir = Path(workdir).expanduser()
    directory = workdir / "baseline"
    stages.check_lengths(num_steps, batch_size)
    example_loss = make_loss(loss, label_smoothing)
    options = SgdOptions(clip_norm, weight_decay, momentum)
    settings = {
        "upstream": stages.describe(upstream),
        "model": stages.describe(model),
        "augmentation": stages.describe(augmentation),
        "schedule": stages.describe(schedule),
        "num_steps": num_steps,
        "batch_size": batch_size,
        "image_size": image_size,
        "loss": loss,
        "label_smoothing": label_smoothing,
        "momentum": momentum,
        "clip_norm": clip_norm,
        "weight_decay": weight_decay,
        "precision": precision,
        "seed": seed,
    }
    if preprocessor is not None:
        settings["preprocessor"] = stages.describe(preprocessor)
    running = runtime()
    strategy = running.make_strategy()
    seed_initializers(seed)
    with stages.writing_to([directory], strategy):
        data = upstream()
        inputs = for_baseline(workdir, data, image_size, preprocessor)
        outputs = data.outputs(loss)
        targets = data.targets(data.train, loss)
        settings["data"] = stages.describe_data(data, targets)
        settings["outputs"] = stages.digest(outputs)
        finished = stages.read_finished(directory, settings)
        if finished is not None:
            return finished
        with strategy.scope(), stages.precision_of(precision):
            features = heads.features_of(model(**inputs.network))
            classifier = heads.add_head(features, len(outputs))
        plan = BatchPlan(1, num_steps, batch_size)
        sgd = NetworkSgd(
            classifier,
            example_loss,
            schedule(num_steps),
            plan,
            strategy,
            options,
            running.compile_replicas,
        )
        stream = Stream(data.train, targets, stream_seed(seed, "baseline"))
        training = Trainer(sgd, strategy, running).fit(
            [stream],
            inputs.augmented(augmentation),
            "baseline",
            directory,
            settings,
        )
        predictor = Predictor(
            classifier,
            strategy,
            running,
            inputs.plain,
            largest_of_first(len(data.classes)),
        )
        right = hits(predictor(data.test), data.class_targets(data.test))
        metadata = {
            "name": "baseline",
            "kind": "baseline",
            "dataset": data.name,
            "loss": loss,
            "classes": data.classes,
            "class_names": data.train.class_names,
            "outputs": outputs,
            "hierarchy": data.hierarchy.name,
            **inputs.facts,
            "parameters": heads.backbone_of(classifier).count_params(),
            "num_images": data.train.num_examples,
            "num_steps": num_steps,
            "batch_size": batch_size,
            "final_loss": finite_or_none(training.last_losses[0]),
            "top1": float(right.mean()),
            **stages.speed(training),
            "seconds": round(time.monotonic() - started, 1),
            "settings": settings,
        }
        if distribution.is_chief(strategy):
            shares = targets.mean()
            run_folder.save_label_prior(label_prior(shares, shares), directory)
            test = np.arange(data.test.num_examples)
            write_samples(data.test, test, directory)
            run_folder.save_model(classifier, directory)
        stages.finish(directory, metadata, strategy)
        return metadata
