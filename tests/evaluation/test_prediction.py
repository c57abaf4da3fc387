"""What is reported of predictions."""

import numpy as np

from keras_experts.evaluation import prediction


def test_prediction_that_is_nan_is_skipped_by_name(capfd):
    names = ["cat", "dog"]
    assert prediction._row("a.png", np.array([np.nan, 1]), names) is None
    assert "Skipped a.png: " in capfd.readouterr().err
    assert (
        prediction._row("b.png", np.array([0.2, 0.8]), names)["class"] == "dog"
    )
