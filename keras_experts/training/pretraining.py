"""The upstream stages: the baseline, then an expert a slice."""

import functools
import shutil
import time
from collections.abc import Callable
from collections.abc import Sequence
from pathlib import Path

import gin
import keras
import numpy as np

from keras_experts import config
from keras_experts import files
from keras_experts.checks import check_at_least
from keras_experts.console import say
from keras_experts.data.upstream import Upstream
from keras_experts.domains import ExpertDomain
from keras_experts.domains import read_experts
from keras_experts.models import experts as expert_models
from keras_experts.models import heads
from keras_experts.models import run_folder
from keras_experts.training.evaluation import top1
from keras_experts.training.losses import LOSSES
from keras_experts.training.strategy import make_strategy
from keras_experts.training.trainer import Trainer

KINDS = ("adapter", "full")


@config.configurable
def train_baseline(
    workdir: str | Path,
    upstream: Callable[[], Upstream] = gin.REQUIRED,
    model: Callable = gin.REQUIRED,
    augmentation: Callable = gin.REQUIRED,
    schedule: Callable = gin.REQUIRED,
    num_steps: int = gin.REQUIRED,
    batch_size: int = gin.REQUIRED,
    image_size: int = gin.REQUIRED,
    loss: str = "softmax",
    momentum: float = 0.9,
    clip_norm: float | None = None,
    strategy: str = "one_device",
    compile: bool = True,
    seed: int = 0,
) -> dict:
    """Trains the baseline on all upstream images (paper, section 4).

    Args:
        workdir: folder of the whole run; the result goes to `baseline/`.
        upstream: function that reads the data.
        model: function that makes the backbone.
        augmentation: function of `(image, seed, image_size=...)`.
        schedule: function of the number of steps to rates `(num_steps,)`.
        num_steps: int. Updates.
        batch_size: int. Images an update, over all replicas.
        image_size: int. Side of the images, pixels.
        loss: str. "softmax" over the classes, or "sigmoid" over the classes
            and their ancestors.
        momentum: float. In [0, 1).
        clip_norm: float. Largest norm of the gradients, or None.
        strategy: str. As in `make_strategy`.
        compile: bool. Whether to compile with XLA.
        seed: int. Of the weights, the order and the augmentation.

    Returns:
        dict. The content of `metadata.json`.

    Raises:
        ValueError: if an argument is out of its range.
    """
    directory = Path(workdir) / "baseline"
    if run_folder.is_finished(directory):
        say(f"The baseline is there already: {directory}")
        return files.read_json(directory / "metadata.json")
    if loss not in LOSSES:
        raise ValueError(
            f"`loss` must be one of {sorted(LOSSES)}. Received: {loss!r}."
        )
    _check_numbers(num_steps, batch_size, momentum, clip_norm)
    check_at_least(image_size=(image_size, 1))
    keras.utils.set_random_seed(seed)
    started = time.monotonic()
    data = upstream()
    outputs, targets = data.classes, np.eye(len(data.classes))
    if loss == "sigmoid":
        outputs, targets = data.node_targets()

    distribution = make_strategy(strategy)
    with distribution.scope():
        features = heads.image_features(model())
        classifier = heads.add_head(features, len(outputs))
    trainer = Trainer(
        classifier,
        LOSSES[loss],
        schedule(num_steps),
        batch_size,
        distribution,
        momentum,
        clip_norm,
        compile,
    )
    batches = functools.partial(
        data.train.training_batches,
        batch_size,
        functools.partial(augmentation, image_size=image_size),
        targets,
        seed,
    )
    losses = trainer.fit(batches, "baseline", directory / "checkpoints")
    metadata = {
        "name": "baseline",
        "kind": "baseline",
        "dataset": data.name,
        "loss": loss,
        "classes": data.classes,
        "class_names": data.train.class_names,
        "outputs": list(outputs),
        "hierarchy": data.hierarchy.source,
        "image_size": image_size,
        "parameters": heads.backbone_of(trainer.model).count_params(),
        "num_images": data.train.num_examples,
        "num_steps": num_steps,
        "batch_size": batch_size,
        "final_loss": losses[-1] if losses else None,
        "top1": top1(trainer, data.test, image_size, len(data.classes)),
        "seconds": round(time.monotonic() - started, 1),
    }
    run_folder.save_model(trainer.model, directory)
    _finish(directory, metadata)
    return metadata


@config.configurable
def train_experts(
    workdir: str | Path,
    kind: str = gin.REQUIRED,
    upstream: Callable[[], Upstream] = gin.REQUIRED,
    augmentation: Callable = gin.REQUIRED,
    schedule: Callable = gin.REQUIRED,
    num_steps: int = gin.REQUIRED,
    batch_size: int = gin.REQUIRED,
    experts: str | None = None,
    names: Sequence[str] | None = None,
    bottleneck_ratio: float = 0.5,
    momentum: float = 0.9,
    clip_norm: float | None = None,
    strategy: str = "one_device",
    compile: bool = True,
    seed: int = 0,
) -> list[dict]:
    """Trains one expert after the other, each for the same number of steps.

    Adapter experts train new adapters only: backbone and head are frozen.
    Full experts are the baseline fine-tuned whole (paper, section 4.1). An
    expert that is finished is not trained again.

    Args:
        workdir: folder of the whole run; results go to `experts/KIND/NAME/`.
        kind: str. "adapter" or "full".
        upstream: function that reads the data.
        augmentation: function of `(image, seed, image_size=...)`.
        schedule: function of the number of steps to rates `(num_steps,)`.
        num_steps: int. Updates of each expert.
        batch_size: int. Images an update, over all replicas.
        experts: path of an `experts.json`, or None for the one in `workdir`.
        names: list of str. Train these only, or None for all.
        bottleneck_ratio: float. As in `ResidualAdapter`.
        momentum: float. In [0, 1).
        clip_norm: float. Largest norm of the gradients, or None.
        strategy: str. As in `make_strategy`.
        compile: bool. Whether to compile with XLA.
        seed: int. Of the adapters, the order and the augmentation.

    Returns:
        list of dict. The `metadata.json` of each expert.

    Raises:
        FileNotFoundError: if there is no baseline or no `experts.json`.
        ValueError: if an argument is out of its range.
    """
    if kind not in KINDS:
        raise ValueError(f"`kind` must be one of {KINDS}. Received: {kind!r}.")
    _check_numbers(num_steps, batch_size, momentum, clip_norm)
    workdir = Path(workdir)
    domains = _named(read_experts(experts or workdir / "experts.json"), names)
    folder = workdir / "experts" / kind
    todo = [
        domain
        for domain in domains
        if not run_folder.is_finished(folder / domain.name)
    ]
    for domain in domains:
        if domain not in todo:
            say(f"The expert is there already: {folder / domain.name}")
    if todo:
        keras.utils.set_random_seed(seed)
        distribution = make_strategy(strategy)
        with distribution.scope():
            model, baseline = run_folder.load_baseline(workdir)
            if kind == "adapter":
                model = _with_frozen_backbone(model, bottleneck_ratio)
        data = upstream()
        if data.classes != baseline["classes"]:
            raise ValueError(
                "Experts must train on the classes of the baseline. Received: "
                f"{len(data.classes)} other classes."
            )
        trainer = Trainer(
            model,
            LOSSES[baseline["loss"]],
            schedule(num_steps),
            batch_size,
            distribution,
            momentum,
            clip_norm,
            compile,
        )
        targets = np.eye(len(data.classes))
        if baseline["loss"] == "sigmoid":
            targets = data.node_targets()[1]
        initial = trainer.model.get_weights()
        for domain in todo:
            trainer.reset(initial)
            _train_expert(
                trainer,
                data,
                domain,
                kind,
                folder / domain.name,
                functools.partial(
                    augmentation, image_size=baseline["image_size"]
                ),
                targets,
                baseline,
                seed,
            )
    return [
        files.read_json(folder / domain.name / "metadata.json")
        for domain in domains
    ]


def _check_numbers(
    num_steps: int, batch_size: int, momentum: float, clip_norm: float | None
) -> None:
    check_at_least(num_steps=(num_steps, 1), batch_size=(batch_size, 1))
    if not 0 <= momentum < 1:
        raise ValueError(f"`momentum` must be in [0, 1). Received: {momentum}.")
    if clip_norm is not None and not clip_norm > 0:
        raise ValueError(f"`clip_norm` must be above 0. Received: {clip_norm}.")


def _named(
    domains: list[ExpertDomain], names: Sequence[str] | None
) -> list[ExpertDomain]:
    known = {domain.name: domain for domain in domains}
    unknown = sorted(set(names or ()) - known.keys())
    if unknown:
        raise ValueError(
            f"Experts must be among {sorted(known)}. "
            f"Received: {', '.join(unknown)}."
        )
    return domains if names is None else [known[name] for name in names]


def _train_expert(
    trainer: Trainer,
    data: Upstream,
    domain: ExpertDomain,
    kind: str,
    directory: Path,
    preprocess: Callable,
    targets: np.ndarray,
    baseline: dict,
    seed: int,
) -> None:
    started = time.monotonic()
    images = data.slice_train(domain.synset)
    batches = functools.partial(
        images.training_batches, trainer.batch_size, preprocess, targets, seed
    )
    image_size, num_classes = baseline["image_size"], len(data.classes)
    held_out = data.slice_test(domain.synset)
    before = top1(trainer, held_out, image_size, num_classes)
    losses = trainer.fit(batches, domain.name, directory / "checkpoints")
    metadata = {
        "name": domain.name,
        "kind": kind,
        "dataset": data.name,
        "synset": domain.synset,
        "num_images": images.num_examples,
        "image_size": image_size,
        "num_steps": trainer.num_steps,
        "batch_size": trainer.batch_size,
        "final_loss": losses[-1] if losses else None,
        "slice_top1": top1(trainer, held_out, image_size, num_classes),
        "slice_top1_baseline": before,
        "seconds": round(time.monotonic() - started, 1),
    }
    if kind == "full":
        run_folder.save_model(trainer.model, directory)
    else:
        backbone = heads.backbone_of(trainer.model)
        metadata["bottleneck_ratio"] = backbone.bottleneck_ratio
        run_folder.save_adapters(backbone, directory)
    _finish(directory, metadata)


def _with_frozen_backbone(
    classifier: keras.Model, bottleneck_ratio: float
) -> keras.Model:
    """Copies a classifier into one whose new adapters alone are trainable."""
    backbone = expert_models.add_adapters(
        heads.backbone_of(classifier), bottleneck_ratio=bottleneck_ratio
    )
    expert_models.freeze_backbone(backbone)
    head = classifier.get_layer(heads.HEAD_NAME)
    model = heads.add_head(heads.image_features(backbone), head.units)
    new_head = model.get_layer(heads.HEAD_NAME)
    new_head.set_weights(head.get_weights())
    new_head.trainable = False
    return model


def _finish(directory: Path, metadata: dict) -> None:
    """Writes what marks a result as finished, after all else."""
    config.write_operative_config(directory)
    files.write_json(directory / "metadata.json", metadata)
    shutil.rmtree(directory / "checkpoints", ignore_errors=True)
