"""Folders with one sub-folder of images a class."""

import dataclasses
import io
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_experts.checks import first_line
from keras_experts.data.labeled_images import LabeledImages
from keras_experts.data.labeled_images import from_contents
from keras_experts.data.preprocessing import decode

# What TensorFlow decodes right; of BMP it ignores the palette.
ENDINGS = (".gif", ".jpeg", ".jpg", ".png")


@dataclasses.dataclass(frozen=True)
class ImageFile:
    """An image file that was read.

    Attributes:
        path: Path.
        content: bytes. Encoded.
        label: int.
    """

    path: Path
    content: bytes
    label: int


def class_names(folder: Path) -> list[str]:
    """Lists the sub-folders, sorted.

    Raises:
        ValueError: if there is none.
    """
    names = sorted(
        path.name
        for path in folder.iterdir()
        if path.is_dir() and not path.name.startswith(".")
    )
    if not names:
        raise ValueError(
            "A folder of images must have one sub-folder a class. "
            f"Received: {folder} with none."
        )
    return names


def list_images(folder: Path) -> list[Path]:
    """Lists the image files below a folder, sorted."""
    return sorted(
        path for path in folder.rglob("*") if path.suffix.lower() in ENDINGS
    )


def read(folder: Path, names: list[str]) -> list[ImageFile]:
    """Reads and checks all images of all classes.

    Raises:
        ValueError: if a class has no image, or a file is no image that can be
            decoded; it is named.
    """
    files = []
    for label, name in enumerate(names):
        paths = list_images(folder / name)
        if not paths and (folder / name).exists():
            raise ValueError(
                f"Each class must have images ({', '.join(ENDINGS)}). "
                f"Received: {folder / name} with none."
            )
        files += [ImageFile(p, read_image(p), label) for p in paths]
    return files


def read_image(path: Path) -> bytes:
    """Reads an image file and makes sure that it can be decoded.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not an image, or damaged.
    """
    from PIL import Image

    content = path.read_bytes()
    try:
        # Each forgives damage that the other does not; Pillow is silent,
        # TensorFlow is what decodes in the end.
        with Image.open(io.BytesIO(content)) as image:
            image.load()
        decode(tf.constant(content))
    except Exception as error:
        raise ValueError(
            "An image file must be whole and readable. "
            f"Received: {path} ({first_line(error)})."
        ) from error
    return content


def to_images(files: list[ImageFile], names: list[str]) -> LabeledImages:
    """Makes a set of files that were read, in their order."""
    return from_contents(
        [file.content for file in files],
        [file.label for file in files],
        names,
    )


def from_paths(paths: list[str], names: list[str]) -> LabeledImages:
    """Makes a set of files that are read when they are wanted, without labels.

    Raises:
        ValueError: if there is no path.
    """
    if not paths:
        raise ValueError("A set of images must have one. Received: none.")

    def read(indices: np.ndarray) -> np.ndarray:
        contents = np.empty(len(indices), object)
        for place, index in enumerate(indices):
            contents[place] = Path(paths[index]).read_bytes()
        return contents

    labels = np.full(len(paths), -1, np.int64)
    return LabeledImages(read, labels, names, name=paths.__getitem__)
