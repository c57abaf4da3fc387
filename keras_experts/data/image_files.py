"""Image files of many kinds, as bytes that TensorFlow decodes correctly.

A file stays as it is where TensorFlow decodes it to the pixels that people
see. It becomes a PNG when it is read where TensorFlow decodes other pixels or
none, where the camera was turned, and above 25 megapixels. What becomes a PNG
is halved as long as its short side keeps 1024 pixels.
"""

import contextlib
import hashlib
import io
import threading
import warnings
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_experts.checks import first_line
from keras_experts.data.listing import RAW_ENDINGS
from keras_experts.data.preprocessing import decode

# Pillow's names. PNG and JPEG are decoded by TensorFlow, the others by Pillow.
KINDS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
# TensorFlow takes 15 bytes a pixel to scale an image, for many at a time.
MAX_PIXELS = 25_000_000
MIN_SIDE = 1024
# EXIF's orientations, and what Pillow calls the way back.
ORIENTATION = 0x0112
TURNS = {
    **{2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM"},
    **{5: "TRANSPOSE", 6: "ROTATE_270", 7: "TRANSVERSE", 8: "ROTATE_90"},
}
# Without one of these in a PNG Pillow decodes all of it to look for EXIF.
PNG_NOTES = (b"eXIf", b"Raw profile type exif", b"XML:com.adobe.xmp")
_one_large = threading.Lock()


def read_image(path: Path) -> bytes:
    """Reads an image file, and makes sure that it can be decoded.

    Returns:
        What TensorFlow decodes to the pixels that people see.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not an image, or damaged.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return read_checked(path)[0]
    except FileNotFoundError:
        raise
    except Exception as error:
        raise ValueError(
            "An image file must be whole and readable. "
            f"Received: {path} ({first_line(error)})."
        ) from error


def read_checked(path: Path) -> tuple[bytes, bytes]:
    """Reads an image file as `read_image` does, with the errors of decoders.

    Returns:
        The content, and the SHA-256 digest of the file.
    """
    content = path.read_bytes()
    if path.suffix.lower() in RAW_ENDINGS:
        # Pillow would read the small preview inside, as a TIFF.
        raise ValueError("a raw photo, which must be converted first")
    readable = to_readable(content)
    if readable is content:
        # Each forgives damage that the other does not; Pillow is silent,
        # TensorFlow is what decodes in the end.
        _open(content).load()
        decode(tf.constant(content))
    return readable, hashlib.sha256(content).digest()


def to_readable(content: bytes) -> bytes:
    """Returns what TensorFlow decodes correctly: the content, or a PNG.

    Raises:
        ValueError: if it is not an image of a known kind.
    """
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
    pixels.save(buffer, "PNG", compress_level=1)  # more is slow, and gains 10%
    return buffer.getvalue()


def _open(content: bytes):
    """Opens an image of a known kind; others could run programs."""
    from PIL import Image

    Image.init()
    kinds = [kind for kind in KINDS if kind in Image.OPEN]
    try:
        return Image.open(io.BytesIO(content), formats=kinds)
    except Image.UnidentifiedImageError:
        reason = "not an image of a known kind" if content else "an empty file"
        if content[4:8] == b"ftyp":
            reason = "HEIC or similar, which must be converted first"
        raise ValueError(reason) from None


def _is_plain(image, content: bytes) -> bool:
    """Returns whether TensorFlow is known to decode a file as Pillow does."""
    if image.format == "PNG":
        has_notes = any(note in content for note in PNG_NOTES)
        return not has_notes or _turn(image) is None
    if image.format in ("JPEG", "MPO"):
        # Inks are inverted: TensorFlow knows by Adobe's mark, Pillow always.
        is_marked = image.mode != "CMYK" or "adobe" in image.info
        return is_marked and _turn(image) is None
    return False


def _turn(image) -> int | None:
    """Returns Pillow's transposition that turns a photo upright, or None."""
    from PIL import Image

    try:
        return Image.Transpose[TURNS[image.getexif()[ORIENTATION]]]
    except Exception:
        return None  # no notes, or damaged ones beside whole pixels


def _to_rgb(image):
    """Loads an image in colors of eight bits, on white where it is transparent.

    Raises:
        ValueError: if the range of its values is not known.
    """
    from PIL import Image

    # Pillow reads PNG and PPM of 16 bits as whole numbers of 32.
    is_deep = image.mode == "I" and image.format in ("PNG", "PPM")
    if image.mode in ("I", "F") and not is_deep:
        raise ValueError("pixels of 32 bits, of which the range is not known")
    if image.mode.startswith("I"):
        # Pillow's own conversion clips 16 bits where TensorFlow scales them.
        high = np.asarray(image) >> 8
        image = Image.fromarray(high.astype(np.uint8))
    if not image.has_transparency_data:
        return image.convert("RGB")
    image = image.convert("RGBA")
    canvas = Image.new("RGB", image.size, "white")
    canvas.paste(image, mask=image.getchannel("A"))  # rounds to nearest
    return canvas


def _decodes_to(content: bytes, pixels) -> bool:
    """Returns whether TensorFlow decodes a file to these pixels."""
    try:
        decoded = decode(tf.constant(content)).numpy()
    except tf.errors.OpError:
        return False
    return np.array_equal(decoded, np.asarray(pixels))
