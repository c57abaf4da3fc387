"""Prepared TFDS data sets, read without decoding the images."""

from keras_experts.data.labeled_images import LabeledImages


def prepared_builder(name: str, data_dir: str | None):
    """Opens a TFDS data set that is already on disk.

    Args:
        name: str. TFDS name, such as "cifar100" or "clevr:3.*.*".
        data_dir: str. The folder of data sets, or None for TFDS' default.

    Raises:
        FileNotFoundError: if there is no such data set, or it is not prepared.
        ValueError: if it has no `image` and `label`.
    """
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.registered import DatasetNotFoundError

    place = f"in {data_dir}" if data_dir else "in TFDS' default folder"
    try:
        builder = tfds.builder(name, data_dir=data_dir, try_gcs=False)
    except (DatasetNotFoundError, ValueError):  # of a name TFDS cannot have
        raise FileNotFoundError(
            "A task must be a TFDS name, a folder of images or an .npz. "
            f"Received: {name!r}, which is no path and no data set {place}."
        ) from None
    if not builder.info.splits:
        raise FileNotFoundError(
            "A TFDS data set must be prepared, for example with "
            f"`tfds build {name}`. Received: {name!r}, not prepared {place}."
        )
    return builder


def read(builder, split: str) -> LabeledImages:
    """Reads one split; images stay encoded.

    Raises:
        ValueError: if the data set has no `image` and `label`, or no such
            split.
    """
    features = builder.info.features
    label = features["label"] if "label" in features else None
    names = getattr(label, "names", None)
    if "image" not in features or names is None:
        raise ValueError(
            "A data set of labelled images must have the features `image` and "
            f"`label` (a class). Received: {builder.name} with "
            f"{sorted(features)}."
        )
    dataset = read_raw(builder, split)
    number = builder.info.splits[split].num_examples
    return LabeledImages(dataset, number, list(names))


def read_raw(builder, split: str, keys: tuple[str, ...] | None = None):
    """Gives the examples of a split in their order on disk.

    Args:
        builder: TFDS builder.
        split: str. Such as "train" or "train[:1000]".
        keys: names of the features to read, or None for all.

    Raises:
        ValueError: if there is no such split.
    """
    import tensorflow_datasets as tfds

    base = split.partition("[")[0]
    if base not in builder.info.splits:
        raise ValueError(
            f"{builder.name} has the splits {sorted(builder.info.splits)}. "
            f"Received: {split!r}."
        )
    decoders = {}
    if keys:
        decoders = tfds.decode.PartialDecoding({key: True for key in keys})
    elif "image" in builder.info.features:
        decoders = {"image": tfds.decode.SkipDecoding()}
    # One shard after the other: TFDS would interleave sixteen.
    config = tfds.ReadConfig(try_autocache=False, interleave_cycle_length=1)
    return builder.as_dataset(
        split=split,
        decoders=decoders,
        shuffle_files=False,
        read_config=config,
    )
