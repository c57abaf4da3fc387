"""What a fine-tuning led to: figures, and warnings."""

import json

import keras
import numpy as np
import pytest
import scipy.stats
from PIL import Image
from sklearn.metrics import log_loss

from keras_experts import cli
from keras_experts.training import outcome


def test_losses_are_scikit_learn_s(rng):
    labels = np.repeat([0, 1, 2], [5, 3, 2])
    scores = rng.random((10, 3))
    probabilities = scores / scores.sum(axis=1, keepdims=True)
    found = outcome.log_loss(probabilities, labels)
    assert found == pytest.approx(log_loss(labels, probabilities))
    guesses = np.tile([0.5, 0.3, 0.2], (10, 1))
    expected = log_loss(labels, guesses)
    assert outcome.guessing_loss(labels) == pytest.approx(expected)


def test_interval_of_an_accuracy_is_scipy_s():
    for num_correct, num_examples in ((1, 1), (0, 7), (53, 80)):
        test = scipy.stats.binomtest(num_correct, num_examples)
        expected = test.proportion_ci(method="wilson")
        found = outcome.accuracy_interval(num_correct, num_examples)
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_accuracy_on_one_image_is_printed_with_its_interval(
    tmp_path, rng, capfd
):
    """Three images, one of them for the test."""
    for name, side in (("a", "train"), ("b", "train"), ("b", "test")):
        (tmp_path / "task" / side / name).mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 255, (8, 8, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "task" / side / name / "1.png")
    images = keras.Input((8, 8, 3))
    features = keras.layers.GlobalAveragePooling2D()(images)
    keras.Model(images, features).save(tmp_path / "mean.keras")
    flags = ["--module", str(tmp_path / "mean.keras"), "--num_images", "16"]
    flags += ["--task", str(tmp_path / "task"), "--batch_size", "2"]
    flags += ["--output", str(tmp_path / "out")]
    assert cli.main(["finetune", *flags]) == 0
    out, err = capfd.readouterr()
    assert "2 training + 1 test images of 2 classes: a 1 + 0, b 1 + 1" in err
    assert "single training example: a, b" in err
    (line,) = [row for row in out.splitlines() if "interval" in row]
    low, high = map(float, line.removeprefix("95% interval ").split(" to "))
    assert high - low > 0.75


@pytest.mark.slow
def test_network_that_learns_nothing_is_named_and_its_head_is_trained(
    image_folder, tmp_path, capfd
):
    """Its gradients are so large that its units die in the first steps."""
    keras.utils.set_random_seed(0)
    images = keras.Input((8, 8, 3))
    hidden = keras.layers.Conv2D(8, 1, activation="relu")(images)
    hidden = keras.layers.Rescaling(30.0)(hidden)
    features = keras.layers.GlobalAveragePooling2D()(hidden)
    keras.Model(images, features).save(tmp_path / "fragile.keras")
    flags = ["--module", str(tmp_path / "fragile.keras")]
    flags += ["--task", str(image_folder), "--output", str(tmp_path / "out")]
    flags += ["--num_images", "640", "--batch_size", "16"]
    assert cli.main(["finetune", *flags, "--base_learning_rate", "50"]) == 0
    out, err = capfd.readouterr()
    assert "taught it nothing" in err and "--groups head" in out
    metrics = json.loads((tmp_path / "out/metrics.json").read_text())
    assert metrics["groups"] == ["head"]
    assert "lower `--base_learning_rate`" in metrics["warning"]
    assert metrics["train_accuracy"] == 1.0
