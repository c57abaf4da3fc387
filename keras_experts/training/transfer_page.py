"""A page on a fine-tuning: its curve, what is confused, and its settings."""

import json
import math
from collections.abc import Iterator
from pathlib import Path

from keras_experts import files
from keras_experts import templates

WIDTH, HEIGHT = 600, 180  # of the curve, pixels
MOST_CONFUSED = 8
GRID = (0.0, 0.25, 0.5, 0.75, 1.0)  # lines across the curve
# Fields of `metrics.json` that are not settings.
FIGURES = (
    *("accuracy", "accuracy_interval", "train_accuracy", "final_loss"),
    *("class_names", "confusion", "validation", "validation_accuracy"),
    *("best_step", "rates", "warning"),
)


def write_page(path: str | Path, metrics: dict, curve: Path) -> None:
    """Writes one self-contained page.

    Args:
        path: file to write.
        metrics: dict. The content of `metrics.json`.
        curve: file of rows of `step` and `loss`.
    """
    lines = curve.read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    last = max([row["step"] for row in rows], default=1)
    highest = max([row["loss"] for row in rows], default=1.0)
    top = _axis_top(highest)

    def point(step: int, fraction: float) -> tuple[str, str]:
        """Returns the point of a step and of a fraction of the height."""
        return f"{WIDTH * step / last:.1f}", f"{HEIGHT * (1 - fraction):.1f}"

    totals = [sum(row) for row in metrics.get("confusion", ())]

    page = templates.render(
        "finetuned.html.j2",
        metrics=metrics,
        width=WIDTH,
        height=HEIGHT,
        last=last,
        highest=highest,
        examples=metrics.get("medium", "images"),
        majority=max(totals, default=0) / max(sum(totals), 1),
        lines=[HEIGHT * value for value in GRID],
        loss_ticks=[f"{top * value:.2g}" for value in reversed(GRID)],
        step_ticks=[f"{last * value:,.0f}" for value in GRID],
        settings=list(_settings(metrics)),
        losses=[point(row["step"], row["loss"] / top) for row in rows],
        looks=[
            (*point(look["step"], look["accuracy"]), look)
            for look in metrics.get("validation", ())
        ],
        confused=_most_confused(metrics),
    )
    files.write_text(path, page)


def _axis_top(highest: float) -> float:
    """Returns the end of an axis from 0 whose four parts are round numbers."""
    part = (highest or 1.0) / 4
    power = 10.0 ** math.floor(math.log10(part))
    return 4 * power * next(f for f in (1, 2, 2.5, 5, 10) if f * power >= part)


def _settings(metrics: dict) -> Iterator[tuple[str, str]]:
    """Yields the names and the values of the settings, for people."""
    for name, value in metrics.items():
        if name in FIGURES:
            continue
        if name == "groups":
            value = value or ["everything"]
        if isinstance(value, list):
            value = " ".join(map(str, value))
        elif isinstance(value, bool):
            value = "yes" if value else "no"
        yield name, str(value)


def _most_confused(metrics: dict) -> list[tuple[int, str, str]]:
    """Lists pairs of classes by how many images are taken for another."""
    names = metrics.get("class_names", ())
    pairs = [
        (number, names[right], names[taken])
        for right, row in enumerate(metrics.get("confusion", ()))
        for taken, number in enumerate(row)
        if number and taken != right
    ]
    pairs.sort(key=lambda pair: -pair[0])
    return pairs[:MOST_CONFUSED]
