"""Experts together, on the real tasks: study/results/combined.json.

    python -m study.combined --data_dir D

Of each task the leave-one-out accuracy of the baseline, the best expert and
experts side by side, by all images and cross-fitted (one half picks, the other
measures, each with neighbours of its own).
And that of a linear classifier, trained on the half that picks and tested on
the other: by the baseline's features, the picked expert's, those of the best 8,
of 8 drawn by chance, and of all side by side; and by the baseline's of 8 views
of an image (mirrored, or moved by a sixteenth), which are as many features.
"""

import argparse
import io
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from PIL import Image
from sklearn.linear_model import RidgeClassifierCV

from benchmarks.racing import compute
from keras_experts import files
from keras_experts.data.labeled_images import LabeledImages
from keras_experts.data.labeled_images import from_arrays
from keras_experts.data.tasks import load_task
from keras_experts.selection.folds import assign_folds
from keras_experts.selection.folds import stratified_order
from keras_experts.selection.modules import by_cost
from keras_experts.selection.modules import expand
from keras_experts.selection.neighbors import leave_one_out_accuracy
from keras_experts.selection.neighbors import leave_one_out_correct
from keras_experts.selection.selector import select_many
from study.keep import RESULTS
from study.keep import short
from study.probes import BASELINE
from study.probes import TASKS

SEVERAL, DRAWS = 8, 5
SIDE, SHIFT = 64, 4  # pixels of a view
# Right, down, and whether mirrored; the first view is the image as it is.
VIEWS = (
    *((0, 0, True), (1, 0, False), (-1, 0, True), (0, 1, False)),
    *((0, -1, True), (1, 1, False), (-1, -1, True)),
)
PENALTIES = (3.0, 30.0, 300.0, 3e3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data_dir", required=True)
    data_dir = parser.parse_args().data_dir
    found = {}
    for selection in select_many(
        TASKS, ["builtin"], data_dir=data_dir, racing="off", combining=True
    ):
        scores = {entry.module: entry.score for entry in selection.ranking}
        found[selection.task] = {
            "baseline": scores[BASELINE],
            "best": selection.best.score,
            **selection.combination,
            "modules": [short(m) for m in selection.combination["modules"]],
            **probes(selection.task, data_dir),
        }
    files.write_json(RESULTS / "combined.json", found)


def probes(task: str, data_dir: str) -> dict:
    """Gives accuracies on halves of a task."""
    images = load_task(task, data_dir, 1000).train
    rows = compute(images, by_cost(expand(["builtin"])))
    folds = assign_folds(images.labels, 0, 2)  # those that `combine` has
    right = [
        leave_one_out_correct(
            rows[BASELINE][folds == half], images.labels[folds == half]
        )
        for half in (0, 1)
    ]
    return {
        "baseline_honest_accuracy": float(np.concatenate(right).mean()),
        "linear": linear(images.labels, rows, views_of(images)),
    }


def views_of(images: LabeledImages) -> dict[str, np.ndarray]:
    """Gives the baseline's features of other views of the images."""
    baseline = [c for c in expand(["builtin"]) if c.handle == BASELINE]
    pixels = np.stack(
        [
            np.asarray(
                Image.open(io.BytesIO(content))
                .convert("RGB")
                .resize((SIDE, SIDE), Image.Resampling.BILINEAR)
            )
            for content in images.read(np.arange(images.num_examples))
        ]
    )
    found = {}
    for number, (right, down, is_mirrored) in enumerate(VIEWS):
        seen = moved(pixels, right, down)
        view = from_arrays(
            seen[:, :, ::-1] if is_mirrored else seen,
            images.labels,
            images.class_names,
        )
        found[f"view {number}"] = compute(view, baseline)[BASELINE]
    return found


def moved(pixels: np.ndarray, right: int, down: int) -> np.ndarray:
    """Moves images by `SHIFT` pixels; what comes in repeats the edge."""
    around = [(0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT), (0, 0)]
    padded = np.pad(pixels, around, mode="edge")
    top, left = SHIFT * (1 - down), SHIFT * (1 - right)
    return padded[:, top : top + SIDE, left : left + SIDE]


def linear(labels: np.ndarray, rows: dict, views: dict) -> dict[str, float]:
    """Gives mean accuracies of linear classifiers, on halves of a task."""
    found: dict[str, list[float]] = {}
    for seed in range(DRAWS):
        order = stratified_order(labels, seed)
        halves = np.array_split(order, 2)
        compared = [
            *choices(rows, labels, halves[0], seed),
            (f"baseline, {1 + len(views)} views", [BASELINE, *views]),
        ]
        for name, modules in compared:
            accuracy = probe(rows | views, labels, modules, halves)
            found.setdefault(name, []).append(accuracy)
    return {name: float(np.mean(values)) for name, values in found.items()}


def choices(rows: dict, labels, picking, seed: int):
    """Gives names and modules of what is compared."""
    ranked = sorted(
        rows,
        key=lambda h: (
            -leave_one_out_accuracy(rows[h][picking], labels[picking])
        ),
    )
    chance = np.random.default_rng(seed).permutation(ranked)
    yield "baseline", [BASELINE]
    yield "picked", ranked[:1]
    yield f"best {SEVERAL}", ranked[:SEVERAL]
    yield f"random {SEVERAL}", list(chance[:SEVERAL])
    yield f"all {len(rows)}", ranked


def probe(rows: dict, labels, modules: list[str], halves) -> float:
    """Trains on one half with features side by side, tests on the other."""
    training, testing = halves
    every = []
    for module in modules:
        features = rows[module]
        centred = features - features[training].mean(axis=0)
        every.append(centred / (features[training].std(axis=0) + 1e-6))
    # As long as those of one module, for the penalty to mean the same.
    side_by_side = np.concatenate(every, axis=1) / np.sqrt(len(modules))
    classifier = RidgeClassifierCV(PENALTIES)
    classifier.fit(side_by_side[training], labels[training])
    return float(classifier.score(side_by_side[testing], labels[testing]))


if __name__ == "__main__":
    main()
