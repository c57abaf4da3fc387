"""The folder of a training run: what the stages leave for one another.

experts.json                     the domains
baseline/model.keras             classifier, with its head
experts/full/NAME/model.keras    the same, fine-tuned on a slice
experts/adapter/NAME/adapters.npz
experts/KIND/NAME/label_prior.npy  share of each baseline output in its slice
epn/model.keras                  the expert prediction network
training/adapter-*/              metrics of adapters trained together
.../metadata.json                figures; marks the result as finished
.../operative_config.gin         what it was made with
"""

from pathlib import Path

import keras
import numpy as np
from keras import ops

from keras_experts import files
from keras_experts.models import experts as expert_models
from keras_experts.models import heads
from keras_experts.models.backbone import BitResNet
from keras_experts.models.bit_weights import assign
from keras_experts.models.bit_weights import read_npz

MODEL_FILE = "model.keras"
ADAPTERS_FILE = "adapters.npz"
PRIOR_FILE = "label_prior.npy"


def is_finished(directory: Path) -> bool:
    """Tells whether a stage has left its whole result there."""
    return (directory / "metadata.json").exists()


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
    """Saves an expert's label prior, float32 `(outputs,)`."""
    with files.whole_file(directory / PRIOR_FILE) as path:
        np.save(path, prior)


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
    metadata = files.read_json(directory / "metadata.json")
    return keras.saving.load_model(directory / MODEL_FILE), metadata


def list_experts(workdir: str | Path) -> list[tuple[str, str]]:
    """Lists the finished experts as (kind, name), sorted."""
    folder = Path(workdir) / "experts"
    return sorted(
        (path.parent.parent.name, path.parent.name)
        for path in folder.glob("*/*/metadata.json")
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
    metadata = files.read_json(directory / "metadata.json")
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
