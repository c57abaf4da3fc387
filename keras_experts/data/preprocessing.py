"""From encoded images to float images of one size."""

import tensorflow as tf

from keras_experts import config


def decode(image: tf.Tensor) -> tf.Tensor:
    """Returns uint8 `(height, width, 3)` of an encoded or a decoded image.

    A PNG with transparency is shown on white, as viewers do. TensorFlow does
    not decode the transparency of other kinds, such as GIF; in folders of
    images these become PNG files before.
    """
    if image.dtype == tf.string:
        image = tf.cond(
            tf.strings.substr(image, 0, 4) == b"\x89PNG",
            lambda: _decode_png(image),
            lambda: tf.io.decode_image(
                image, channels=3, expand_animations=False
            ),
        )
        image.set_shape((None, None, 3))
    return image


def _decode_png(content: tf.Tensor) -> tf.Tensor:
    pixels = tf.io.decode_png(content, channels=4)
    colors, alpha = pixels[..., :3], pixels[..., 3:]

    def on_white() -> tf.Tensor:
        opacity = tf.cast(alpha, tf.float32) / 255
        white = 255 - (255 - tf.cast(colors, tf.float32)) * opacity
        return tf.cast(tf.round(white), tf.uint8)

    # Most files are opaque, and need no arithmetic. To those of 1, 2 or 4 bits
    # TensorFlow adds an alpha of as few bits: 1, 3 or 15 instead of 255.
    bits = tf.io.decode_raw(tf.strings.substr(content, 24, 1), tf.uint8)[0]
    opaque = 2 ** tf.minimum(tf.cast(bits, tf.int32), 8) - 1
    is_opaque = tf.reduce_all(alpha == tf.cast(opaque, tf.uint8))
    return tf.cond(is_opaque, lambda: colors, on_white)


def resize(image: tf.Tensor, image_size: int) -> tf.Tensor:
    """Decodes and scales to a square, as VTAB does (bilinear).

    Returns:
        Float32 `(image_size, image_size, 3)`, values in [0, 1].
    """
    image = tf.cast(decode(image), tf.float32)
    shape = tf.shape(image)
    same = tf.reduce_all(shape[:2] == image_size)
    image = tf.cond(
        same,
        lambda: image,
        lambda: tf.image.resize(image, (image_size, image_size)),
    )
    return tf.ensure_shape(image, (image_size, image_size, 3)) / 255.0


@config.register
def flip_and_shift(
    image: tf.Tensor,
    seed: tf.Tensor,
    image_size: int,
    flip: bool = True,
    max_shift: int = 4,
) -> tf.Tensor:
    """Scales, then flips and shifts at random; for small images.

    Args:
        image: encoded string or uint8 `(height, width, 3)`.
        seed: int64 tensor `(2,)`.
        image_size: int. Side of the result, pixels.
        flip: bool. Whether to mirror half of the images.
        max_shift: int. Largest shift in each direction, pixels; what comes in
            is zero.

    Returns:
        Float32 `(image_size, image_size, 3)`, values in [0, 1].
    """
    image = resize(image, image_size)
    return _flip_and_crop(image, seed, image_size, flip, max_shift)


@config.register
def random_resized_crop(
    image: tf.Tensor,
    seed: tf.Tensor,
    image_size: int,
    flip: bool = True,
    min_area: float = 0.05,
    max_ratio: float = 4 / 3,
) -> tf.Tensor:
    """Scales a random part of the image to the size, and flips at random.

    Args:
        image: encoded string or uint8 `(height, width, 3)`.
        seed: int64 tensor `(2,)`.
        image_size: int. Side of the result, pixels.
        flip: bool. Whether to mirror half of the images.
        min_area: float. Smallest part of the image's area, in (0, 1].
        max_ratio: float. Largest ratio of the part's sides, at least 1.

    Returns:
        Float32 `(image_size, image_size, 3)`, values in [0, 1].

    References:
        Szegedy et al., 2015: the crop of Inception, usual in pre-training on
        ImageNet.
    """
    image = decode(image)
    begin, size, _ = tf.image.stateless_sample_distorted_bounding_box(
        tf.shape(image),
        tf.zeros((1, 0, 4)),
        seed,
        min_object_covered=0.0,
        aspect_ratio_range=(1 / max_ratio, max_ratio),
        area_range=(min_area, 1.0),
        use_image_if_no_bounding_boxes=True,
    )
    image = resize(tf.slice(image, begin, size), image_size)
    return _flip_and_crop(image, seed, image_size, flip, 0)


def mix(
    batch: dict[str, tf.Tensor], alpha: float, seed: tf.Tensor
) -> dict[str, tf.Tensor]:
    """Blends a batch with its own reverse (mixup, Zhang et al., 2018).

    Args:
        batch: dict of `image` and `target`, `(batch, ...)`.
        alpha: float. Of the beta distribution of the share, above 0.
        seed: int64 tensor `(2,)`.
    """
    first, second = tf.unstack(
        tf.random.stateless_gamma((2,), seed, alpha=alpha)
    )
    # Of two gamma variables the first one's share is beta distributed.
    share = first / (first + second)
    return {
        name: share * value + (1 - share) * tf.reverse(value, axis=[0])
        for name, value in batch.items()
    }


def _flip_and_crop(image, seed, image_size, flip, padding):
    if padding:
        pads = (padding, padding)
        image = tf.pad(image, (pads, pads, (0, 0)))
    size = (image_size, image_size, 3)
    image = tf.image.stateless_random_crop(image, size, seed)
    if flip:
        # Another seed: the crop's numbers must not decide the flip.
        image = tf.image.stateless_random_flip_left_right(image, seed + 1)
    return image
