"""A strip of images that shows what a network was trained for."""

import functools
from pathlib import Path

import numpy as np
from PIL import Image

from keras_experts import files
from keras_experts.data.batches import evaluation_batches
from keras_experts.data.batches import untuned
from keras_experts.data.labeled_images import LabeledImages
from keras_experts.data.preprocessing import resize
from keras_experts.mediums import IMAGES
from keras_experts.models import run_folder

NUM_SAMPLES = 8
SIDE = 96  # pixels


def write_samples(
    images: LabeledImages, indices: np.ndarray, directory: Path
) -> None:
    """Writes some images, side by side, as `samples.jpg`.

    Args:
        images: LabeledImages that were read before: none is damaged.
        indices: those to choose from; where there are none, or they are
            texts, nothing is written.
        directory: of the result they belong to.
    """
    if not len(indices) or images.medium != IMAGES:
        return
    places = np.linspace(0, len(indices) - 1, min(NUM_SAMPLES, len(indices)))
    chosen = images.subset(np.asarray(indices)[places.astype(int)])
    batches = evaluation_batches(
        chosen, len(places), functools.partial(resize, image_size=SIDE)
    )
    batch = next(iter(untuned(batches)))["image"].numpy()
    strip = np.concatenate(list(batch), axis=1)  # (side, number * side, 3)
    pixels = np.clip(255 * strip, 0, 255).astype(np.uint8)
    with files.whole_file(directory / run_folder.SAMPLES_FILE) as path:
        Image.fromarray(pixels).save(path, quality=85)
