"""Folders of images with their training, validation and test splits."""

from pathlib import Path

from keras_experts.checks import check_utf8
from keras_experts.console import say
from keras_experts.data import folders
from keras_experts.data import listing
from keras_experts.data.labeled_images import LabeledImages
from keras_experts.data.listing import Skipped
from keras_experts.data.splits import TEST
from keras_experts.data.splits import TRAIN
from keras_experts.data.splits import choose_splits
from keras_experts.data.splits import find_splits
from keras_experts.data.splits import split_digests
from keras_experts.data.splits import split_of

LAYOUT = (
    "A folder of images must have one sub-folder of images per class, or "
    "train/ and test/ with such sub-folders in each"
)


def read_splits(
    folder: Path, with_validation: bool
) -> dict[str, LabeledImages]:
    """Reads the splits of a folder of images; says what is skipped.

    Args:
        folder: Path. Of one sub-folder per class, or of `train/` and maybe
            `validation/` and `test/` with such sub-folders. Without a test
            split, the validation split is one; without both, a fifth of the
            images by the hash of their files.
        with_validation: bool. Whether to read a validation split that stands
            beside a test split.

    Returns:
        dict of "train" and "test", and of "validation" where it is read, to
        LabeledImages of the same classes.

    Raises:
        ValueError: if the folder has another layout, a class has no image
            that can be read, or other splits have a class that `train/` has
            not.
    """
    name, skipped = folder.resolve().name, Skipped(folder)
    check_utf8("The name of a folder of images", name)
    found = _find_split_folders(folder, skipped)
    is_split = TRAIN in found
    top = folder / found[TRAIN] if is_split else folder
    classes = folders.list_classes(top, skipped)
    folders.check_layout(top, classes)
    if is_split:
        listing.list_folders(folder, skipped)  # what lies beside the splits
        found = choose_splits(name, found, with_validation)
    listed = {
        split: _list_split(folder / found[split], classes, skipped)
        for split in found
        if split != TRAIN
    }
    files = {TRAIN: folders.read(top, classes, skipped)}
    for split, images in listed.items():
        files[split] = folders.read(folder / found[split], images, skipped)
    num_images = sum(map(len, files.values()))
    skipped.say(f"{num_images} images in {len(classes)} classes")
    train, held_out = split_digests([file.digest for file in files[TRAIN]])
    if TEST in files:  # all of them, in the order of the hash
        files[TRAIN].sort(key=lambda file: file.digest)
    else:
        files[TEST] = [files[TRAIN][i] for i in held_out]
        files[TRAIN] = [files[TRAIN][i] for i in train]
    return {
        split: folders.to_images(files[split], list(classes)) for split in files
    }


def _list_split(
    folder: Path, classes: dict[str, list[Path]], skipped: Skipped
) -> dict[str, list[Path]]:
    """Lists the images of each training class in another split."""
    images = folders.list_classes(folder, skipped)
    unknown = images.keys() - classes.keys()
    if unknown:
        raise ValueError(
            f"The classes of {folder.name}/ must be among those of the "
            f"training split. Received: {folder} with "
            f"{folders.shown(unknown)}."
        )
    return {name: images.get(name, []) for name in classes}


def _find_split_folders(folder: Path, skipped: Skipped) -> dict[str, str]:
    """Returns the name of each split's folder; an empty dict without splits.

    A folder with the name of a split is one if all its images are in
    sub-folders: a class may be called "train" too.

    Raises:
        ValueError: if it is not clear what is a split and what is a class.
    """
    names = listing.list_folders(folder, Skipped())
    named = [name for name in names if split_of(name)]
    if not named:
        return {}
    inner = {name: _inner_folders(folder, name) for name in names}
    splits = [name for name in named if inner[name] and None not in inner[name]]
    if not any(split_of(name) == TRAIN for name in splits):
        _check_without_splits(folder, inner, splits)
        return {}
    beside = [name for name in inner if name not in named and inner[name]]
    if beside:
        raise ValueError(
            f"{LAYOUT}, not both. Received: {folder} with "
            f"{folders.shown(splits)} beside {folders.shown(beside)}."
        )
    for name in inner.keys() - set(splits):
        if inner[name]:
            reason = "it has images outside class folders"
            say(f"{folder.resolve().name}: {name}/ is not used: {reason}")
        else:
            skipped.add(listing.EMPTY_FOLDER, folder / name)
    found = find_splits(named, folder)
    return {split: name for split, name in found.items() if name in splits}


def _inner_folders(folder: Path, name: str) -> set[str | None]:
    """Returns the sub-folders that hold a folder's images; None for itself."""
    images = listing.list_images(folder / name, Skipped(), [folder])
    parts = [path.relative_to(folder / name).parts for path in images]
    return {part[0] if len(part) > 1 else None for part in parts}


def _check_without_splits(
    folder: Path, inner: dict[str, set], splits: list[str]
) -> None:
    """Raises where folders without a training split are hardly classes."""
    is_each_named = all(map(split_of, inner)) and len(inner) > 1
    if is_each_named and not splits and any(inner.values()):
        raise ValueError(
            f"{LAYOUT}. Received: {folder} with {folders.shown(inner)}, which "
            "have images outside class folders."
        )
    if is_each_named or any(inner[name] & inner.keys() for name in splits):
        raise ValueError(
            f"{LAYOUT}. Received: {folder} with {folders.shown(inner)}, of "
            f"which {folders.shown(splits)} has class folders, but no train/."
        )
    classes = folders.shown(name for name in inner if split_of(name))
    say(
        f"{folder.resolve().name}: {classes} is read as a class, not as a "
        "split, beside the other folders of images"
    )
