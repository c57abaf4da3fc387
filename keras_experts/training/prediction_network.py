"""The expert prediction network: it learns the hard-coded routing."""

import time
from collections.abc import Callable
from pathlib import Path

import gin
import numpy as np
import tensorflow as tf

from keras_experts import config
from keras_experts.checks import finite_or_none
from keras_experts.data.streams import BatchPlan
from keras_experts.data.streams import Stream
from keras_experts.data.streams import stream_seed
from keras_experts.data.upstream import Upstream
from keras_experts.domains import read_experts
from keras_experts.mediums import TEXTS
from keras_experts.models import heads
from keras_experts.models import run_folder
from keras_experts.models.bit_weights import fingerprint
from keras_experts.random_state import callers_random_state
from keras_experts.random_state import seed_initializers
from keras_experts.saved_models.text_modules import medium_of
from keras_experts.training import distribution
from keras_experts.training import stages
from keras_experts.training.calibration import calibration
from keras_experts.training.evaluation import Predictor
from keras_experts.training.inputs import of_images
from keras_experts.training.losses import make_loss
from keras_experts.training.runtime import Runtime
from keras_experts.training.sgd import NetworkSgd
from keras_experts.training.sgd import SgdOptions
from keras_experts.training.trainer import Trainer


@callers_random_state()
@config.configurable
def train_epn(
    workdir: str | Path,
    upstream: Callable[[], Upstream] = gin.REQUIRED,
    augmentation: Callable = gin.REQUIRED,
    schedule: Callable = gin.REQUIRED,
    num_steps: int = gin.REQUIRED,
    batch_size: int = gin.REQUIRED,
    experts: str | None = None,
    momentum: float = 0.9,
    clip_norm: float | None = None,
    weight_decay: float = 0.0,
    precision: str = "float32",
    runtime: Callable[[], Runtime] = Runtime,
    seed: int = 0,
) -> dict:
    """Trains a network that tells from an image which experts it belongs to.

    For domain prediction (paper, section 5). An image may belong to several
    experts or to none, so each expert has a sigmoid of its own. It starts
    from the baseline (our choice; the paper's appendix A is not public).

    Args:
        workdir: folder of the whole run; the result goes to `epn/`.
        upstream: function that reads the data.
        augmentation: function of `(image, seed, image_size=...)`.
        schedule: function of the number of steps to rates `(num_steps,)`.
        num_steps: int. Updates.
        batch_size: int. Images an update, over all replicas.
        experts: path of an `experts.json`, or None for the one in `workdir`.
        momentum: float. In [0, 1).
        clip_norm: float. Largest norm of the gradients, or None.
        weight_decay: float. At least 0.
        precision: str. "float32" or "bfloat16".
        runtime: function that makes the Runtime.
        seed: int. Of the order and the augmentation.

    Returns:
        dict. The content of `metadata.json`, with the calibration on the test
        images.

    Raises:
        FileNotFoundError: if there is no baseline or no `experts.json`.
        BlockingIOError: if another process trains this network.
        ValueError: if an argument is out of its range, or there is a finished
            result of other settings or data.
        Stopped: if SIGTERM or Ctrl-C came; run it again to go on.
    """
    started = time.monotonic()
    stages.check_lengths(num_steps, batch_size)
    workdir = Path(workdir).expanduser()
    directory = workdir / "epn"
    domains = read_experts(experts or workdir / "experts.json")
    synsets = [domain.synset for domain in domains]
    options = SgdOptions(clip_norm, weight_decay, momentum)
    running = runtime()
    strategy = running.make_strategy()
    seed_initializers(seed)
    with strategy.scope(), stages.precision_of(precision):
        baseline, metadata = run_folder.load_baseline(workdir)
        features = baseline.get_layer(heads.FEATURES_NAME)
        model = heads.add_head(features, len(domains))
    if medium_of(metadata) == TEXTS:
        raise ValueError(
            "Expert prediction is of images. "
            f"Received: {workdir}, a run on texts."
        )
    settings = {
        "upstream": stages.describe(upstream),
        "augmentation": stages.describe(augmentation),
        "schedule": stages.describe(schedule),
        "num_steps": num_steps,
        "batch_size": batch_size,
        "synsets": stages.digest(synsets),
        "momentum": momentum,
        "clip_norm": clip_norm,
        "weight_decay": weight_decay,
        "precision": precision,
        "seed": seed,
        "baseline": fingerprint(heads.backbone_of(baseline)),
    }
    with stages.writing_to([directory], strategy):
        data = upstream()
        targets = data.expert_targets(data.train, synsets)
        settings["data"] = stages.describe_data(data, targets)
        finished = stages.read_finished(directory, settings)
        if finished is not None:
            return finished
        inputs = of_images(metadata["image_size"])
        sgd = NetworkSgd(
            model,
            make_loss("sigmoid"),
            schedule(num_steps),
            BatchPlan(1, num_steps, batch_size),
            strategy,
            options,
            running.compile_replicas,
        )
        training = Trainer(sgd, strategy, running).fit(
            [Stream(data.train, targets, stream_seed(seed, "epn"))],
            inputs.augmented(augmentation),
            "expert prediction",
            directory,
            settings,
        )
        predictor = Predictor(
            model, strategy, running, inputs.plain, tf.sigmoid
        )
        truth = data.expert_targets(data.test, synsets)
        truth = truth(np.arange(data.test.num_examples))
        probabilities = predictor(data.test)
        result = {
            "name": "epn",
            "kind": "epn",
            "dataset": data.name,
            "experts": [domain.name for domain in domains],
            "synsets": synsets,
            **inputs.facts,
            "num_images": data.train.num_examples,
            "num_steps": num_steps,
            "batch_size": batch_size,
            "final_loss": finite_or_none(training.last_losses[0]),
            "accuracy": float(np.mean((probabilities > 0.5) == (truth > 0.5))),
            "calibration": calibration(probabilities, truth),
            **stages.speed(training),
            "seconds": round(time.monotonic() - started, 1),
            "settings": settings,
        }
        if distribution.is_chief(strategy):
            run_folder.save_model(model, directory)
        stages.finish(directory, result, strategy)
        return result
