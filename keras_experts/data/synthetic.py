"""Rendered images with their own is-a hierarchy, for the demo and for tests.

Thirty-four classes (shapes, strokes, textures, colours and counts of
things) under one root, so that experts of different parts differ. Everything
follows from a seed.
"""

import dataclasses
from collections.abc import Callable
from collections.abc import Iterable

import numpy as np
from PIL import Image
from PIL import ImageDraw

from keras_experts import config
from keras_experts.data import glyphs
from keras_experts.data.label_rows import LabelRows
from keras_experts.data.labeled_images import from_arrays
from keras_experts.data.tasks import Task
from keras_experts.data.upstream import Upstream
from keras_experts.hierarchy import Hierarchy

# Drawn this much larger, then scaled down: smooth edges.
OVERSAMPLING = 4

# Parent of each node below the root; leaves are the classes.
PARTS = {
    "form": ("shape", "stroke"),
    "surface": ("texture", "color"),
    "shape": ("round_shape", "polygon"),
    "stroke": ("open_stroke", "closed_stroke"),
    "texture": ("striped", "spotted"),
    "color": ("warm", "cool"),
    "quantity": ("few", "many"),
    "round_shape": ("disk", "ring", "ellipse", "half_disk"),
    "polygon": ("triangle", "square", "pentagon", "star"),
    "open_stroke": ("arc", "hook", "zigzag", "s_curve"),
    "closed_stroke": ("loop", "eight", "loop_with_tail", "crossed"),
    "striped": ("horizontal", "vertical", "diagonal"),
    "spotted": ("checks", "dots", "grain"),
    "warm": ("red", "orange", "yellow"),
    "cool": ("green", "blue", "violet"),
    "few": ("one_thing", "two_things", "three_things"),
    "many": ("four_things", "five_things", "six_things"),
}
ROOT = "rendering"
CLASSES = tuple(
    child for above in PARTS.values() for child in above if child not in PARTS
)


def make_hierarchy() -> Hierarchy:
    """Gives the is-a hierarchy of the rendered classes."""
    parents = {child: (above,) for above in PARTS for child in PARTS[above]}
    for part in ("form", "surface", "quantity"):
        parents[part] = (ROOT,)
    names = {node: [node] for node in (*parents, ROOT)}
    return Hierarchy(parents, names, "synthetic")


@config.register
def synthetic_upstream(
    num_train: int, num_test: int, image_size: int, seed: int = 0
) -> Upstream:
    """Renders an upstream set, the same number of images a class.

    Args:
        num_train: int. Training images of each class.
        num_test: int. Test images of each class.
        image_size: int. Side, pixels.
        seed: int. Of all that is drawn.
    """
    hierarchy = make_hierarchy()
    nodes = sorted(hierarchy.parents)
    rows = np.array([nodes.index(name) for name in CLASSES])
    sets = []
    for number, split in ((num_train, 0), (num_test, 1)):
        labels = np.tile(np.arange(len(CLASSES)), number)
        images = _render_all(
            (glyphs.DRAWERS[CLASSES[label]] for label in labels),
            len(labels),
            image_size,
            np.random.default_rng((seed, split)),
        )
        plain = from_arrays(images, labels, list(CLASSES))
        nodes_of = LabelRows.single(rows[labels])
        sets.append(dataclasses.replace(plain, nodes=nodes_of))
    return Upstream("synthetic", hierarchy, nodes, list(CLASSES), *sets)


def count_task(
    num_train: int, num_test: int, image_size: int, seed: int = 0
) -> Task:
    """Renders a structured task: how many small squares are there, 1 to 5."""

    def draw(label: int) -> Callable:
        return lambda canvas, rng: glyphs.draw_things(
            canvas, rng, label + 1, "square"
        )

    names = [str(number) for number in range(1, 6)]
    return _task("count", names, draw, num_train, num_test, image_size, seed)


def position_task(
    num_train: int, num_test: int, image_size: int, seed: int = 0
) -> Task:
    """Renders a structured task: which quarter is the ring in."""

    def draw(label: int) -> Callable:
        return lambda canvas, rng: glyphs.draw_in_quarter(canvas, rng, label)

    names = ["top_left", "top_right", "bottom_left", "bottom_right"]
    return _task("position", names, draw, num_train, num_test, image_size, seed)


def digits_task(num_train: int, seed: int = 0) -> Task:
    """Gives scikit-learn's handwritten digits (real): 1,797 of 8 x 8 pixels.

    Args:
        num_train: int. Training images; the rest are for test.
        seed: int. Of the split.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    order = np.random.default_rng(seed).permutation(len(digits.target))
    images = np.round(digits.images * (255 / 16)).astype(np.uint8)
    names = [str(name) for name in digits.target_names]
    sides = np.split(order, [num_train])
    train, test = (
        from_arrays(images[side], digits.target[side], names) for side in sides
    )
    return Task("digits", train, test)


def _task(name, class_names, draw, num_train, num_test, image_size, seed):
    sets = []
    for number, split in ((num_train, 2), (num_test, 3)):
        rng = np.random.default_rng((seed, split))
        labels = np.arange(number) % len(class_names)
        images = _render_all(
            (draw(label) for label in labels), number, image_size, rng
        )
        sets.append(from_arrays(images, labels, class_names))
    return Task(name, *sets)


def _render_all(
    drawers: Iterable[Callable],
    number: int,
    image_size: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Renders one image a drawer: uint8 `(number, size, size, 3)`."""
    images = np.empty((number, image_size, image_size, 3), np.uint8)
    side = image_size * OVERSAMPLING
    for index, draw in enumerate(drawers):
        background = tuple(rng.integers(0, 256, 3).tolist())
        image = Image.new("RGB", (side, side), background)
        canvas = glyphs.Canvas(image, ImageDraw.Draw(image), side, background)
        draw(canvas, rng)
        small = canvas.image.resize((image_size, image_size), Image.BOX)
        noise = rng.normal(0, rng.uniform(0, 12), images.shape[1:])
        images[index] = np.clip(np.asarray(small) + noise, 0, 255)
    return images
