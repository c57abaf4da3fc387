"""Labelled probabilities for images and texts, from a fine-tuned classifier."""

import functools
from collections.abc import Callable
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_experts.checks import check_local
from keras_experts.console import progress
from keras_experts.console import say
from keras_experts.data import folders
from keras_experts.data import texts
from keras_experts.data.preprocessing import resize
from keras_experts.mediums import TEXTS
from keras_experts.saved_models.handles import read_metadata
from keras_experts.saved_models.loading import load_module
from keras_experts.text.columns import Columns
from keras_experts.training.evaluation import Predictor
from keras_experts.training.finetuning import MODULE_FOLDER
from keras_experts.training.runtime import Runtime

TEXT_BATCH = 32  # texts that are in the network's memory at a time


def predict(
    model: str | Path,
    paths: Sequence[str | Path],
    trust: bool = False,
    text_column: str | None = None,
) -> list[dict]:
    """Classifies image files and all images below folders, or texts.

    Args:
        model: the output folder of `finetune`, or its `module/`.
        paths: files and folders of images; or for a classifier of texts CSV,
            TSV and JSONL files, and other files, a text each.
        trust: bool. As in `load_module`.
        text_column: str. As in `load_task`.

    Returns:
        list of dict, in the order of the files, without those that are no
        whole image or text (they are named on stderr): `file`, `class`,
        `probability` and `probabilities` (by class name), in [0, 1]; of
        texts also `row`, the number among the records of the file from 1, and
        `place`, such as "line 7" (None and "" where the file is one text).

    Raises:
        FileNotFoundError: if the model or a path is not there.
        ValueError: if the model is no classifier, a folder has no image, or
            no file is a whole image.
    """
    for path in paths:
        check_local(path, "A file to classify")
    module, metadata = load_classifier(model, trust)
    names = metadata["class_names"]
    if metadata.get("medium") == TEXTS:
        return _predict_texts(module, paths, names, text_column)
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
            row = _row(str(path), probabilities, names)
            rows += [] if row is None else [row]
    if not rows:
        raise ValueError(
            "One of the files must be an image that can be classified. "
            f"Received: {len(files)}, none of which is."
        )
    return rows


def load_classifier(
    model: str | Path, trust: bool = False
) -> tuple[Callable, dict]:
    """Loads a classifier that `finetune` wrote.

    Args:
        model: the output folder of `finetune`, or its `module/`.
        trust: bool. As in `load_module`.

    Returns:
        The function of a batch of images or texts to logits, and the
        module's metadata.

    Raises:
        FileNotFoundError: if the model is not there.
        ValueError: if the model is not a classifier.
    """
    inner = Path(model).expanduser() / MODULE_FOLDER
    handle = str(inner if inner.is_dir() else model)
    module = load_module(handle, trust)
    metadata = read_metadata(handle)
    if "class_names" not in metadata:
        raise ValueError(
            "A model to predict with must be one that `finetune` wrote. "
            f"Received: {model}, which names no classes."
        )
    return module, metadata


def make_predictor(module: Callable, image_size: int) -> Predictor:
    """Builds the function of labeled images to class probabilities.

    Args:
        module: function of images to logits, as `load_classifier` returns it.
        image_size: int. Height and width that it takes, pixels.

    Returns:
        Predictor, which returns float32 `(n, classes)`.
    """
    runtime = Runtime(compile=False)
    return Predictor(
        module,
        runtime.make_strategy(),
        runtime,
        functools.partial(resize, image_size=image_size),
        tf.nn.softmax,
    )


def _predict_texts(
    module,
    paths: Sequence[str | Path],
    names: list[str],
    text_column: str | None,
) -> list[dict]:
    rows = [
        row
        for path in paths
        for row in texts.read_unlabelled(path, Columns(text_column))
    ]
    if not rows:
        raise ValueError(
            "One of the files must hold a text. "
            f"Received: {len(paths)}, none of which does."
        )
    probabilities = classify_texts(module, [row.text for row in rows])
    predictions = [
        (row, _row(row.file, values, names))
        for row, values in zip(rows, probabilities, strict=True)
    ]
    return [
        {**prediction, "row": row.row, "place": row.place}
        for row, prediction in predictions
        if prediction is not None
    ]


def classify_texts(module: Callable, contents: Sequence[bytes]) -> np.ndarray:
    """Returns class probabilities of texts, float32 `(n, classes)`.

    Args:
        module: function of strings to logits, as `load_classifier` returns it.
        contents: UTF-8 texts; they go through it in batches.
    """
    parts = []
    with progress("predicting", len(contents)) as bar:
        for start in range(0, len(contents), TEXT_BATCH):
            batch = contents[start : start + TEXT_BATCH]
            parts.append(tf.nn.softmax(module(tf.constant(batch))).numpy())
            bar.advance(len(batch))
    return np.concatenate(parts)


def _row(file: str, probabilities: np.ndarray, names: list[str]) -> dict | None:
    """Returns the prediction for a file; None, and says so, if it is NaN."""
    if not np.isfinite(probabilities).all():
        say(f"Skipped {file}: the model returns NaN or infinity for it.")
        return None
    return {"file": file, **labeled(probabilities, names)}


def labeled(probabilities: np.ndarray, names: list[str]) -> dict:
    """Returns the most probable class, and all probabilities by class name."""
    best = int(probabilities.argmax())
    return {
        "class": names[best],
        "probability": float(probabilities[best]),
        "probabilities": dict(zip(names, probabilities.tolist(), strict=True)),
    }


def _check_exists(path: Path) -> None:
    if not path.exists():
        raise FileNotFoundError(
            "Files to classify must exist. "
            f"Received: {str(path)!r}, which does not."
        )


def _expand(paths: Sequence[str | Path]) -> list[Path]:
    files: list[Path] = []
    for path in (Path(path).expanduser() for path in paths):
        _check_exists(path)
        found = folders.list_images(path) if path.is_dir() else [path]
        if not found:
            raise ValueError(
                "A folder to classify must have images "
                f"({', '.join(folders.ENDINGS)}). Received: {path} with none."
            )
        files += found
    return files
