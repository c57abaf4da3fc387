"""A set of images with labels, of which any can be read at any time.

Texts are kept in the same way: each as the bytes of its UTF-8.
"""

import dataclasses
import io
from collections.abc import Callable
from collections.abc import Sequence

import numpy as np

from keras_experts.data.label_rows import LabelRows
from keras_experts.mediums import IMAGES


@dataclasses.dataclass(frozen=True)
class LabeledImages:
    """Labelled images in a fixed order, decoded only when batches are made.

    Attributes:
        read: function of int64 indices `(k,)` to the images: an object array
            of k encoded images or texts (bytes), or uint8 `(k, height,
            width, 3)`.
        labels: int64 array `(num_examples,)`: of each image its class, or -1
            where it has none.
        class_names: list of str. Name of each label.
        nodes: LabelRows. In upstream sets, the rows of the hierarchy of each
            image; else None.
        name: function of an index to what to call that image in a message.
        medium: str. "images" or "texts".
    """

    read: Callable[[np.ndarray], np.ndarray]
    labels: np.ndarray
    class_names: list[str]
    nodes: LabelRows | None = None
    name: Callable[[int], str] = "image {}".format
    medium: str = IMAGES

    def __post_init__(self):
        labels = self.labels
        if not (
            isinstance(labels, np.ndarray)
            and labels.ndim == 1
            and np.issubdtype(labels.dtype, np.integer)
        ):
            described = type(labels).__name__
            if isinstance(labels, np.ndarray):
                described = f"{labels.dtype} {labels.shape}"
            raise ValueError(
                "`labels` must be an array of whole numbers, shape (n,). "
                f"Received: {described}."
            )

    @property
    def num_examples(self) -> int:
        """Number of images."""
        return len(self.labels)

    def subset(self, indices: np.ndarray) -> "LabeledImages":
        """Gives the images of these indices, in their order."""
        indices = np.asarray(indices, np.int64)
        read, name = self.read, self.name
        return dataclasses.replace(
            self,
            read=lambda places: read(indices[places]),
            name=lambda place: name(int(indices[place])),
            labels=self.labels[indices],
            nodes=None if self.nodes is None else self.nodes.take(indices),
        )

    def take(self, num_examples: int) -> "LabeledImages":
        """Gives the first images."""
        return self.subset(np.arange(min(num_examples, self.num_examples)))


def concatenate(parts: Sequence[LabeledImages]) -> LabeledImages:
    """Puts the images of several sets behind one another, without labels.

    Pixels become PNG files, unless there is one set.

    Raises:
        ValueError: if some are of images and some of texts.
    """
    mediums = sorted({part.medium for part in parts})
    if len(mediums) > 1:
        raise ValueError(
            "Sets that are read together must all be of images or of texts. "
            f"Received: {' and '.join(mediums)}."
        )
    total = sum(part.num_examples for part in parts)
    labels = np.full(total, -1, np.int64)
    if len(parts) == 1:
        return dataclasses.replace(parts[0], labels=labels, nodes=None)
    ends = np.cumsum([part.num_examples for part in parts])

    def place(index: int) -> tuple[LabeledImages, int]:
        owner = int(np.searchsorted(ends, index, side="right"))
        return parts[owner], int(
            index - ends[owner] + parts[owner].num_examples
        )

    def read(indices: np.ndarray) -> np.ndarray:
        images = np.empty(len(indices), object)
        for row, index in enumerate(indices):
            part, inner = place(index)
            (image,) = part.read(np.array([inner]))
            images[row] = encoded(image)
        return images

    def name(index: int) -> str:
        part, inner = place(index)
        return part.name(inner)

    return LabeledImages(read, labels, [], None, name, mediums[0])


def join(parts: Sequence[LabeledImages]) -> LabeledImages:
    """Puts sets of the same classes behind one another, with their labels."""
    return dataclasses.replace(
        concatenate(parts),
        labels=np.concatenate([part.labels for part in parts]),
        class_names=parts[0].class_names,
    )


def encoded(image: bytes | np.ndarray) -> bytes:
    """Returns the file of an image, a PNG file where it is pixels."""
    if isinstance(image, bytes):
        return image
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def from_arrays(
    images: np.ndarray, labels: np.ndarray, class_names: list[str]
) -> LabeledImages:
    """Builds a set of uint8 images `(n, height, width[, 1 or 3])` in memory.

    Raises:
        ValueError: if shapes or the type do not fit, or a label is not a class.
    """
    images, labels = np.asarray(images), np.asarray(labels)
    if images.ndim == 3 and images.shape[-1] in (1, 3):
        raise ValueError(
            "`images` must have shape (n, height, width[, 1 or 3]). "
            f"Received: {images.shape}, which is one image: pass `image[None]`."
        )
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise ValueError(
            "`images` must have shape (n, height, width[, 1 or 3]). "
            f"Received: {images.shape}."
        )
    if images.dtype != np.uint8:
        raise ValueError(
            "`images` must be uint8, values 0 to 255. "
            f"Received: {images.dtype}."
        )
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.shape != (len(images),):
        raise ValueError(
            "`images` and `labels` must have the same length. "
            f"Received: {len(images)} images, labels of {labels.shape}."
        )
    if len(labels) and not (
        np.issubdtype(labels.dtype, np.integer)
        and 0 <= labels.min()
        and labels.max() < len(class_names)
    ):
        raise ValueError(
            f"`labels` must be whole numbers in [0, {len(class_names)}). "
            f"Received: {labels.dtype} with {np.unique(labels)[:10]}."
        )
    images = np.broadcast_to(images, (*images.shape[:3], 3))
    return LabeledImages(
        lambda indices: images[indices],
        labels.astype(np.int64),
        list(class_names),
    )


def from_contents(
    contents: list[bytes], labels: Sequence[int], class_names: list[str]
) -> LabeledImages:
    """Makes a set of encoded images or texts in memory."""
    encoded = np.array(contents, object)
    return LabeledImages(
        lambda indices: encoded[indices],
        np.array(labels, np.int64),
        class_names,
    )
