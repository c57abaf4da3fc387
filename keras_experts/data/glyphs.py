"""How each rendered class is drawn.

A drawer is a function of a canvas and a random generator; what does not
decide the class (place, size, turn, colours) is random.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
from PIL import Image
from PIL import ImageDraw

MIN_CONTRAST = 90  # least distance of two colours, of 441
HUES = {  # degrees
    "red": (350, 370),
    "orange": (20, 40),
    "yellow": (52, 68),
    "green": (95, 145),
    "blue": (205, 245),
    "violet": (270, 310),
}
STROKES = {  # control points, x and y in [-1, 1]
    "arc": ((-0.9, 0.5), (-0.5, -0.6), (0.5, -0.6), (0.9, 0.5)),
    "hook": ((-0.2, -0.9), (-0.2, 0.5), (0.3, 0.9), (0.7, 0.4)),
    "zigzag": ((-0.7, -0.8), (0.7, -0.7), (-0.7, 0.7), (0.7, 0.8)),
    "s_curve": (
        *((0.6, -0.8), (-0.5, -0.8), (-0.5, 0.0)),
        *((0.5, 0.0), (0.5, 0.8), (-0.6, 0.8)),
    ),
    "loop": ((0, -0.9), (0.7, 0), (0, 0.9), (-0.7, 0), (0, -0.9)),
    "eight": (
        *((0, 0), (0.5, -0.5), (0, -0.9), (-0.5, -0.5), (0, 0)),
        *((0.55, 0.5), (0, 0.9), (-0.55, 0.5), (0, 0)),
    ),
    "loop_with_tail": (
        *((0.5, -0.5), (0, -0.9), (-0.5, -0.5), (0, -0.1)),
        *((0.5, -0.5), (0.45, 0.2), (0.3, 0.9)),
    ),
    "crossed": (
        *((0.3, 0.9), (0.2, 0), (0.3, -0.9), (-0.6, 0.3)),
        *((0.2, 0.3), (0.8, 0.3)),
    ),
}


@dataclasses.dataclass
class Canvas:
    """What drawers draw on.

    Attributes:
        image: PIL image, square.
        pen: ImageDraw of the image.
        side: int. Pixels.
        background: tuple of three ints, RGB.
    """

    image: Image.Image
    pen: ImageDraw.ImageDraw
    side: int
    background: tuple[int, int, int]


def draw_shape(canvas: Canvas, rng, name: str) -> None:
    """Draws one large shape somewhere."""
    radius = rng.uniform(0.22, 0.42) * canvas.side
    center = rng.uniform(radius, canvas.side - radius, 2)
    color = contrasting(canvas.background, rng)
    _fill_shape(canvas, rng, name, center, radius, color)


def draw_things(canvas: Canvas, rng, number: int, name: str) -> None:
    """Draws a number of small shapes that do not touch."""
    radius = rng.uniform(0.06, 0.1) * canvas.side
    color = contrasting(canvas.background, rng)
    centers: list[np.ndarray] = []
    while len(centers) < number:
        center = rng.uniform(radius, canvas.side - radius, 2)
        if all(np.hypot(*(center - c)) > 2.8 * radius for c in centers):
            centers.append(center)
            _fill_shape(canvas, rng, name, center, radius, color)


def draw_in_quarter(canvas: Canvas, rng, quarter: int) -> None:
    """Draws a ring in one quarter: 0 and 1 above, 0 and 2 to the left."""
    radius = rng.uniform(0.08, 0.16) * canvas.side
    half = canvas.side / 2
    corner = np.array([quarter % 2, quarter // 2]) * half
    center = corner + rng.uniform(radius, half - radius, 2)
    color = contrasting(canvas.background, rng)
    _fill_shape(canvas, rng, "ring", center, radius, color)


def draw_stroke(canvas: Canvas, rng, name: str) -> None:
    """Draws a line like a pen's, bent a little."""
    points = np.array(STROKES[name], float)
    points += rng.normal(0, 0.07, points.shape)
    if (STROKES[name][0]) == (STROKES[name][-1]):
        points[-1] = points[0]
    curve = points if name in ("zigzag", "crossed") else _smooth(points)
    radius = rng.uniform(0.28, 0.44) * canvas.side
    center = rng.uniform(radius, canvas.side - radius, 2)
    stretch = radius * rng.uniform((0.6, 0.85), (1, 1))
    curve = _turn(curve, rng.normal(0, 0.15)) * stretch + center
    width = int(rng.uniform(0.06, 0.13) * canvas.side)
    color = contrasting(canvas.background, rng)
    path = [tuple(point) for point in curve]
    canvas.pen.line(path, fill=color, width=width, joint="curve")


def draw_texture(canvas: Canvas, rng, name: str) -> None:
    """Fills the canvas with a periodic or a random pattern."""
    color = np.array(contrasting(canvas.background, rng))
    y, x = np.mgrid[: canvas.side, : canvas.side] / canvas.side
    waves = rng.uniform(3, 6)
    shift_x, shift_y = rng.uniform(0, 2 * np.pi, 2)
    across = np.sin(2 * np.pi * waves * x + shift_x)
    down = np.sin(2 * np.pi * waves * y + shift_y)
    slope = rng.choice((-1, 1))
    diagonal = np.sin(2 * np.pi * waves * 0.7 * (x + slope * y) + shift_x)
    grain = rng.normal(size=(24, 24)).repeat(canvas.side // 24 + 1, 0)
    grain = grain.repeat(canvas.side // 24 + 1, 1)
    pattern = {
        "horizontal": down > 0,
        "vertical": across > 0,
        "diagonal": diagonal > 0,
        "checks": across * down > 0,
        "dots": across + down > 1,
        "grain": grain[: canvas.side, : canvas.side] > 0,
    }[name]
    pixels = np.where(pattern[..., None], color, np.array(canvas.background))
    canvas.image = Image.fromarray(pixels.astype(np.uint8))


def draw_color(canvas: Canvas, rng, name: str) -> None:
    """Covers most of the canvas with a soft spot of one hue."""
    low, high = HUES[name]
    hue = int(rng.uniform(low, high) % 360 * 255 / 360)
    saturation, value = rng.integers((170, 150), 256)
    color = Image.new("HSV", (1, 1), (hue, int(saturation), int(value)))
    y, x = np.mgrid[: canvas.side, : canvas.side] / canvas.side
    center_x, center_y = rng.uniform(0.3, 0.7, 2)
    distance = np.hypot(x - center_x, y - center_y)
    share = np.clip(1.6 - distance / rng.uniform(0.3, 0.5), 0, 1)[..., None]
    rgb = np.array(color.convert("RGB").getpixel((0, 0)))
    gray = np.full(3, rng.integers(0, 256))
    pixels = share * rgb + (1 - share) * gray
    canvas.image = Image.fromarray(pixels.astype(np.uint8))


def contrasting(background: tuple[int, int, int], rng) -> tuple[int, ...]:
    """Draws a colour that can be told from the background."""
    while True:
        color = rng.integers(0, 256, 3)
        if np.linalg.norm(color - np.array(background)) >= MIN_CONTRAST:
            return tuple(color.tolist())


def _fill_shape(canvas, rng, name, center, radius, color) -> None:
    def box(scale_x, scale_y):
        size = radius * np.array([scale_x, scale_y])
        return [*(center - size), *(center + size)]

    pen = canvas.pen
    if name == "disk":
        pen.ellipse(box(1, 1), fill=color)
    elif name == "ring":
        pen.ellipse(box(1, 1), fill=color)
        pen.ellipse(box(0.55, 0.55), fill=canvas.background)
    elif name == "ellipse":
        flat = rng.uniform(0.4, 0.6)
        sides = (1, flat) if rng.random() < 0.5 else (flat, 1)
        pen.ellipse(box(*sides), fill=color)
    elif name == "half_disk":
        start = rng.uniform(0, 360)
        pen.chord(box(1, 1), start, start + 180, fill=color)
    else:
        corners = _corners(name) * radius
        turned = _turn(corners, rng.uniform(0, 2 * np.pi)) + center
        pen.polygon([tuple(point) for point in turned], fill=color)


def _corners(name: str) -> np.ndarray:
    """Gives the corners of a regular polygon or a star of radius 1."""
    number = {"triangle": 3, "square": 4, "pentagon": 5, "star": 10}[name]
    angles = np.arange(number) * 2 * np.pi / number
    radii = np.ones(number)
    if name == "star":
        radii[1::2] = 0.4
    return radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _turn(points: np.ndarray, angle: float) -> np.ndarray:
    cos, sin = np.cos(angle), np.sin(angle)
    return points @ np.array([[cos, sin], [-sin, cos]])


def _smooth(points: np.ndarray) -> np.ndarray:
    """Rounds a path by cutting its corners (Chaikin), ends kept."""
    for _ in range(3):
        before, after = points[:-1], points[1:]
        cut = np.stack([0.75 * before + 0.25 * after] * 2, axis=1)
        cut[:, 1] = 0.25 * before + 0.75 * after
        points = np.concatenate([points[:1], cut.reshape(-1, 2), points[-1:]])
    return points


def _drawers() -> dict[str, Callable]:
    drawers: dict[str, Callable] = {}

    def register(names, draw):
        for name in names:
            drawers[name] = lambda c, rng, name=name: draw(c, rng, name)

    register(("disk", "ring", "ellipse", "half_disk"), draw_shape)
    register(("triangle", "square", "pentagon", "star"), draw_shape)
    register(STROKES, draw_stroke)
    register(("horizontal", "vertical", "diagonal"), draw_texture)
    register(("checks", "dots", "grain"), draw_texture)
    register(HUES, draw_color)
    words = ("one", "two", "three", "four", "five", "six")
    for number, word in enumerate(words, start=1):
        name = f"{word}_thing" + ("s" if number > 1 else "")
        drawers[name] = lambda c, rng, number=number: draw_things(
            c, rng, number, rng.choice(("disk", "triangle", "ring"))
        )
    return drawers


DRAWERS = _drawers()
