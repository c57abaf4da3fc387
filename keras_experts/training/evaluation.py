"""Accuracy of a network on a set of labelled images."""

import functools

import numpy as np

from keras_experts.data.labeled_images import LabeledImages
from keras_experts.data.preprocessing import resize
from keras_experts.training.trainer import Trainer

BATCH_SIZE = 250


def top1(
    trainer: Trainer,
    images: LabeledImages,
    image_size: int,
    num_classes: int | None = None,
) -> float | None:
    """Gives the share of images whose class has the largest logit.

    Args:
        trainer: whose model is evaluated.
        images: LabeledImages.
        image_size: int. Pixels.
        num_classes: int. The first outputs, which are classes; ancestors
            among the outputs do not compete. None for all outputs.

    Returns:
        float in [0, 1], or None where there is no image.
    """
    if not images.num_examples:
        return None
    batches = images.evaluation_batches(
        min(BATCH_SIZE, images.num_examples),
        functools.partial(resize, image_size=image_size),
    )
    logits = trainer.predict(batches, "evaluation")[:, :num_classes]
    return float(np.mean(logits.argmax(axis=-1) == images.labels()))
