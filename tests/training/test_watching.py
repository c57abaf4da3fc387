"""The figures that a run leaves to be watched."""

import json

from keras_experts.training.watching import METRICS_FILE
from keras_experts.training.watching import Watcher


def test_figure_that_is_not_finite_is_null(tmp_path):
    watcher = Watcher(tmp_path, 0)
    watcher.write(1, {"loss": float("nan"), "learning_rate": 0.1})
    watcher.close()
    (line,) = (tmp_path / METRICS_FILE).read_text().splitlines()
    assert json.loads(line) == {"step": 1, "loss": None, "learning_rate": 0.1}
