"""Files of every kind, against Pillow's pixels and NumPy's."""

import io
import resource
import shutil
import struct
import warnings
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from PIL import ImageOps

from keras_experts.data import folders
from keras_experts.data import image_files
from keras_experts.data.listing import Skipped
from keras_experts.data.preprocessing import decode
from keras_experts.data.preprocessing import resize

ROWS, COLUMNS = np.mgrid[:40, :56]
RAMPS = np.stack([ROWS * 6, COLUMNS * 4, ROWS * 3 + COLUMNS * 2], axis=-1)
COLOUR = Image.fromarray(RAMPS.astype(np.uint8))
GREY = COLOUR.convert("L")
FEW = COLOUR.quantize(64)
DEEP = (ROWS * 1500 + COLUMNS * 7).astype(np.uint16)
ALPHA = Image.fromarray((255 - COLUMNS * 4).astype(np.uint8))


def encoded(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def translucent(image):
    image = image.copy()
    image.putalpha(ALPHA)
    return image


def turned(kind, orientation, **options):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(COLOUR, kind, exif=exif, **options)


def png(width, height, bits, colour, rows):
    """A PNG by its specification, for what Pillow does not write."""

    def chunk(name, data):
        check = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + check

    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", data)
        + chunk(b"IEND", b"")
    )


def inks(transform):
    """A JPEG of four inks: Adobe's plain 0 or YCCK 2; None: no mark."""
    content = bytearray(encoded(COLOUR.convert("CMYK"), "JPEG", quality=95))
    start = content.index(b"Adobe")
    if transform is None:
        length = int.from_bytes(content[start - 2 : start], "big")
        del content[start - 4 : start - 2 + length]
    else:
        content[start + 11] = transform
    return bytes(content)


def on_larger_screen():
    """A GIF whose picture fills a part of its screen."""
    content = bytearray(encoded(FEW, "GIF"))
    content[6:10] = struct.pack("<HH", 80, 60)
    return bytes(content)


def frames(kind, **options):
    others = [GREY.convert("RGB"), COLOUR.rotate(180)]
    return encoded(COLOUR, kind, save_all=True, append_images=others, **options)


# What TensorFlow decodes as Pillow does.
KEPT = {
    "png of one bit": lambda: encoded(GREY.convert("1"), "PNG"),
    "png of grey": lambda: encoded(GREY, "PNG"),
    "png of grey and alpha": lambda: encoded(translucent(GREY), "PNG"),
    "png of colour": lambda: encoded(COLOUR, "PNG"),
    "png of colour and alpha": lambda: encoded(translucent(COLOUR), "PNG"),
    "png of one clear colour": lambda: encoded(
        COLOUR, "PNG", transparency=(0, 0, 0)
    ),
    "png of a palette": lambda: encoded(FEW, "PNG"),
    "png of a palette of two bits": lambda: encoded(
        COLOUR.quantize(4), "PNG", bits=2
    ),
    "png of a palette of four bits, one clear": lambda: encoded(
        COLOUR.quantize(16), "PNG", bits=4, transparency=3
    ),
    "png of one bit, one clear": lambda: encoded(
        GREY.convert("1"), "PNG", transparency=0
    ),
    "png of a palette, one clear": lambda: encoded(FEW, "PNG", transparency=3),
    "png of a palette, all translucent": lambda: encoded(
        FEW, "PNG", transparency=bytes(range(0, 256, 4))
    ),
    "png of 48 bits": lambda: png(
        56, 40, 16, 2, [np.repeat(row, 3).tobytes() for row in DEEP.byteswap()]
    ),
    "png of frames": lambda: frames("PNG"),
    "jpeg of grey": lambda: encoded(GREY, "JPEG", quality=95),
    "jpeg of colour": lambda: encoded(COLOUR, "JPEG", quality=95),
    "jpeg, progressive": lambda: encoded(
        COLOUR, "JPEG", quality=95, progressive=True
    ),
    "jpeg of rgb": lambda: encoded(COLOUR, "JPEG", quality=95, keep_rgb=True),
    "jpeg of cmyk": lambda: inks(0),
    "jpeg of ycck": lambda: inks(2),
    "jpeg, upright": lambda: turned("JPEG", 1, quality=95),
    "jpeg of frames": lambda: frames("MPO", quality=95),
    "gif": lambda: encoded(FEW, "GIF"),
    "gif of frames": lambda: frames("GIF"),
    "bmp of colour": lambda: encoded(COLOUR, "BMP"),
    "bmp of grey": lambda: encoded(GREY, "BMP"),
    "bmp of 32 bits": lambda: encoded(translucent(COLOUR), "BMP"),
}
CHANGED = {
    **{
        f"jpeg turned {way}": lambda way=way: turned("JPEG", way, quality=95)
        for way in range(2, 9)
    },
    "jpeg of inks without a mark": lambda: inks(None),
    "png turned": lambda: turned("PNG", 6),
    "gif of one clear colour": lambda: encoded(FEW, "GIF", transparency=3),
    "gif on a larger screen": on_larger_screen,
    "bmp of one bit": lambda: encoded(GREY.convert("1"), "BMP"),
    "bmp of a palette": lambda: encoded(FEW, "BMP"),
    "tiff of one bit": lambda: encoded(GREY.convert("1"), "TIFF"),
    "tiff of colour": lambda: encoded(COLOUR, "TIFF"),
    "tiff turned": lambda: turned("TIFF", 6),
    "tiff of colour and alpha": lambda: encoded(translucent(COLOUR), "TIFF"),
    "tiff of cmyk": lambda: encoded(COLOUR.convert("CMYK"), "TIFF"),
    "tiff of a palette": lambda: encoded(FEW, "TIFF"),
    "tiff of frames": lambda: frames("TIFF"),
    "webp of colour and alpha": lambda: encoded(
        translucent(COLOUR), "WEBP", lossless=True
    ),
    "webp turned": lambda: turned("WEBP", 8, lossless=True),
    "webp of frames": lambda: frames("WEBP", lossless=True),
    "avif": lambda: encoded(COLOUR, "AVIF"),
    "avif of colour and alpha": lambda: encoded(
        translucent(COLOUR), "AVIF", quality=100
    ),
    "ppm": lambda: encoded(COLOUR, "PPM"),
    "pgm": lambda: encoded(GREY, "PPM"),
    "jpeg 2000": lambda: encoded(COLOUR, "JPEG2000"),
    "jpeg 2000 of colour and alpha": lambda: encoded(
        translucent(COLOUR), "JPEG2000"
    ),
}
# Kept by some releases of TensorFlow only.
EITHER = {"webp": lambda: encoded(COLOUR, "WEBP")}
ALL = {**KEPT, **CHANGED, **EITHER}


def people_see(content):
    """Pixels by Pillow, upright, on white, int `(height, width, 3)`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
        pixels = np.asarray(image.convert("RGBA"), np.float64)
    opacity = pixels[..., 3:] / 255
    on_white = pixels[..., :3] * opacity + 255 * (1 - opacity)
    return np.round(on_white).astype(np.int64)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_black_drawing_on_transparency_is_black_on_white(mode, tmp_path):
    drawing = Image.new("RGBA", (30, 20), (0, 0, 0, 0))
    drawing.paste((0, 0, 0, 255), (5, 5, 12, 15))
    drawing.convert(mode).save(tmp_path / "a.png")
    _, pixels = given(tmp_path / "a.png")
    expected = np.full((20, 30, 3), 255)
    expected[5:15, 5:12] = 0
    np.testing.assert_array_equal(pixels, expected)


def given(path):
    """What becomes of a file: its bytes, and the pixels TensorFlow makes."""
    content = image_files.read_image(path)
    return content, decode(tf.constant(content)).numpy().astype(np.int64)


@pytest.mark.parametrize("kind", ALL)
def test_pixels_are_those_that_people_see(kind, tmp_path):
    content = ALL[kind]()
    (tmp_path / "a").write_bytes(content)
    _, pixels = given(tmp_path / "a")
    # Decoders of JPEG differ in how they round.
    tolerance = 8 if kind.startswith("jpeg") else 0
    np.testing.assert_allclose(pixels, people_see(content), atol=tolerance)


@pytest.mark.parametrize("kind", KEPT)
def test_file_that_tensorflow_decodes_stays_as_it_is(kind, tmp_path):
    content = KEPT[kind]()
    (tmp_path / "a").write_bytes(content)
    assert given(tmp_path / "a")[0] == content


@pytest.mark.parametrize("kind", CHANGED)
def test_other_files_become_png(kind, tmp_path):
    (tmp_path / "a").write_bytes(CHANGED[kind]())
    assert given(tmp_path / "a")[0].startswith(b"\x89PNG")


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_of_grey_keep_their_high_byte(kind, tmp_path):
    # Pillow's own conversion would make white of all above 255.
    (tmp_path / "a").write_bytes(encoded(Image.fromarray(DEEP), kind))
    expected = np.repeat(DEEP[..., None] // 256, 3, axis=-1)
    np.testing.assert_array_equal(given(tmp_path / "a")[1], expected)


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_values_of_no_known_range_are_refused(dtype, tmp_path):
    Image.fromarray(ROWS.astype(dtype)).save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match="a.tif .*range is not known"):
        image_files.read_image(tmp_path / "a.tif")


def test_damaged_notes_do_not_spoil_a_photo(tmp_path):
    exif = b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\x01\x12" * 9
    content = encoded(COLOUR, "JPEG", quality=95, exif=exif)
    (tmp_path / "a.jpg").write_bytes(content)
    assert image_files.read_image(tmp_path / "a.jpg") == content


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP"])
def test_large_image_is_halved_down_to_a_short_side(
    kind, tmp_path, monkeypatch
):
    monkeypatch.setattr(image_files, "MAX_PIXELS", 200 * 160 - 1)
    monkeypatch.setattr(image_files, "MIN_SIDE", 40)
    pixels = np.asarray(COLOUR.resize((200, 160)))
    options = {"quality": 95, "subsampling": 0} if kind == "JPEG" else {}
    Image.fromarray(pixels).save(tmp_path / "a", kind, **options)
    content, found = given(tmp_path / "a")
    assert content.startswith(b"\x89PNG")
    means = pixels.reshape(40, 4, 50, 4, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(found, means, atol=5 if options else 0.5)
    monkeypatch.setattr(image_files, "MAX_PIXELS", 200 * 160)
    assert given(tmp_path / "a")[0] == (tmp_path / "a").read_bytes()


def test_photo_of_48_megapixels_is_read(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    photo = Image.new("RGB", (8064, 6048), (200, 100, 50))
    photo.save(tmp_path / "a.jpg", exif=exif)
    _, pixels = given(tmp_path / "a.jpg")
    assert pixels.shape == (2016, 1512, 3)
    np.testing.assert_allclose(
        pixels, np.broadcast_to((200, 100, 50), pixels.shape), atol=2
    )


def test_bomb_is_refused_before_it_goes_off(tmp_path):
    side = 30_000
    row = bytes(side // 8)
    (tmp_path / "a.png").write_bytes(png(side, side, 1, 0, [row] * side))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match="a.png .*exceeds limit"):
        image_files.read_image(tmp_path / "a.png")
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert after - before < 100_000  # KiB


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "an empty file"),
        (b"some text" * 9, "not an image of a known kind"),
        (b"\0\0\0\x18ftypheic" + b"\0" * 90, "HEIC"),
        (encoded(COLOUR, "JPEG", quality=95)[:-300], "truncated"),
        (encoded(COLOUR, "TIFF")[:3000], "truncated"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "known kind"),
    ],
)
def test_what_is_no_image_is_named(content, reason, tmp_path):
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(ValueError, match=f"a.jpg .*{reason}"):
        image_files.read_image(tmp_path / "a.jpg")


def test_files_read_when_they_are_wanted_are_upright_too(tmp_path):
    (tmp_path / "a.jpg").write_bytes(turned("JPEG", 6, quality=95))
    (tmp_path / "b.gif").write_bytes(encoded(FEW, "GIF", transparency=3))
    (tmp_path / "c.jpg").write_bytes(b"no image")
    paths = sorted(map(str, tmp_path.iterdir()))
    images = folders.from_paths(paths, [])

    def pixels(index):
        (content,) = tf.numpy_function(images.read, ([index],), (tf.string,))
        return decode(content[0])

    found = tf.data.Dataset.range(2).map(pixels).as_numpy_iterator()
    for path, one in zip(paths, found):
        with open(path, "rb") as file:
            expected = people_see(file.read())
        np.testing.assert_allclose(one.astype(np.int64), expected, atol=5)
    (content,) = images.read(np.array([2]))
    with pytest.raises(tf.errors.InvalidArgumentError):
        resize(tf.constant(content), 8)


def test_files_beyond_what_is_kept_are_read_again(
    image_folder, tmp_path, monkeypatch
):
    folder = shutil.copytree(image_folder, tmp_path / "photos")
    Image.open(folder / "cat" / "0.png").save(folder / "cat" / "0.tiff")
    classes = folders.list_classes(folder, Skipped())
    expected = [
        file.read() for file in folders.read(folder, classes, Skipped())
    ]
    monkeypatch.setattr(folders, "KEPT_BYTES", sum(map(len, expected[:3])))
    files = folders.read(folder, classes, Skipped())
    assert [file.content for file in files[:3]] == expected[:3]
    assert not any(file.content for file in files[3:])
    images = folders.to_images(files, list(classes))
    assert list(images.read(np.arange(len(files)))) == expected
    shutil.copy(files[4].path, files[5].path)
    with pytest.raises(OSError, match=f"must not change.*{files[5].path}"):
        images.read(np.array([5]))
