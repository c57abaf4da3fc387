"""What is reported of predictions."""

import numpy as np

from keras_experts.evaluation import prediction


def test_prediction_that_is_nan_is_skipped_by_name(capfd):
    names = ["cat", "dog"]
    row = prediction._row("a.png", np.array([np.nan, 1]), names, True)
    assert row["class"] is None and "NaN" in row["error"] and row["named"]
    assert "Skipped a.png: " in capfd.readouterr().err
    row = prediction._row("b.png", np.array([0.2, 0.8]), names, True)
    assert row["class"] == "dog" and "error" not in row
