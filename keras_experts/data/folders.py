"""Folders with one sub-folder of images per class."""

import dataclasses
import hashlib
import os
import warnings
from collections.abc import Callable
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from keras_experts.checks import check_utf8
from keras_experts.checks import first_line
from keras_experts.console import progress
from keras_experts.console import say
from keras_experts.data import listing
from keras_experts.data.image_files import read_checked
from keras_experts.data.image_files import to_readable
from keras_experts.data.labeled_images import LabeledImages
from keras_experts.data.listing import Skipped
from keras_experts.data.splits import split_of

LAYOUT = "A folder of images must have one sub-folder of images per class"
READERS = 8  # threads
MAX_NAMES = 5  # of folders that a message names
# Of a folder; files above that are read again when they are wanted.
KEPT_BYTES = 2**31


@dataclasses.dataclass(frozen=True)
class ImageFile:
    """An image file that was read.

    Attributes:
        path: Path.
        label: int.
        digest: bytes. SHA-256 of the file.
        content: bytes. What TensorFlow decodes correctly; None where it is
            not kept in memory.
    """

    path: Path
    label: int
    digest: bytes
    content: bytes | None

    def read(self) -> bytes:
        """Returns the content, kept or read again.

        Raises:
            OSError: if the file changed.
        """
        if self.content is not None:
            return self.content
        content = self.path.read_bytes()
        if hashlib.sha256(content).digest() != self.digest:
            raise OSError(
                "A folder of images must not change while it is read. "
                f"Received: {self.path}, which did."
            )
        return to_readable(content)


def list_classes(folder: Path, skipped: Skipped) -> dict[str, list[Path]]:
    """Lists the images of each class, the classes sorted by name.

    Args:
        folder: Path. Of one sub-folder per class.
        skipped: Skipped, to which the other files are added.

    Raises:
        ValueError: if there is no class, a class has no image, or a name is
            not valid UTF-8.
    """
    names = listing.list_folders(folder, skipped)
    if not names:
        kept = f"no sub-folder ({skipped})" if skipped else "nothing in it"
        raise ValueError(f"{LAYOUT}. Received: {folder} with {kept}.")
    images = {}
    for name in names:
        check_utf8("The folder of a class", folder / name)
        images[name] = listing.list_images(folder / name, skipped, [folder])
        if not images[name]:
            raise ValueError(
                "Each class must have images. "
                f"Received: {folder / name} with none."
            )
    return images


def check_layout(folder: Path, images: dict[str, list[Path]]) -> None:
    """Raises where the sub-folders seem not to be the classes of a task.

    Args:
        folder: Path.
        images: of `list_classes`.

    Raises:
        ValueError: if there is one sub-folder, or sub-folders hold splits;
            says what was found, and which folder to pass instead.
    """
    if len(images) == 1:
        _explain_single(folder, *images.values())
    inner = [
        {path.relative_to(folder / name).parts[0] for path in paths}
        for name, paths in images.items()
    ]
    shared = set.intersection(*inner)
    shared -= {path.name for paths in images.values() for path in paths}
    if any(split_of(name) for name in shared):
        raise ValueError(
            "Training and test images must be in train/ and test/, with one "
            "sub-folder per class in each. "
            f"Received: {folder} with {shown(shared)} inside {shown(images)}."
        )
    is_nested = all(
        path.parent != folder / name
        for name, paths in images.items()
        for path in paths
    )
    if is_nested and len(shared) > 1:
        say(
            f"{folder.resolve().name}: the classes are {shown(images)}; "
            f"{shown(shared)} inside each of them are not told apart"
        )


def read(
    folder: Path, images: dict[str, list[Path]], skipped: Skipped
) -> list[ImageFile]:
    """Reads and checks all images of all classes.

    Args:
        folder: Path.
        images: of `list_classes`.
        skipped: Skipped, to which the files that cannot be decoded are added.

    Raises:
        ValueError: if no image of a class can be decoded.
    """
    jobs = [
        (path, label)
        for label, paths in enumerate(images.values())
        for path in paths
    ]
    files: list[ImageFile] = []
    failed: dict[int, str] = {}
    kept = 0
    with (
        warnings.catch_warnings(),  # here, as it is not for threads
        progress(f"reading {folder.resolve().name}", len(jobs)) as bar,
        ThreadPoolExecutor(READERS) as pool,
    ):
        warnings.simplefilter("ignore")
        for (path, label), file in zip(
            jobs, pool.map(_attempt, jobs), strict=True
        ):
            bar.advance(1)
            if isinstance(file, str):
                failed.setdefault(label, f"{path}: {file}")
                skipped.add(listing.UNREADABLE, path, file)
                continue
            if kept + len(file.content) > KEPT_BYTES:
                file = dataclasses.replace(file, content=None)
            else:
                kept += len(file.content)
            files.append(file)
    for label in sorted(failed.keys() - {file.label for file in files}):
        raise ValueError(
            "Each class must have an image that can be read. Received: "
            f"{folder / list(images)[label]} with none; {failed[label]}."
        )
    return files


def to_images(files: list[ImageFile], names: list[str]) -> LabeledImages:
    """Builds a set of files that were read, in their order."""
    return LabeledImages(
        _reader(lambda index: files[index].read()),
        np.array([file.label for file in files], np.int64),
        names,
        name=lambda index: str(files[index].path),
    )


def from_paths(paths: list[str], names: list[str]) -> LabeledImages:
    """Builds a set of files that are read when they are wanted, unlabeled.

    What is not an image becomes one of no bytes, which does not decode.

    Raises:
        ValueError: if there is no path.
    """
    if not paths:
        raise ValueError("A set of images must have one. Received: none.")

    def read(index: int) -> bytes:
        content = Path(paths[index]).read_bytes()
        try:
            return to_readable(content)
        except Exception:
            return b""

    labels = np.full(len(paths), -1, np.int64)
    return LabeledImages(_reader(read), labels, names, name=paths.__getitem__)


def _reader(read_one: Callable[[int], bytes]) -> Callable:
    def read(indices: np.ndarray) -> np.ndarray:
        contents = np.empty(len(indices), object)
        for position, index in enumerate(indices):
            contents[position] = read_one(index)
        return contents

    return read


def _attempt(job: tuple[Path, int]) -> ImageFile | str:
    """Reads a file, or returns what is wrong with it."""
    path, label = job
    try:
        content, digest = read_checked(path)
        return ImageFile(path, label, digest, content)
    except Exception as error:
        return first_line(error)


def _explain_single(folder: Path, paths: list[Path]) -> None:
    """Raises on one sub-folder, and names the folder to pass instead."""
    top = Path(os.path.commonpath([path.parent for path in paths]))
    if any(path.parent == top for path in paths):
        raise ValueError(
            f"{LAYOUT}, and at least two classes. Received: {folder} with one: "
            f"{top.relative_to(folder)}/ ({len(paths)} images)."
        )
    inner = {path.relative_to(top).parts[0] for path in paths}
    raise ValueError(
        f"{LAYOUT}. Received: {folder}, whose only sub-folder leads to "
        f"{shown(inner)} in {top}. If these are the classes, pass {top}."
    )


def shown(names: Iterable[str]) -> str:
    """Returns the first names of folders, sorted, for a message."""
    folders = [f"{name}/" for name in sorted(names)]
    if len(folders) > MAX_NAMES:
        folders[MAX_NAMES:] = [f"and {len(folders) - MAX_NAMES} more"]
    return ", ".join(folders)
