"""A task's images on a selection's page: projections and neighbors."""

import numpy as np

from keras_experts.data.tasks import Task
from keras_experts.mediums import TEXTS
from keras_experts.selection import charts
from keras_experts.selection.neighbors import nearest_neighbors
from keras_experts.selection.ranking import Entry

MOST_POINTS = 1000  # of a projection
TEXT_LENGTH = 100  # characters shown of a text
NUM_EXAMPLES = 24  # images with their neighbors

Rows = list[tuple[Entry, np.ndarray]]


def show_examples(
    task: Task, rows: Rows, groups: np.ndarray | None = None
) -> dict[str, dict | None]:
    """Returns projections of the images, and images with their neighbors.

    Args:
        task: Task.
        rows: one or two modules' entries with their features `(n, channels)`,
            or none.
        groups: int array `(n,)`, equal for exact copies, or None for none.

    Returns:
        dict: `projection` and `pairs`, as the template takes them; None
        without features.
    """
    if not rows:
        return {"projection": None, "pairs": None}
    return {
        "projection": _projection(task, rows),
        "pairs": _pairs(task, rows, groups),
    }


def _projection(task: Task, rows: Rows) -> dict:
    labels = task.train.labels
    number = min(len(labels), MOST_POINTS)
    rng = np.random.default_rng(0)
    chosen = np.sort(rng.choice(len(labels), number, replace=False))
    labels = labels[chosen]
    counts = np.bincount(labels)
    most = np.argsort(-counts, kind="stable")[: charts.NUM_MARKS]
    marked = [int(label) for label in most if counts[label]]
    if len(marked) == np.count_nonzero(counts):
        marked.sort()
    plots = []
    for entry, values in rows:
        positions, fraction = charts.project(values[chosen])
        paths = charts.scatter(positions, labels, marked)
        plots.append({"name": entry.expert, "share": fraction, "paths": paths})
    return {
        "plots": plots,
        "number": number,
        "legend": [
            {"label": label, "count": counts[label], **charts.mark(order)}
            for order, label in enumerate(marked)
        ],
        "others": np.count_nonzero(counts) - len(marked),
        "names": task.class_names,
    }


def _pairs(task: Task, rows: Rows, copy_groups: np.ndarray | None) -> dict:
    """Picks images that the neighbors' classes are right or wrong for."""
    labels = task.train.labels
    names = [entry.expert for entry, _ in rows]
    nearest = [
        nearest_neighbors(values, groups=copy_groups)[:, 0]
        for _, values in rows
    ]
    right = [labels[near] == labels for near in nearest]
    if len(names) == 1:
        kinds = {"Right": right[0], "Wrong": ~right[0]}
    else:
        kinds = {
            f"Only {names[0]} is right": right[0] & ~right[1],
            f"Only {names[1]} is right": ~right[0] & right[1],
            "Both are right": right[0] & right[1],
            "Both are wrong": ~right[0] & ~right[1],
        }
    rng = np.random.default_rng(0)
    groups = []
    for title, is_kind in kinds.items():
        chosen = rng.permutation(np.flatnonzero(is_kind))
        chosen = chosen[: NUM_EXAMPLES // len(kinds)]
        trios = np.stack([chosen, *(near[chosen] for near in nearest)], 1)
        groups.append({"title": title, "count": is_kind.sum(), "trios": trios})
    used = np.unique(np.concatenate([g["trios"].ravel() for g in groups]))
    images = task.train.read(used)
    return {
        "groups": groups,
        "names": names,
        "labels": [task.class_names[label] for label in labels],
        "thumbnails": {
            int(index): charts.thumbnail(image)
            for index, image in zip(used, images, strict=True)
        },
        "texts": _texts(task, used),
    }


def _texts(task: Task, used: np.ndarray) -> dict[int, str]:
    """Returns the beginnings of texts; of images nothing."""
    if task.medium != TEXTS:
        return {}
    contents = zip(used, task.train.read(used), strict=True)
    return {int(i): text.decode()[:TEXT_LENGTH] for i, text in contents}
