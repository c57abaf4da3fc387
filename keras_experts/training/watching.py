"""What a run leaves to be watched: metrics.jsonl and TensorBoard scalars."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_experts import files
from keras_experts.checks import finite_or_none

METRICS_FILE = "metrics.jsonl"
EVENTS_FOLDER = "tensorboard"


class Watcher:
    """Writes one row of figures after each loop of steps.

    Args:
        folder: Path.
        first_step: int. Steps done before; rows of later ones, which a killed
            run left, are removed.
    """

    def __init__(self, folder: Path, first_step: int):
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / METRICS_FILE
        # Whole before it is added to: a kill leaves the rows there were.
        files.write_text(path, "".join(_rows_until(path, first_step)))
        self._lines = open(path, "a", encoding="utf-8")
        self._events = tf.summary.create_file_writer(
            str(folder / EVENTS_FOLDER)
        )

    def close(self) -> None:
        """Ends the files."""
        self._lines.close()
        self._events.close()

    def write(self, step: int, figures: dict[str, float]) -> None:
        """Writes the figures of the steps up to `step`; null if not finite."""
        values = {name: finite_or_none(x) for name, x in figures.items()}
        row = {"step": step, **values}
        self._lines.write(json.dumps(row, allow_nan=False) + "\n")
        self._lines.flush()
        with self._events.as_default():
            for name, value in figures.items():
                _write_scalar(name, value, step)


def loss_figures(
    losses: np.ndarray, groups: np.ndarray, names: Sequence[str]
) -> dict[str, float]:
    """Gives the mean loss, and of several experts that of each.

    Args:
        losses: float array `(steps, groups)`.
        groups: int array `(steps, groups)`: the expert of each, -1 for none.
        names: of the experts.
    """
    kept = groups >= 0
    figures = {"loss": float(losses[kept].mean())}
    if len(names) > 1:
        for expert in np.unique(groups[kept]):
            mean = losses[groups == expert].mean()
            figures[f"loss/{names[expert]}"] = float(mean)
    return figures


def _rows_until(path: Path, step: int) -> list[str]:
    if not path.exists():
        return []
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        try:
            if json.loads(line)["step"] > step:
                break
        except (json.JSONDecodeError, KeyError):  # half a line
            break
        kept.append(line)
    return kept


def _write_scalar(name: str, value: float, step: int) -> None:
    """Writes what TensorBoard shows as a scalar.

    `tf.summary.scalar` does the same and wants TensorBoard installed.
    """
    metadata = tf.compat.v1.SummaryMetadata(
        plugin_data=tf.compat.v1.SummaryMetadata.PluginData(
            plugin_name="scalars"
        ),
        data_class=1,  # scalars
    )
    tf.summary.write(name, tf.constant(value, tf.float32), step, metadata)
