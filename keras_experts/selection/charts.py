"""What the charts of a report are drawn from: places, paths and colours.

Pure functions; templates put what they give into HTML and SVG.
"""

import base64
import io
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence

import numpy as np

# Side of a projection's SVG, units.
SIDE = 400
MARGIN = 10
# Numbers without a common divisor: each of the first 40 classes has a mark of
# its own, which differs from the next one's in colour and in shape.
NUM_COLORS = 8
SHAPES = (
    "m-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z",
    "m-3.5-3.5h7v7h-7z",
    "m0-4.6l4.4 7.8h-8.8z",
    "m0-5l4 5-4 5-4-5z",
    "m0 4.6l4.4-7.8h-8.8z",
)
NUM_MARKS = NUM_COLORS * len(SHAPES)
# A race's chart, units; the text in it is 12 of them high.
RACE_WIDTH, RACE_HEIGHT = 320, 150
LABEL_DISTANCE, LABEL_HEIGHT = 36, 14
# From the lowest score to the highest: light to dark, for all eyes.
PALE, DEEP = np.array([222, 235, 247]), np.array([8, 48, 107])
THUMBNAIL_SIZE = 112  # pixels, the longer side
STEPS = (1, 2, 2.5, 5, 10)


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Gives round numbers, evenly spaced, the outer ones around two values.

    Args:
        low: float.
        high: float, at least `low`.
        most: int. About how many.
    """
    span = (high - low) or abs(high) or 1.0
    power = 10.0 ** np.floor(np.log10(span / (most - 1)))
    step = next(s for s in STEPS if s * power * (most - 1) >= span * 0.999)
    step *= power
    first = np.floor(low / step + 1e-9)
    last = max(np.ceil(high / step - 1e-9), first + 1)
    places = np.arange(first, last + 1) * step
    return [round(float(place), 12) for place in places]


def place(value: float, axis: Sequence[float]) -> float:
    """Gives where a value lies between an axis' ends, in [0, 100]."""
    share = (value - axis[0]) / (axis[-1] - axis[0])
    return round(100 * min(max(share, 0.0), 1.0), 2)


def shade(share: float) -> dict[str, str]:
    """Gives a colour of a scale and that of text on it.

    Args:
        share: float. Place on the scale, in [0, 1].
    """
    color = np.round(PALE + share * (DEEP - PALE)).astype(int)
    return {
        "background": "#{:02x}{:02x}{:02x}".format(*color),
        "text": "#fff" if share > 0.5 else "#000",
    }


def project(features: np.ndarray) -> tuple[np.ndarray, float]:
    """Gives examples' places on the first two principal components.

    Args:
        features: float array `(n, channels)`.

    Returns:
        Float array `(n, 2)`, and the share of the variance that it shows.
    """
    centred = np.asarray(features, np.float64)
    centred = centred - centred.mean(axis=0)
    # The smaller product of the two has the same values, in a fraction of the
    # time of a singular value decomposition.
    is_wide = centred.shape[1] > len(centred)
    product = centred @ centred.T if is_wide else centred.T @ centred
    values, vectors = np.linalg.eigh(product)
    values, vectors = np.maximum(values[::-1], 0), vectors[:, ::-1]
    places = vectors[:, :2]
    places = places * np.sqrt(values[:2]) if is_wide else centred @ places
    places = np.pad(places, ((0, 0), (0, 2 - places.shape[1])))  # (n, 2)
    # An axis' direction is of chance: the farthest example lies on its right.
    farthest = places[np.abs(places).argmax(axis=0), [0, 1]]
    places = places * np.where(farthest < 0, -1, 1)
    total = values.sum()
    return places, float(values[:2].sum() / total) if total else 1.0


def scatter(
    places: np.ndarray, labels: np.ndarray, marked: Sequence[int]
) -> list[dict]:
    """Draws examples as marks, one path a class.

    Args:
        places: float array `(n, 2)`.
        labels: int array `(n,)`.
        marked: classes that have a mark of their own, at most `NUM_MARKS`.

    Returns:
        list of dict: `path`, `label` and `color`; of the classes without a
        mark together None and None, first.
    """
    low, high = places.min(axis=0), places.max(axis=0)
    scale = (SIDE - 2 * MARGIN) / max(float((high - low).max()), 1e-30)
    points = SIDE / 2 + (places - (low + high) / 2) * scale * [1, -1]
    drawn = []
    others = ~np.isin(labels, marked)
    if others.any():
        path = "".join(_mark(point, 0) for point in points[others])
        drawn.append({"path": path, "label": None, "color": None})
    for order, label in enumerate(marked):
        chosen = points[labels == label]
        path = "".join(_mark(point, order) for point in chosen)
        color = order % NUM_COLORS
        drawn.append({"path": path, "label": label, "color": color})
    return drawn


def mark(order: int) -> dict:
    """Gives the mark of a class in the legend, in a square of 14 units."""
    return {"path": _mark((7, 7), order), "color": order % NUM_COLORS}


def _mark(point: Sequence[float], order: int) -> str:
    x, y = point
    return f"M{x:.1f} {y:.1f}{SHAPES[order % len(SHAPES)]}"


def race_steps(rounds: Sequence) -> dict:
    """Draws how many candidates were left after how many images.

    Args:
        rounds: of `racing.Round`.

    Returns:
        dict: `line` and `area`, paths; `labels` of the numbers of candidates
        and `marks` of those of images, with their places.
    """
    most_examples = max(rounds[-1].examples, 1)
    most = max(rounds[0].candidates, 1)
    line, labels, x = "", [], 0.0
    for played in rounds:
        y = RACE_HEIGHT * (1 - played.candidates / most)
        line += f"{'L' if line else 'M'}{x:.1f} {y:.1f}"
        labels.append({"x": x, "y": y, "text": played.candidates})
        x = RACE_WIDTH * played.examples / most_examples
        line += f"L{x:.1f} {y:.1f}"
    area = f"{line}V{RACE_HEIGHT}H0Z"
    marks, last = [], RACE_WIDTH + LABEL_DISTANCE
    for played in reversed(rounds):
        x = RACE_WIDTH * played.examples / most_examples
        if last - x >= LABEL_DISTANCE:
            marks.append({"x": x, "text": played.examples})
            last = x
    kept = []
    for label in labels:
        is_near = kept and label["x"] - kept[-1]["x"] < LABEL_DISTANCE
        room = label["y"] - kept[-1]["y"] if kept else RACE_HEIGHT
        if room >= LABEL_HEIGHT or (room > 0 and not is_near):
            kept.append(label)
    return {"line": line, "area": area, "labels": kept, "marks": marks}


def tree_rows(parents: Mapping[str, Iterable[str]]) -> list[dict]:
    """Orders nodes as a tree is read; each stands once, below its first parent.

    Args:
        parents: of each node those above it; what is no node is passed over.

    Returns:
        list of dict: `name`, `opens` (whether a list of nodes below it
        follows) and `closes` (how many lists end after it).
    """
    below: dict[str | None, list[str]] = {}
    for name, above in parents.items():
        known = (p for p in above if p in parents and p != name)
        below.setdefault(next(known, None), []).append(name)
    rows, seen = [], set()
    # What lies on a circle is below no root: its first one becomes one.
    for start in (*below.get(None, ()), *parents):
        stack = [(start, 0)]
        while stack:
            name, depth = stack.pop()
            if name in seen:
                continue
            seen.add(name)
            rows.append({"name": name, "depth": depth})
            inner = reversed(below.get(name, ()))
            stack += [(child, depth + 1) for child in inner]
    depths = [row.pop("depth") for row in rows] + [0]
    for row, depth, following in zip(rows, depths, depths[1:], strict=False):
        row["opens"] = following > depth
        row["closes"] = max(depth - following, 0)
    return rows


def thumbnail(image: bytes | np.ndarray) -> str | None:
    """Makes a small picture of an image, as a data: URI.

    Args:
        image: encoded, or uint8 `(height, width, 3)`.

    Returns:
        str, or None where it cannot be decoded.
    """
    import tensorflow as tf
    from PIL import Image

    from keras_experts.data.preprocessing import decode

    try:
        # As the modules see it, which Pillow would decode otherwise.
        pixels = decode(tf.constant(image)).numpy()
        picture = Image.fromarray(pixels)
    except Exception:
        return None
    picture.thumbnail((THUMBNAIL_SIZE, THUMBNAIL_SIZE))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=82)
    content = base64.b64encode(buffer.getvalue()).decode()
    return f"data:image/jpeg;base64,{content}"
