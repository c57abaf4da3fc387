"""Which images a result is of, so that others can take the same."""

import hashlib
from pathlib import Path

from keras_experts import files
from keras_experts.data.fingerprints import digests
from keras_experts.data.fingerprints import fingerprint
from keras_experts.data.labeled_images import LabeledImages
from keras_experts.data.tasks import Task

SHOWN_DIGITS = 16  # of an image's digest


def write_manifest(path: str | Path, task: Task) -> str:
    """Writes which images a task has, and gives their digest.

    Args:
        path: file to write: of both sides each image's place, the first
            digits of its SHA-256, and one digest of images and labels.
        task: Task.

    Returns:
        str. Hexadecimal; it follows from all images and labels in their order.
    """
    content = {
        "task": task.name,
        "class_names": task.class_names,
        "train": _identified(task.train),
        "test": _identified(task.test),
    }
    files.write_json(path, content)
    parts = content["train"]["sha256"] + content["test"]["sha256"]
    return hashlib.sha256(parts.encode()).hexdigest()


def _identified(images: LabeledImages) -> dict:
    found = digests(images)
    return {
        "num_examples": images.num_examples,
        "sha256": fingerprint(images, found),
        "examples": [images.name(i) for i in range(images.num_examples)],
        "digests": [row.tobytes().hex()[:SHOWN_DIGITS] for row in found],
    }
