"""The second upstream stage: an expert for each part of the data."""

import functools
import shutil
import time
from collections.abc import Callable
from collections.abc import Sequence
from pathlib import Path

import gin
from keras import ops

from keras_experts import config
from keras_experts import files
from keras_experts.checks import finite_or_none
from keras_experts.data.streams import BatchPlan
from keras_experts.data.upstream import Upstream
from keras_experts.mediums import TEXTS
from keras_experts.models import experts as expert_models
from keras_experts.models import heads
from keras_experts.models import run_folder
from keras_experts.models.bit_weights import fingerprint
from keras_experts.random_state import callers_random_state
from keras_experts.random_state import seed_initializers
from keras_experts.saved_models.text_modules import medium_of
from keras_experts.training import distribution
from keras_experts.training import stages
from keras_experts.training.bank_sgd import BankSgd
from keras_experts.training.expert_stage import ExpertStage
from keras_experts.training.inputs import of_run
from keras_experts.training.losses import make_loss
from keras_experts.training.runtime import Runtime
from keras_experts.training.sgd import NetworkSgd
from keras_experts.training.sgd import SgdOptions
from keras_experts.training.slices import Slice
from keras_experts.training.slices import label_slices
from keras_experts.training.trainer import Trainer

KINDS = ("adapter", "full")
TRAINING_FOLDER, BEGUN_FILE = "training", "experts.json"


@callers_random_state()
@config.configurable
def train_experts(
    workdir: str | Path,
    kind: str = gin.REQUIRED,
    upstream: Callable[[], Upstream] = gin.REQUIRED,
    augmentation: Callable = gin.REQUIRED,
    schedule: Callable = gin.REQUIRED,
    num_steps: int = gin.REQUIRED,
    batch_size: int = gin.REQUIRED,
    experts_per_step: int = 16,
    slices: Callable[..., list[Slice]] = label_slices,
    names: Sequence[str] | None = None,
    bottleneck_ratio: float = 0.5,
    label_smoothing: float = 0.0,
    momentum: float = 0.9,
    clip_norm: float | None = None,
    weight_decay: float = 0.0,
    precision: str = "float32",
    runtime: Callable[[], Runtime] = Runtime,
    seed: int = 0,
) -> list[dict]:
    """Trains experts, each for the same number of updates.

    Adapter experts train new adapters only: backbone and head are frozen. They
    train together, in batches that hold a group of images for each of some
    experts. Full experts are the baseline fine-tuned whole, one after the
    other (paper, section 4.1). An expert that is finished is not trained
    again.

    Args:
        workdir: folder of the whole run; results go to `experts/KIND/NAME/`.
        kind: str. "adapter" or "full".
        upstream: function that reads the data.
        augmentation: as in `train_baseline`.
        schedule: function of the number of steps to rates `(num_steps,)`.
        num_steps: int. Updates of each expert.
        batch_size: int. Images of an update, over all replicas.
        experts_per_step: int. Adapter experts in one batch, at most.
        slices: function that gives the experts and their images, as in
            `training.slices`.
        names: list of str. Train these only (a share of the run's experts,
            beside which other processes may train others), or None for all.
        bottleneck_ratio: float. As in `ResidualAdapter`.
        label_smoothing: float. As in the losses, in [0, 1).
        momentum: float. In [0, 1).
        clip_norm: float. Largest norm of an expert's gradients, or None.
        weight_decay: float. At least 0.
        precision: str. "float32" or "bfloat16".
        runtime: function that makes the Runtime.
        seed: int. Of the adapters, the order and the augmentation.

    Returns:
        list of dict. The `metadata.json` of each expert.

    Raises:
        FileNotFoundError: if there is no baseline or no `experts.json`.
        BlockingIOError: if another process trains one of the experts.
        ValueError: if an argument is out of its range, or there is a finished
            expert of other settings or data.
        Stopped: if SIGTERM or Ctrl-C came; run it again to go on.
    """
    if kind not in KINDS:
        raise ValueError(f"`kind` must be one of {KINDS}. Received: {kind!r}.")
    stages.check_lengths(num_steps, batch_size)
    workdir = Path(workdir).expanduser()
    options = SgdOptions(clip_norm, weight_decay, momentum)
    running = runtime()
    strategy = running.make_strategy()
    seed_initializers(seed)
    with strategy.scope(), stages.precision_of(precision):
        classifier, baseline = run_folder.load_baseline(workdir)
    if kind == "adapter" and medium_of(baseline) == TEXTS:
        raise ValueError(
            "Adapters stand in networks of images; experts of texts are "
            f"trained whole, kind='full'. Received: {kind!r}."
        )
    settings = {
        "kind": kind,
        "upstream": stages.describe(upstream),
        "augmentation": stages.describe(augmentation),
        "schedule": stages.describe(schedule),
        "num_steps": num_steps,
        "batch_size": batch_size,
        "slices": stages.describe(slices),
        "bottleneck_ratio": bottleneck_ratio,
        "label_smoothing": label_smoothing,
        "momentum": momentum,
        "clip_norm": clip_norm,
        "weight_decay": weight_decay,
        "precision": precision,
        "seed": seed,
        "baseline": fingerprint(heads.backbone_of(classifier)),
    }
    data = upstream()
    if data.classes != baseline["classes"]:
        raise ValueError(
            "Experts must train on the classes of the baseline. Received: "
            f"{len(data.classes)} other classes in {data.name}."
        )
    targets = data.targets(data.train, baseline["loss"])
    settings["data"] = stages.describe_data(data, targets)
    stage = ExpertStage(
        folder=workdir / "experts" / kind,
        workdir=workdir,
        data=data,
        baseline=baseline,
        classifier=classifier,
        targets=targets,
        example_loss=make_loss(baseline["loss"], label_smoothing),
        inputs=of_run(workdir, baseline),
        augmentation=augmentation,
        learning_rates=schedule(num_steps),
        batch_size=batch_size,
        options=options,
        strategy=strategy,
        runtime=running,
        precision=precision,
        seed=seed,
        settings=settings,
    )
    parts = slices(data, workdir, stage.baseline_features)
    parts = _named(parts, names)
    with stages.writing_to(
        [stage.folder / part.name for part in parts], strategy
    ):
        todo = [
            part
            for part in parts
            if stages.read_finished(
                stage.folder / part.name, stage.settings_of(part)
            )
            is None
        ]
        if todo and kind == "adapter":
            _train_bank(stage, parts, todo, experts_per_step, bottleneck_ratio)
        elif todo:
            _train_full(stage, todo)
        if distribution.is_chief(strategy):
            _remove_finished_checkpoints(workdir)
    return [
        files.read_json(stage.folder / part.name / run_folder.METADATA_FILE)
        for part in parts
    ]


def _remove_finished_checkpoints(workdir: Path) -> None:
    """Deletes checkpoints of banks of which all experts are finished."""
    for path in workdir.glob(f"{TRAINING_FOLDER}/adapter-*/{BEGUN_FILE}"):
        names = files.read_json(path)["names"]
        folders = [workdir / "experts" / "adapter" / name for name in names]
        if all(map(run_folder.is_finished, folders)):
            shutil.rmtree(
                path.parent / run_folder.CHECKPOINTS_FOLDER, ignore_errors=True
            )
            path.unlink(missing_ok=True)


def _named(parts: list[Slice], names: Sequence[str] | None) -> list[Slice]:
    known = {part.name: part for part in parts}
    unknown = sorted(set(names or ()) - known.keys())
    if unknown:
        raise ValueError(
            f"Experts must be among {sorted(known)}. "
            f"Received: {', '.join(unknown)}."
        )
    return [p for p in parts if names is None or p.name in names]


def _train_full(stage: ExpertStage, todo: list[Slice]) -> None:
    plan = BatchPlan(1, len(stage.learning_rates), stage.batch_size)
    model = stage.classifier
    sgd = NetworkSgd(
        model,
        stage.example_loss,
        stage.learning_rates,
        plan,
        stage.strategy,
        stage.options,
        stage.runtime.compile_replicas,
    )
    predictor = stage.predictor(model)
    _ = stage.baseline_hits  # before the baseline is trained on
    initial = model.get_weights()
    trainer = Trainer(sgd, stage.strategy, stage.runtime)  # traced once
    for part in todo:
        started = time.monotonic()
        sgd.reset(initial)
        directory = stage.folder / part.name
        training = trainer.fit(
            [stage.stream(part)],
            stage.preprocess,
            part.name,
            directory,
            {**stage.settings_of(part), "name": part.name},
        )
        stage.write(
            part,
            training,
            finite_or_none(training.last_losses[0]),
            predictor,
            functools.partial(run_folder.save_model, model),
            time.monotonic() - started,
        )


def _train_bank(
    stage: ExpertStage,
    parts: list[Slice],
    todo: list[Slice],
    experts_per_step: int,
    bottleneck_ratio: float,
) -> None:
    started = time.monotonic()
    folder = stage.workdir / TRAINING_FOLDER
    folder /= f"adapter-{stages.digest([part.name for part in parts])}"
    todo = _as_begun(folder, parts, todo, distribution.is_chief(stage.strategy))
    plan = BatchPlan(
        len(todo),
        len(stage.learning_rates),
        stage.batch_size,
        min(experts_per_step, len(todo)),
    )
    with stage.strategy.scope(), stages.precision_of(stage.precision):
        single = heads.with_adapters(stage.classifier, bottleneck_ratio)
        groups = heads.with_adapters(
            stage.classifier, bottleneck_ratio, plan.group_size
        )
    adapters = expert_models.adapter_variables(heads.backbone_of(single))
    sgd = BankSgd(
        groups,
        expert_models.stacked_variables(heads.backbone_of(groups)),
        {name: ops.convert_to_numpy(v) for name, v in adapters.items()},
        stage.example_loss,
        stage.learning_rates,
        plan,
        stage.strategy,
        stage.options,
        stage.runtime.compile_replicas,
    )
    training = Trainer(sgd, stage.strategy, stage.runtime).fit(
        [stage.stream(part) for part in todo],
        stage.preprocess,
        f"{len(todo)} experts",
        folder,
        {
            **stage.settings,
            "experts": {
                part.name: [part.synset, len(part.train)] for part in todo
            },
            "experts_per_step": plan.group_size,
        },
        [part.name for part in todo],
    )
    predictor = stage.predictor(single)
    seconds = (time.monotonic() - started) / len(todo)
    for index, part in enumerate(todo):
        if run_folder.is_finished(stage.folder / part.name):
            continue
        for name, value in sgd.expert(index).items():
            adapters[name].assign(value)
        stage.write(
            part,
            training,
            finite_or_none(training.last_losses[index]),
            predictor,
            functools.partial(
                run_folder.save_adapters, heads.backbone_of(single)
            ),
            seconds,
        )


def _as_begun(
    folder: Path, parts: list[Slice], todo: list[Slice], chief: bool
) -> list[Slice]:
    """Gives the experts that this share was begun with.

    Where a run was killed after it had written some of its experts, they are
    in its checkpoint all the same.
    """
    path = folder / BEGUN_FILE
    if path.exists():
        begun = set(files.read_json(path)["names"])
        return [part for part in parts if part.name in begun]
    if chief:
        files.write_json(path, {"names": [part.name for part in todo]})
    return todo
