"""The folder of a training run: what the stages leave for one another.

experts.json                     the domains
baseline/model.keras             classifier, with its head
baseline/label_prior.npy         share of each of its outputs upstream
experts/full/NAME/model.keras    the same, fine-tuned on a slice
experts/adapter/NAME/adapters.npz
.../samples.jpg                  some of its test images
experts/KIND/NAME/label_prior.npy  the same in its slice
epn/model.keras                  the expert prediction network
training/adapter-*/              metrics of adapters trained together
.../metadata.json                figures; marks the result as finished
.../operative_config.gin         what it was made with
"""

import shutil
from pathlib import Path

import keras
import numpy as np
from keras import ops

from keras_experts import files
from keras_experts.checks import difference
from keras_experts.domains import read_experts
from keras_experts.locking import locked
from keras_experts.models import experts as expert_models
from keras_experts.models import heads
from keras_experts.models.backbone import BitResNet
from keras_experts.models.bit_weights import assign
from keras_experts.models.bit_weights import fingerprint
from keras_experts.models.bit_weights import read_npz
from keras_experts.saved_models.handles import SAMPLES_FILE as SAMPLES_PATH
from keras_experts.saved_models.upstream_labels import Head
from keras_experts.saved_models.upstream_labels import load_label_prior

MODEL_FILE = "model.keras"
ADAPTERS_FILE = "adapters.npz"
PRIOR_FILE = "label_prior.npy"
METADATA_FILE = "metadata.json"
CHECKPOINTS_FOLDER = "checkpoints"
SAMPLES_FILE = SAMPLES_PATH.name


def is_finished(directory: Path) -> bool:
    """Returns whether a stage has left its whole result there."""
    return (directory / METADATA_FILE).exists()


def save_model(model: keras.Model, directory: Path) -> None:
    """Saves a model, architecture and weights, as `model.keras`."""
    with files.whole_file(directory / MODEL_FILE) as path:
        model.save(path)


def save_adapters(backbone: BitResNet, directory: Path) -> None:
    """Saves the adapters of a plain expert, and not its backbone."""
    values = {
        name: ops.convert_to_numpy(variable)
        for name, variable in expert_models.adapter_variables(backbone).items()
    }
    with files.whole_file(directory / ADAPTERS_FILE) as path:
        np.savez(path, **values)


def save_label_prior(prior: np.ndarray, directory: Path) -> None:
    """Saves the label prior of the baseline or an expert, float32 `(outputs,)`.

    It is the share of each of the baseline's outputs in the training images.
    """
    with files.whole_file(directory / PRIOR_FILE) as path:
        np.save(path, prior)


def read_label_prior(directory: Path) -> np.ndarray | None:
    """Reads what `save_label_prior` wrote; None in a run that is older.

    Raises:
        ValueError: if it is no distribution.
    """
    path = directory / PRIOR_FILE
    return load_label_prior(path) if path.exists() else None


def load_baseline(workdir: str | Path) -> tuple[keras.Model, dict]:
    """Loads the baseline classifier and its metadata.

    Raises:
        FileNotFoundError: if it has not been trained.
    """
    directory = Path(workdir) / "baseline"
    if not is_finished(directory):
        raise FileNotFoundError(
            "A run must have a trained baseline (keras-experts "
            f"train_baseline). Received: {workdir}, which has no "
            "baseline/metadata.json."
        )
    metadata = files.read_json(directory / METADATA_FILE)
    return keras.saving.load_model(directory / MODEL_FILE), metadata


def head_of(classifier: keras.Model, metadata: dict) -> Head:
    """Gives the head of `load_baseline`'s classifier, with its labels."""
    layer = classifier.get_layer(heads.HEAD_NAME)
    kernel, bias = map(ops.convert_to_numpy, (layer.kernel, layer.bias))
    return Head(kernel, bias, metadata["outputs"], metadata["loss"])


def load_epn(workdir: str | Path) -> tuple[keras.Model, dict] | None:
    """Loads the expert prediction network and its metadata.

    Returns:
        Model from images in [0, 1] to logits `(batch, experts)`, and dict;
        None where none has been trained.
    """
    directory = Path(workdir) / "epn"
    if not is_finished(directory):
        return None
    metadata = files.read_json(directory / METADATA_FILE)
    return keras.saving.load_model(directory / MODEL_FILE), metadata


def list_experts(workdir: str | Path) -> list[tuple[str, str]]:
    """Lists the finished experts as (kind, name), sorted."""
    folder = Path(workdir) / "experts"
    return sorted(
        (path.parent.parent.name, path.parent.name)
        for path in folder.glob("*/[!.]*/metadata.json")
    )


def load_expert(
    workdir: str | Path, kind: str, name: str, baseline: BitResNet
) -> tuple[BitResNet, dict]:
    """Loads a finished expert as a plain backbone, with its metadata.

    Args:
        workdir: folder of the run.
        kind: str. "adapter" or "full".
        name: str. The expert's name.
        baseline: `BitResNet` that adapters are put into a copy of.
    """
    directory = Path(workdir) / "experts" / kind / name
    metadata = files.read_json(directory / METADATA_FILE)
    if kind == "full":
        classifier = keras.saving.load_model(directory / MODEL_FILE)
        return heads.backbone_of(classifier), metadata
    values = read_npz(directory / ADAPTERS_FILE)
    backbone = expert_models.add_adapters(
        baseline, bottleneck_ratio=metadata["bottleneck_ratio"]
    )
    variables = expert_models.adapter_variables(backbone)
    assign(variables, values, f"the adapters in {directory}")
    return backbone, metadata


def load_bank(workdir: str | Path) -> tuple[BitResNet, list[str]]:
    """Puts all finished adapter experts of a run into one bank.

    Args:
        workdir: folder of the run.

    Returns:
        `BitResNet` with a bank, and the experts' names in its order, which is
        that of `experts.json`; others, by name, come after.

    Raises:
        FileNotFoundError: if there is no baseline.
        ValueError: if there is no finished adapter expert, or one does not
            stand on this baseline.
    """
    workdir = Path(workdir)
    baseline = heads.backbone_of(load_baseline(workdir)[0])
    names = [name for kind, name in list_experts(workdir) if kind == "adapter"]
    if not names:
        raise ValueError(
            "A bank must have an expert (keras-experts train_experts). "
            f"Received: {workdir} with no finished adapter expert."
        )
    listed = workdir / "experts.json"
    if listed.exists():
        order = {e.name: e.index for e in read_experts(listed)}
        names.sort(key=lambda name: (order.get(name, len(order)), name))
    own = fingerprint(baseline)
    bank = None
    for index, name in enumerate(names):
        expert, metadata = load_expert(workdir, "adapter", name, baseline)
        theirs = metadata["settings"]["baseline"]
        if theirs != own:
            raise ValueError(
                "Experts of a bank must have been trained on its baseline. "
                f"Received: {name}, on {theirs[:12]} and not {own[:12]}."
            )
        if bank is None:
            ratio = expert.bottleneck_ratio
            bank = expert_models.add_adapters(
                baseline, "bank", len(names), ratio
            )
        expert_models.insert_expert(bank, index, expert)
    return bank, names


def merge_experts(workdir: str | Path, shares: list[str | Path]) -> list[str]:
    """Copies finished experts of other runs on the same baseline into a run.

    Args:
        workdir: folder of the run.
        shares: folders of runs that trained shares of its experts.

    Returns:
        "KIND/NAME" of the experts that were copied; those that the run already
        has, made with the same settings, are not among them.

    Raises:
        BlockingIOError: if one of the experts is being trained.
        FileNotFoundError: if there is no baseline, or a share has no expert.
        ValueError: if an expert stands on another baseline, or differs from
            one of the same name that the run already has.
    """
    workdir = Path(workdir)
    own = fingerprint(heads.backbone_of(load_baseline(workdir)[0]))
    sources: dict[tuple[str, str], list[Path]] = {}
    for share in map(Path, shares):
        experts = list_experts(share)
        if not experts:
            raise FileNotFoundError(
                "A share must have a finished expert. "
                f"Received: {share} with none."
            )
        for kind, name in experts:
            source = share / "experts" / kind / name
            theirs = _settings_of(source)["baseline"]
            if theirs != own:
                raise ValueError(
                    "Experts to merge must have been trained on the run's own "
                    f"baseline. Received: {source}, on {theirs[:12]} and not "
                    f"{own[:12]}."
                )
            sources.setdefault((kind, name), []).append(source)
    for (kind, name), folders in sources.items():
        _check_equal([workdir / "experts" / kind / name, *folders])
    return [
        f"{kind}/{name}"
        for (kind, name), (source, *_) in sources.items()
        if _copy_expert(source, workdir / "experts" / kind / name)
    ]


def _settings_of(directory: Path) -> dict:
    return files.read_json(directory / METADATA_FILE)["settings"]


def _check_equal(directories: list[Path]) -> None:
    """Raises unless all finished experts were made with the same settings."""
    first, *others = filter(is_finished, directories)
    for other in others:
        different = difference(_settings_of(first), _settings_of(other))
        if different:
            raise ValueError(
                "Experts of one name to merge must have been made with the "
                f"same settings. Received: {first} and {other}, with "
                f"{different}."
            )


def _copy_expert(source: Path, target: Path) -> bool:
    """Copies an expert to a run, unless the run has it already.

    What the run itself has trained of it is deleted only when the copy is
    whole.
    """
    with locked(target):
        if is_finished(target):
            return False
        with files.temporary_folder(target) as copy:
            shutil.copytree(
                source,
                copy,
                ignore=shutil.ignore_patterns(CHECKPOINTS_FOLDER, ".*"),
                dirs_exist_ok=True,
            )
            files.move_contents(copy, target, last=METADATA_FILE)
        shutil.rmtree(target / CHECKPOINTS_FOLDER, ignore_errors=True)
    return True
