"""Keeps the adapters of a run as one small file, and makes the run of it again.

    python benchmarks/device_weights.py pack --workdir run --weights study.npz
    python benchmarks/device_weights.py unpack --weights study.npz --workdir run

In float16: a baseline and 54 adapters of an R26 of quarter width have 11 MB.
What is unpacked is rounded, so that its figures of accuracy, which were
measured before, hold but for that. Their figures lie in a JSON file beside the
weights, with those of full experts, which are not kept.
"""

import argparse
from pathlib import Path

import numpy as np

from keras_experts import files
from keras_experts.models import bit_resnet
from keras_experts.models import heads
from keras_experts.models import run_folder
from keras_experts.models.bit_weights import assign
from keras_experts.models.bit_weights import fingerprint
from keras_experts.models.bit_weights import named_variables
from keras_experts.models.bit_weights import read_npz

BASELINE = "baseline"


def pack(workdir: Path, weights: Path) -> None:
    classifier, metadata = run_folder.load_baseline(workdir)
    arrays = {}
    backbone = heads.backbone_of(classifier)
    for name, variable in named_variables(backbone).items():
        arrays[f"{BASELINE}/{name}"] = variable.numpy().astype(np.float16)
    head = classifier.get_layer(heads.HEAD_NAME)
    arrays[f"{BASELINE}/head/kernel"] = head.kernel.numpy().astype(np.float16)
    arrays[f"{BASELINE}/head/bias"] = head.bias.numpy().astype(np.float32)
    folders = {BASELINE: workdir / "baseline"}
    figures = [metadata]
    for kind, name in run_folder.list_experts(workdir):
        folder = workdir / "experts" / kind / name
        figures.append(files.read_json(folder / "metadata.json"))
        if kind != "adapter":
            continue
        folders[name] = folder
        for key, value in read_npz(folder / run_folder.ADAPTERS_FILE).items():
            arrays[f"{name}/{key}"] = value.astype(np.float16)
    for name, folder in folders.items():
        arrays[f"{name}/prior"] = run_folder.read_label_prior(folder)
    with files.whole_file(weights) as path:
        np.savez_compressed(path, **arrays)
    files.write_json(weights.with_suffix(".json"), figures)


def unpack(weights: Path, workdir: Path) -> None:
    arrays = read_npz(weights)
    about = {
        figures["name"]: figures
        for figures in files.read_json(weights.with_suffix(".json"))
        if figures["kind"] != "full"
    }
    parts: dict[str, dict[str, np.ndarray]] = {}
    for key, value in arrays.items():
        name, _, rest = key.partition("/")
        parts.setdefault(name, {})[rest] = value.astype(np.float32)
    own = make_baseline(parts.pop(BASELINE), about[BASELINE], workdir)
    for name, values in parts.items():
        folder = workdir / "experts" / "adapter" / name
        run_folder.save_label_prior(values.pop("prior"), folder)
        with files.whole_file(folder / run_folder.ADAPTERS_FILE) as path:
            np.savez(path, **values)
        about[name]["settings"]["baseline"] = own
        files.write_json(folder / "metadata.json", about[name])


def make_baseline(values: dict, metadata: dict, workdir: Path) -> str:
    """Makes the baseline's folder, and gives its fingerprint."""
    settings = metadata["settings"]
    backbone = bit_resnet(settings["preset"], width=settings["width"])
    prior = values.pop("prior")
    kernel, bias = values.pop("head/kernel"), values.pop("head/bias")
    assign(named_variables(backbone), values, "the kept baseline")
    classifier = heads.add_head(heads.image_features(backbone), len(bias))
    classifier.get_layer(heads.HEAD_NAME).set_weights([kernel, bias])
    directory = workdir / "baseline"
    run_folder.save_label_prior(prior, directory)
    run_folder.save_model(classifier, directory)
    files.write_json(directory / "metadata.json", metadata)
    return fingerprint(backbone)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("way", choices=("pack", "unpack"))
    parser.add_argument("--workdir", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    options = parser.parse_args()
    if options.way == "pack":
        pack(options.workdir, options.weights)
    else:
        unpack(options.weights, options.workdir)


if __name__ == "__main__":
    main()
