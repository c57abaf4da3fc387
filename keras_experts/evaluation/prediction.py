"""Labelled probabilities for image files, from a fine-tuned classifier."""

from collections.abc import Sequence
from pathlib import Path

import tensorflow as tf

from keras_experts.console import progress
from keras_experts.console import say
from keras_experts.data import folders
from keras_experts.data.preprocessing import resize
from keras_experts.saved_models.handles import read_metadata
from keras_experts.saved_models.loading import load_module
from keras_experts.training.finetuning import MODULE_FOLDER


def predict(model: str | Path, paths: Sequence[str | Path]) -> list[dict]:
    """Classifies image files, and all images below folders.

    Args:
        model: the output folder of `finetune`, or its `module/`.
        paths: files and folders.

    Returns:
        list of dict, in the order of the files, without those that are no
        whole image (they are named on stderr): `file`, `class`,
        `probability` and `probabilities` (by class name), in [0, 1].

    Raises:
        FileNotFoundError: if the model or a path is not there.
        ValueError: if the model is no classifier, a folder has no image, or
            no file is a whole image.
    """
    inner = Path(model) / MODULE_FOLDER
    handle = str(inner if inner.is_dir() else model)
    module = load_module(handle)
    metadata = read_metadata(handle)
    if "class_names" not in metadata:
        raise ValueError(
            "A model to predict with must be one that `finetune` wrote. "
            f"Received: {model}, which names no classes."
        )
    rows = []
    files = _expand(paths)
    with progress("predicting", len(files)) as bar:
        for path in files:
            bar.advance(1)
            try:
                content = tf.constant(folders.read_image(path))
            except ValueError as error:
                say(f"Left out {path}: {error}")
                continue
            image = resize(content, metadata["image_size"])
            probabilities = tf.nn.softmax(module(image[None])[0]).numpy()
            best = int(probabilities.argmax())
            rows.append(
                {
                    "file": str(path),
                    "class": metadata["class_names"][best],
                    "probability": float(probabilities[best]),
                    "probabilities": dict(
                        zip(
                            metadata["class_names"],
                            probabilities.tolist(),
                            strict=True,
                        )
                    ),
                }
            )
    if not rows:
        raise ValueError(
            "One of the files must be a whole image. "
            f"Received: {len(files)}, none of which is."
        )
    return rows


def _expand(paths: Sequence[str | Path]) -> list[Path]:
    files: list[Path] = []
    for path in map(Path, paths):
        if not path.exists():
            raise FileNotFoundError(
                "Files to classify must exist. "
                f"Received: {str(path)!r}, which does not."
            )
        found = folders.list_images(path) if path.is_dir() else [path]
        if not found:
            raise ValueError(
                "A folder to classify must have images "
                f"({', '.join(folders.ENDINGS)}). Received: {path} with none."
            )
        files += found
    return files
