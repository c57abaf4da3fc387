"""Folders with one sub-folder of images a class.

A file stays as it is where TensorFlow decodes it to the pixels that people
see. It becomes a PNG when it is read where TensorFlow gives others or none,
where the camera was turned, and above 25 megapixels. What becomes a PNG is
halved as long as its short side keeps 1024 pixels.
"""

import contextlib
import dataclasses
import hashlib
import io
import threading
import warnings
from collections.abc import Callable
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_experts.checks import check_utf8
from keras_experts.checks import first_line
from keras_experts.console import progress
from keras_experts.console import say
from keras_experts.data.labeled_images import LabeledImages
from keras_experts.data.preprocessing import decode

ENDINGS = (".avif", ".bmp", ".gif", ".jfif", ".jpeg", ".jpg", ".png")
ENDINGS += (".tif", ".tiff", ".webp")
# Photos too, which Pillow does not read: named, not passed over in silence.
UNREAD_ENDINGS = (".heic", ".heif")
KINDS = ("AVIF", "BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")  # Pillow's names
# TensorFlow takes 15 bytes a pixel to scale an image, for many at a time.
MAX_PIXELS = 25_000_000
MIN_SIDE = 1024
READERS = 8  # threads
NAMED = 5  # of the files that are left out
# Of a folder; files above that are read again when they are wanted.
KEPT_BYTES = 2**31
# EXIF's orientations, and what Pillow calls the way back.
ORIENTATION = 0x0112
TURNS = {
    **{2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM"},
    **{5: "TRANSPOSE", 6: "ROTATE_270", 7: "TRANSVERSE", 8: "ROTATE_90"},
}
# Without one of these in a PNG Pillow decodes all of it to look for EXIF.
PNG_NOTES = (b"eXIf", b"Raw profile type exif", b"XML:com.adobe.xmp")
_one_large = threading.Lock()


@dataclasses.dataclass(frozen=True)
class ImageFile:
    """An image file that was read.

    Attributes:
        path: Path.
        label: int.
        digest: bytes. SHA-256 of the file.
        content: bytes. What TensorFlow decodes right; None where it is not
            kept in memory.
    """

    path: Path
    label: int
    digest: bytes
    content: bytes | None

    def read(self) -> bytes:
        """Gives the content, kept or read again.

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
        return _readable(content)


def class_names(folder: Path) -> list[str]:
    """Lists the sub-folders, sorted.

    Raises:
        ValueError: if there is none, or a name is not valid UTF-8.
    """
    names = sorted(
        path.name
        for path in folder.iterdir()
        # The second is what macOS puts into archives.
        if path.is_dir() and not path.name.startswith((".", "__MACOSX"))
    )
    if not names:
        raise ValueError(
            "A folder of images must have one sub-folder a class. "
            f"Received: {folder} with none."
        )
    for name in names:
        check_utf8("The folder of a class", folder / name)
    return names


def list_images(folder: Path) -> list[Path]:
    """Lists the image files below a folder, sorted; not what is hidden."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in ENDINGS + UNREAD_ENDINGS
        and not any(p.startswith(".") for p in path.relative_to(folder).parts)
        and path.is_file()
    )


def read(folder: Path, names: list[str]) -> list[ImageFile]:
    """Reads and checks all images of all classes.

    What cannot be decoded is named on stderr and left out.

    Raises:
        ValueError: if a class has no image, or none that can be decoded.
    """
    jobs = _list_classes(folder, names)
    files: list[ImageFile] = []
    failed: dict[Path, str] = {}
    kept = 0
    with (
        warnings.catch_warnings(),  # here, as it is not for threads
        progress(f"reading {folder.resolve().name}", len(jobs)) as bar,
        ThreadPoolExecutor(READERS) as pool,
    ):
        warnings.simplefilter("ignore")
        for (path, _), file in zip(jobs, pool.map(_attempt, jobs), strict=True):
            bar.advance(1)
            if isinstance(file, str):
                failed[path] = file
                continue
            if kept + len(file.content) > KEPT_BYTES:
                file = dataclasses.replace(file, content=None)
            else:
                kept += len(file.content)
            files.append(file)
    good = {file.label for file in files}
    for path, label in jobs:
        if label not in good:
            raise ValueError(
                "Each class must have an image that can be read. Received: "
                f"{folder / names[label]} with none; {path}: {failed[path]}."
            )
    name_left_out(failed)
    return files


def read_image(path: Path) -> bytes:
    """Reads an image file, and makes sure that it can be decoded.

    Returns:
        What TensorFlow decodes to the pixels that people see.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not an image, or damaged.
    """
    content = path.read_bytes()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _checked(content)
    except Exception as error:
        raise ValueError(
            "An image file must be whole and readable. "
            f"Received: {path} ({first_line(error)})."
        ) from error


def name_left_out(failed: Mapping[object, str]) -> None:
    """Says on stderr of the first images what was wrong with them."""
    for name in list(failed)[:NAMED]:
        say(f"Left out {name}: {failed[name]}")
    if len(failed) > NAMED:
        say(f"and {len(failed) - NAMED} more")


def to_images(files: list[ImageFile], names: list[str]) -> LabeledImages:
    """Makes a set of files that were read, in their order."""
    return LabeledImages(
        _reader(lambda index: files[index].read()),
        np.array([file.label for file in files], np.int64),
        names,
        name=lambda index: str(files[index].path),
    )


def from_paths(paths: list[str], names: list[str]) -> LabeledImages:
    """Makes a set of files that are read when they are wanted, without labels.

    What is no image becomes one of no bytes, which does not decode.

    Raises:
        ValueError: if there is no path.
    """
    if not paths:
        raise ValueError("A set of images must have one. Received: none.")

    def read(index: int) -> bytes:
        content = Path(paths[index]).read_bytes()
        try:
            return _readable(content)
        except Exception:
            return b""

    labels = np.full(len(paths), -1, np.int64)
    return LabeledImages(_reader(read), labels, names, name=paths.__getitem__)


def _reader(read_one: Callable[[int], bytes]) -> Callable:
    def read(indices: np.ndarray) -> np.ndarray:
        contents = np.empty(len(indices), object)
        for place, index in enumerate(indices):
            contents[place] = read_one(index)
        return contents

    return read


def _list_classes(folder: Path, names: list[str]) -> list[tuple[Path, int]]:
    jobs = []
    for label, name in enumerate(names):
        paths = list_images(folder / name)
        if not paths and (folder / name).exists():
            raise ValueError(
                f"Each class must have images ({', '.join(ENDINGS)}). "
                f"Received: {folder / name} with none."
            )
        jobs += [(path, label) for path in paths]
    return jobs


def _attempt(job: tuple[Path, int]) -> ImageFile | str:
    """Reads a file, or tells what is wrong with it."""
    path, label = job
    try:
        content = path.read_bytes()
        digest = hashlib.sha256(content).digest()
        return ImageFile(path, label, digest, _checked(content))
    except Exception as error:
        return first_line(error)


def _checked(content: bytes) -> bytes:
    """Gives what TensorFlow decodes right, and makes sure that it does."""
    readable = _readable(content)
    if readable is content:
        # Each forgives damage that the other does not; Pillow is silent,
        # TensorFlow is what decodes in the end.
        _open(content).load()
        decode(tf.constant(content))
    return readable


def _readable(content: bytes) -> bytes:
    """Gives what TensorFlow decodes right: the content itself, or a PNG."""
    image = _open(content)
    size = image.size
    is_large = size[0] * size[1] > MAX_PIXELS
    if not is_large and _is_plain(image, content):
        return content
    factor = 1
    while min(size) // (2 * factor) >= MIN_SIDE:
        factor *= 2
    # Large ones one at a time: each may take a gigabyte.
    with _one_large if is_large else contextlib.nullcontext():
        image.draft(None, (size[0] // factor, size[1] // factor))  # of a JPEG
        pixels = _to_rgb(image)
        turn = _turn(image)  # after loading: a TIFF is turned by that
        if not is_large and turn is None and _decodes_to(content, pixels):
            return content
        if pixels.size == size:
            pixels = pixels.reduce(factor)
        if turn is not None:
            pixels = pixels.transpose(turn)
    buffer = io.BytesIO()
    pixels.save(buffer, "PNG", compress_level=1)  # more is slow, and gains 10 %
    return buffer.getvalue()


def _open(content: bytes):
    """Opens an image of a known kind; others could run programs."""
    from PIL import Image

    Image.init()
    kinds = [kind for kind in KINDS if kind in Image.OPEN]
    try:
        return Image.open(io.BytesIO(content), formats=kinds)
    except Image.UnidentifiedImageError:
        reason = "no image of a known kind" if content else "an empty file"
        if content[4:8] == b"ftyp":
            reason = "HEIC or alike, to be converted first, such as to JPEG"
        raise ValueError(reason) from None


def _is_plain(image, content: bytes) -> bool:
    """Tells whether TensorFlow is known to decode a file as Pillow does."""
    if image.format == "PNG":
        has_notes = any(note in content for note in PNG_NOTES)
        return not has_notes or _turn(image) is None
    if image.format in ("JPEG", "MPO"):
        # Inks are inverted: TensorFlow knows by Adobe's mark, Pillow always.
        is_marked = image.mode != "CMYK" or "adobe" in image.info
        return is_marked and _turn(image) is None
    return False


def _turn(image) -> int | None:
    from PIL import Image

    try:
        return Image.Transpose[TURNS[image.getexif()[ORIENTATION]]]
    except Exception:
        return None  # no notes, or damaged ones beside whole pixels


def _to_rgb(image):
    """Loads an image, and drops what is no colour of eight bits.

    Raises:
        ValueError: if the range of its values is not known.
    """
    from PIL import Image

    if image.mode in ("I", "F") and image.format != "PNG":
        raise ValueError("pixels of 32 bits, of which the range is not known")
    if image.mode.startswith("I"):
        # Pillow's own conversion clips 16 bits where TensorFlow scales them.
        high = np.asarray(image) >> 8
        image = Image.fromarray(high.astype(np.uint8))
    if image.mode == "P":
        image = image.convert("RGBA")  # or Pillow warns of transparency
    return image.convert("RGB")


def _decodes_to(content: bytes, pixels) -> bool:
    try:
        decoded = decode(tf.constant(content)).numpy()
    except tf.errors.OpError:
        return False
    return np.array_equal(decoded, np.asarray(pixels))
