"""Draws three structured tasks, as .npz files of 64-pixel images.

    python -m study.structured --output study/work/tasks

In the manner of dSprites (one white sprite on black, by place or by turn) and
of CLEVR (coloured solids on grey ground, one in front of the other, by their
number). Each has 1,000 images to learn from and 1,000 to test.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from PIL import ImageDraw

from keras_experts import files

SIZE, SCALE = 64, 4  # of images, and of what they are drawn at
NUM_IMAGES = 2000
PLACES = TURNS = 16
COUNTS = range(3, 11)
COLORS = ("#ad2323", "#2a4bd7", "#1d6914", "#814a19")
COLORS += ("#8126c0", "#29d0d0", "#ffee33", "#575757")


def sprite(center: tuple[float, float], size: float, turn: float, kind: int):
    """Draws a square, an ellipse or a heart-like shape, white on black."""
    image = Image.new("L", (SIZE * SCALE, SIZE * SCALE))
    angles = np.linspace(0, 2 * np.pi, 120, endpoint=False)
    x, y = np.cos(angles), np.sin(angles)
    if kind == 0:
        reach = np.maximum(abs(x), abs(y))
        x, y = x / reach, y / reach
    elif kind == 1:
        y = y / 2
    else:
        y = y - 0.7 * np.sqrt(abs(x))
    cos, sin = np.cos(turn), np.sin(turn)
    points = np.stack([cos * x - sin * y, sin * x + cos * y], 1)
    points = (points * size + center) * SCALE
    ImageDraw.Draw(image).polygon([tuple(p) for p in points], fill=255)
    small = image.resize((SIZE, SIZE), Image.Resampling.BOX)
    return np.repeat(np.asarray(small)[..., None], 3, axis=2)


def at_place(label: int, rng) -> np.ndarray:
    """Draws a sprite in one of 16 columns, its centre anywhere in it."""
    x = 14 + (SIZE - 28) * (label + rng.random()) / PLACES
    turn = 2 * np.pi * rng.random()
    y = rng.uniform(14, SIZE - 14)
    return sprite((x, y), rng.uniform(5, 9), turn, rng.integers(3))


def turned(label: int, rng) -> np.ndarray:
    """Draws a sprite that no turn but a whole one maps to itself."""
    turn = 2 * np.pi * (label + rng.random()) / TURNS
    center = tuple(rng.uniform(18, SIZE - 18, 2))
    return sprite(center, rng.uniform(7, 11), turn, 2)


def solids(label: int, rng) -> np.ndarray:
    """Draws 3 to 10 balls and blocks, those in front last and larger."""
    side = SIZE * SCALE
    rows = np.linspace(175, 120, side)[:, None, None]
    ground = np.broadcast_to(rows, (side, side, 3)).astype(np.uint8)
    image = Image.fromarray(ground)
    draw = ImageDraw.Draw(image)
    centers: list[tuple[float, float]] = []
    while len(centers) < COUNTS[label]:
        x, y = rng.uniform(0.1, 0.9), rng.uniform(0.3, 0.9)
        if all(np.hypot(x - a, y - b) > 0.13 for a, b in centers):
            centers.append((x, y))
    for x, y in sorted(centers, key=lambda center: center[1]):
        reach = side * (0.03 + 0.06 * y) * rng.uniform(0.8, 1.2)
        box = [x * side - reach, y * side - reach]
        box += [x * side + reach, y * side + reach]
        color = COLORS[rng.integers(len(COLORS))]
        kind = draw.ellipse if rng.random() < 0.5 else draw.rectangle
        kind(box, fill=color)
        light = [box[0] + reach / 2, box[1] + reach / 3]
        light += [light[0] + reach / 2, light[1] + reach / 2]
        draw.ellipse(light, fill="#e8e8e8")
    return np.asarray(image.resize((SIZE, SIZE), Image.Resampling.BOX))


TASKS: dict[str, tuple[int, Callable]] = {
    "sprites_place": (PLACES, at_place),
    "sprites_turn": (TURNS, turned),
    "solids_count": (len(COUNTS), solids),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True)
    output = parser.parse_args().output
    for seed, (name, (num_classes, draw)) in enumerate(TASKS.items()):
        rng = np.random.default_rng(seed)
        labels = rng.permutation(np.arange(NUM_IMAGES) % num_classes)
        images = np.stack([draw(label, rng) for label in labels])
        with files.whole_file(output / f"{name}.npz") as path:
            np.savez_compressed(path, images=images, labels=labels)


if __name__ == "__main__":
    main()
