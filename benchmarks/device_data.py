"""Packs an upstream set for a machine that has JAX and no TensorFlow.

    python benchmarks/device_data.py --data_dir data --workdir run \
        --gin_file upstream/cifar100_wordnet.gin --output device

DIR/experts.json of the run says which experts there are to be. The output is
what `device_upstream.py` reads:

images.webp    all training images, then all test images: one sheet, lossless
upstream.npz   targets, slices and priors
upstream.json  classes, outputs, experts
"""

import argparse
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import gin
import numpy as np
import tensorflow as tf
from PIL import Image

from keras_experts import config
from keras_experts import files
from keras_experts.console import progress
from keras_experts.data.labeled_images import LabeledImages
from keras_experts.data.preprocessing import decode
from keras_experts.data.upstream import Upstream
from keras_experts.saved_models.upstream_labels import label_prior
from keras_experts.training.slices import Slice
from keras_experts.training.slices import label_slices
from keras_experts.training.slices import random_slices

LOSSES = ("softmax", "sigmoid")


@config.configurable
def pack(workdir: Path, output: Path, upstream=gin.REQUIRED) -> None:
    """Writes the three files."""
    data = upstream()
    parts = label_slices(data, workdir, None)
    parts += random_slices(data, workdir, None)
    arrays = {}
    for loss in LOSSES:
        arrays |= targets(data, loss, parts)
    for number, part in enumerate(parts):
        arrays[f"train{number}"] = part.train.astype(np.int32)
        arrays[f"test{number}"] = part.test.astype(np.int32)
    output.mkdir(parents=True, exist_ok=True)
    with files.whole_file(output / "upstream.npz") as path:
        np.savez_compressed(path, **arrays)
    pixels = [decoded(data.train), decoded(data.test)]
    with files.whole_file(output / "images.webp") as path:
        image = Image.fromarray(sheet(np.concatenate(pixels)))
        image.save(path, lossless=True, quality=100, method=6)
    content = {
        "dataset": data.name,
        "hierarchy": data.hierarchy.source,
        "classes": data.classes,
        "class_names": data.train.class_names,
        "outputs": {loss: data.outputs(loss) for loss in LOSSES},
        "images": [len(each) for each in pixels],
        "image_size": pixels[0].shape[1],
        "slices": [[part.name, part.synset] for part in parts],
    }
    files.write_json(output / "upstream.json", content)


def targets(data: Upstream, loss: str, parts: list[Slice]) -> dict:
    """Gives the targets of a loss, as bits, and the priors of the slices."""
    train = data.targets(data.train, loss)
    everything = train.mean()
    rows = train(np.arange(data.train.num_examples))
    priors = [label_prior(everything, everything)]
    priors += [label_prior(train.mean(p.train), everything) for p in parts]
    return {
        f"{loss}_targets": np.packbits(rows.astype(bool), axis=1),
        f"{loss}_priors": np.stack(priors),
        "test_classes": data.class_targets(data.test)(
            np.arange(data.test.num_examples)
        ).argmax(axis=1),
    }


def decoded(images: LabeledImages) -> np.ndarray:
    """Reads all images, which are of one size: uint8 `(n, side, side, 3)`."""
    number = images.num_examples
    with progress("Reading", number) as bar:
        rows = []
        for image in images.read(np.arange(number)):
            rows.append(decode(tf.constant(image)).numpy())
            bar.advance(1)
    return np.stack(rows)


def sheet(pixels: np.ndarray) -> np.ndarray:
    """Lays images of one size out on a square, row by row."""
    number, side = pixels.shape[:2]
    across = int(np.ceil(np.sqrt(number)))
    full = np.zeros((across * across, *pixels.shape[1:]), np.uint8)
    full[:number] = pixels
    grid = full.reshape(across, across, side, side, 3)
    return grid.swapaxes(1, 2).reshape(across * side, across * side, 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data_dir", required=True)
    parser.add_argument("--workdir", type=Path, required=True)
    parser.add_argument("--gin_file", required=True)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    bindings = [f'DATA_DIR = "{options.data_dir}"', "pack.upstream = %UPSTREAM"]
    config.parse([options.gin_file], bindings)
    pack(options.workdir, options.output)


if __name__ == "__main__":
    main()
