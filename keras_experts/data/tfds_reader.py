"""Prepared TFDS data sets, of which any image can be read at any time."""

import dataclasses
import os
import re
from pathlib import Path

from keras_experts.data.label_rows import LabelRows
from keras_experts.data.labeled_images import LabeledImages
from keras_experts.data.record_index import RecordIndex
from keras_experts.data.record_index import RecordReader
from keras_experts.data.record_index import index_files
from keras_experts.mediums import IMAGES
from keras_experts.mediums import TEXTS

TASK_RULE = (
    "A task must be a TFDS name, a folder of images, an .npz, or a CSV or "
    "JSONL file of texts."
)
INFO_FILE = "dataset_info.json"  # of each version of a data set
# The feature that examples of each kind are, texts where there is no image.
CONTENTS = {IMAGES: "image", TEXTS: "text"}


def find_prepared(folder: Path) -> str | None:
    """Returns the folder of the prepared TFDS data set that a folder holds.

    Args:
        folder: Path. Of one version of a data set, of a data set or of one of
            its configurations: the newest version counts.

    Returns:
        str; None where the folder holds no TFDS data set.

    Raises:
        ValueError: if it holds several data sets or configurations.
    """
    levels = (INFO_FILE, f"*/{INFO_FILE}", f"*/*/{INFO_FILE}")
    found = [info.parent for level in levels for info in folder.glob(level)]
    names = {path.parent for path in found}
    if len(names) > 1:
        sets = sorted(str(path.relative_to(folder)) for path in names)
        raise ValueError(
            "A task must be one TFDS data set, such as "
            f"`--task {sets[0]} --data_dir {folder}`. "
            f"Received: {folder}, which holds {', '.join(sets)}."
        )
    return str(max(found, key=_version)) if found else None


def _version(folder: Path) -> list[int]:
    return [int(digits) for digits in re.findall(r"\d+", folder.name)]


def task_name(name: str, builder) -> str:
    """Returns what to call the task of a data set that was given by name."""
    if not Path(name).is_dir():
        return name
    return builder.info.full_name.rpartition("/")[0]


def prepared_builder(name: str, data_dir: str | None):
    """Opens a TFDS data set that is already on disk.

    Args:
        name: str. TFDS name, such as "cifar100" or "clevr:3.*.*", or a folder
            of `find_prepared`.
        data_dir: str. The folder of data sets, or None for TFDS' default.

    Raises:
        FileNotFoundError: if there is no such data set, or it is not prepared.
        ValueError: if its files are no TFRecords.
    """
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.registered import DatasetNotFoundError

    data_dir = data_dir and os.path.expanduser(data_dir)
    place = f"in {data_dir}" if data_dir else "in TFDS' default folder"
    try:
        if (Path(name) / INFO_FILE).is_file():
            builder = tfds.builder_from_directory(name)
        else:
            builder = tfds.builder(name, data_dir=data_dir, try_gcs=False)
    except (DatasetNotFoundError, ValueError):  # of a name TFDS cannot have
        raise FileNotFoundError(
            f"{TASK_RULE} Received: {name!r}, which is neither a path that "
            f"exists nor a data set {place}."
        ) from None
    if not builder.info.splits:
        raise FileNotFoundError(
            "A TFDS data set must be prepared, for example with "
            f"`tfds build {name}`. Received: {name!r}, not prepared {place}."
        )
    file_format = builder.info.file_format
    if file_format is not None and file_format.value != "tfrecord":
        raise ValueError(
            "A TFDS data set must be prepared as TFRecords (TFDS' default). "
            f"Received: {name!r} as {file_format.value}."
        )
    return builder


def read(builder, split: str) -> LabeledImages:
    """Reads one split of one label an image or text; images stay encoded.

    Labels that are texts become classes: those of the split, sorted.

    Raises:
        ValueError: if the data set has no `image` or `text` and `label`, or
            no such split.
    """
    medium = medium_of(builder)
    names = class_names(builder, "label")
    if not is_single(builder, "label"):
        raise ValueError(
            "A data set of a task must have the features `image` or `text`, "
            f"and `label` (a class). Received: {builder.name} with "
            f"{sorted(builder.info.features)}."
        )
    index = index_split(builder, split, ("label",), CONTENTS[medium])
    labels = index.labels["label"].values.astype("int64")
    if names is None:
        names = index.texts["label"]
    images = LabeledImages(RecordReader(index), labels, names)
    return dataclasses.replace(images, name=index.name_of, medium=medium)


def medium_of(builder) -> str:
    """Tells whether a data set is of images, or else of texts.

    Raises:
        ValueError: if it has neither the feature `image` nor `text`.
    """
    import tensorflow_datasets as tfds

    feature = dict(builder.info.features).get(CONTENTS[TEXTS])
    has_image = CONTENTS[IMAGES] in builder.info.features
    if isinstance(feature, tfds.features.Text) and not has_image:
        return TEXTS
    check_image(builder)
    return IMAGES


def check_image(builder) -> None:
    """Raises unless the data set has the feature `image`."""
    import tensorflow_datasets as tfds

    features = builder.info.features
    if not isinstance(dict(features).get("image"), tfds.features.Image):
        raise ValueError(
            "A data set of images must have the feature `image`. "
            f"Received: {builder.name} with {sorted(features)}."
        )


def class_names(builder, key: str) -> list[str] | None:
    """Names the classes of a label feature; None where it is of texts.

    Raises:
        ValueError: if there is no such feature, or it is no label.
    """
    import tensorflow as tf
    import tensorflow_datasets as tfds

    features = builder.info.features
    if key not in features:
        raise ValueError(
            f"The data set has the features {sorted(features)}. "
            f"Received: {key!r}."
        )
    inner = getattr(features[key], "feature", features[key])
    if isinstance(inner, tfds.features.ClassLabel):
        return list(inner.names)
    if inner.shape != () or inner.tf_dtype != tf.string:
        raise ValueError(
            "A label must be a class or a text, or a sequence of either. "
            f"Received: {key!r} of {builder.name}, {type(inner).__name__}."
        )
    return None


def is_single(builder, key: str) -> bool:
    """Tells whether a label feature holds one label an image."""
    return not hasattr(builder.info.features[key], "feature")


def read_labels(builder, split: str, key: str) -> tuple[LabelRows, list[str]]:
    """Reads a label feature alone, one label an image or several.

    Returns:
        LabelRows, and the names that its values are places in.

    Raises:
        ValueError: if there is no such feature or split.
    """
    names = class_names(builder, key)
    index = index_split(builder, split, (key,), content=None)
    return index.labels[key], names or index.texts.get(key, [])


def index_split(
    builder,
    split: str,
    label_keys: tuple[str, ...],
    content: str | None = CONTENTS[IMAGES],
) -> RecordIndex:
    """Finds the examples of a split, in their order on disk.

    Args:
        builder: TFDS builder.
        split: str. Such as "train", "train[:1000]" or "train+test".
        label_keys: names of the features that are labels.
        content: str. The feature that the examples are, "image" or "text";
            None to look at labels alone.

    Raises:
        ValueError: if there is no such split, it is empty, or a label is no
            class.
    """
    index = index_features(builder, split, label_keys, content)
    for key in label_keys:
        names, values = class_names(builder, key), index.labels[key].values
        # TFDS writes -1 where a label is secret.
        wrong = () if names is None else values[values < 0]
        if len(wrong):
            raise ValueError(
                f"Each image must have a class as its {key!r}. Received: "
                f"{wrong[0]} in {split!r} of {builder.name}."
            )
    return index


def index_features(
    builder,
    split: str,
    keys: tuple[str, ...],
    content: str | None = CONTENTS[IMAGES],
) -> RecordIndex:
    """As `index_split`, of any features, which may be inner ones.

    Args:
        keys: names as in the files, such as "objects/type".

    Raises:
        ValueError: if there is no such split or feature, or it is empty.
    """
    bases = {part.partition("[")[0].strip() for part in split.split("+")}
    if not bases <= set(builder.info.splits):
        raise ValueError(
            f"{builder.name} has the splits {sorted(builder.info.splits)}. "
            f"Received: {split!r}."
        )
    parts = builder.info.splits[split].file_instructions
    if not parts:
        raise ValueError(
            f"A split must hold images. Received: {split!r} of {builder.name}."
        )
    return index_files(
        [part.filename for part in parts],
        content,
        keys,
        [(part.skip, None if part.take < 0 else part.take) for part in parts],
    )
