"""What fine-tuning left, as a page: the learning curve, what is confused."""

import json
from pathlib import Path

from keras_experts import files
from keras_experts import templates

WIDTH, HEIGHT = 600, 180  # of the curve, pixels
MOST_CONFUSED = 8


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
    top = max([row["loss"] for row in rows], default=1.0)

    def place(step: int, share: float) -> tuple[str, str]:
        """Gives the point of a step and of a share of the height."""
        return f"{WIDTH * step / last:.1f}", f"{HEIGHT * (1 - share):.1f}"

    page = templates.render(
        "finetuned.html.j2",
        metrics=metrics,
        width=WIDTH,
        height=HEIGHT,
        last=last,
        top=top,
        losses=[place(row["step"], row["loss"] / top) for row in rows],
        looks=[
            (*place(look["step"], look["accuracy"]), look)
            for look in metrics.get("validation", ())
        ],
        confused=_most_confused(metrics),
    )
    files.write_text(path, page)


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
