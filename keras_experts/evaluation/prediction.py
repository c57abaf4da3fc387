"""Labelled probabilities for images and texts, from a fine-tuned classifier."""

import functools
from collections.abc import Callable
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_experts.checks import as_list
from keras_experts.checks import check_local
from keras_experts.checks import first_line
from keras_experts.console import progress
from keras_experts.console import say
from keras_experts.data import texts
from keras_experts.data.image_files import read_image
from keras_experts.data.listing import UNREADABLE
from keras_experts.data.listing import Skipped
from keras_experts.data.listing import counted
from keras_experts.data.listing import list_images
from keras_experts.data.preprocessing import resize
from keras_experts.mediums import TEXTS
from keras_experts.random_state import callers_random_state
from keras_experts.saved_models.handles import read_metadata
from keras_experts.saved_models.loading import load_module
from keras_experts.text.columns import Columns
from keras_experts.training.evaluation import Predictor
from keras_experts.training.finetuning import MODULE_FOLDER
from keras_experts.training.runtime import Runtime

TEXT_BATCH = 32  # texts that are in the network's memory at a time


@callers_random_state()
def predict(
    model: str | Path,
    paths: str | Path | Sequence[str | Path],
    trust: bool = False,
    text_column: str | None = None,
) -> list[dict]:
    """Classifies image files and all images below folders, or texts.

    One line on stderr says how many images were skipped, and why.

    Args:
        model: the output folder of `finetune`, or its `module/`.
        paths: files and folders of images; or for a classifier of texts CSV,
            TSV and JSONL files, and other files, a text each.
        trust: bool. As in `load_module`.
        text_column: str. As in `load_task`.

    Returns:
        list of dict, in the order of the files: `file`, `class`,
        `probability` and `probabilities` (by class name), in [0, 1]; of
        texts also `row`, the number among the records of the file from 1, and
        `place`, such as "line 7" (None and "" where the file is one text).
        Of a file that cannot be read the class and its probabilities are
        None, `error` says why, and `named` is whether it was among `paths`
        itself, not found in a folder.

    Raises:
        FileNotFoundError: if the model or a path is not there.
        ValueError: if the model is not a classifier, or a folder has no image.
    """
    paths = as_list(paths)
    for path in paths:
        check_local(path, "A file to classify")
    module, metadata = load_classifier(model, trust)
    if metadata.get("medium") == TEXTS:
        names = metadata["class_names"]
        return _predict_texts(module, paths, names, text_column)
    return _predict_images(module, metadata, paths)


def _predict_images(
    module: Callable, metadata: dict, paths: Sequence[str | Path]
) -> list[dict]:
    skipped, rows = Skipped(), []
    files = _expand(paths, skipped)
    with progress("predicting", len(files)) as bar:
        for path, is_named in files:
            bar.advance(1)
            try:
                content = tf.constant(read_image(path))
            except (OSError, ValueError) as error:
                reason = first_line(error.__cause__ or error)
                skipped.add(UNREADABLE, path, reason)
                rows.append(_unreadable(str(path), reason, is_named))
                continue
            image = resize(content, metadata["image_size"])
            probabilities = tf.nn.softmax(module(image[None])[0]).numpy()
            names = metadata["class_names"]
            rows.append(_row(str(path), probabilities, names, is_named))
    num_read = sum("error" not in row for row in rows)
    skipped.say(f"classified {counted(num_read, ('image', 'images'))}")
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
    found = [
        (path, texts.read_unlabelled(path, Columns(text_column)))
        for path in paths
    ]
    contents = [row.text for _, read in found for row in read]
    probabilities = iter(classify_texts(module, contents) if contents else ())
    rows = []
    for path, read in found:
        rows += [
            {
                **_row(row.file, next(probabilities), names, True),
                "row": row.row,
                "place": row.place,
            }
            for row in read
        ]
        if not read:
            reason = "an empty text, or bytes that are not UTF-8"
            rows.append(_unreadable(str(path), reason, True))
    return rows


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


def _row(
    file: str, probabilities: np.ndarray, names: list[str], is_named: bool
) -> dict:
    """Returns the prediction for a file, or its error where it is NaN."""
    if not np.isfinite(probabilities).all():
        reason = "the model returns NaN or infinity for it"
        say(f"Skipped {file}: {reason}.")
        return _unreadable(file, reason, is_named)
    return {"file": file, **labeled(probabilities, names)}


def labeled(probabilities: np.ndarray, names: list[str]) -> dict:
    """Returns the most probable class, and all probabilities by class name."""
    best = int(probabilities.argmax())
    return {
        "class": names[best],
        "probability": float(probabilities[best]),
        "probabilities": dict(zip(names, probabilities.tolist(), strict=True)),
    }


def _unreadable(file: str, reason: str, is_named: bool) -> dict:
    row = dict.fromkeys(("class", "probability", "probabilities"))
    return {"file": file, **row, "error": reason, "named": is_named}


def _expand(
    paths: Sequence[str | Path], skipped: Skipped
) -> list[tuple[Path, bool]]:
    """Returns the files to read, and whether each is among the paths."""
    files: list[tuple[Path, bool]] = []
    for path in (Path(path).expanduser() for path in paths):
        if not path.exists():
            raise FileNotFoundError(
                "Files to classify must exist. "
                f"Received: {str(path)!r}, which does not."
            )
        if not path.is_dir():
            files.append((path, True))
            continue
        found = list_images(path, skipped)
        if not found:
            reason = f" ({skipped})" if skipped else ""
            raise ValueError(
                "A folder to classify must have images. "
                f"Received: {path} with none{reason}."
            )
        files += [(file, False) for file in found]
    return files
