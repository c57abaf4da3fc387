"""Modules whose features depend on their batch are skipped by name."""

import numpy as np
import pytest
import tensorflow as tf

from keras_experts.data.synthetic import digits_task
from keras_experts.selection.feature_checks import check_independence
from keras_experts.selection.selector import select
from tests.selection.modules import mean
from tests.selection.modules import save_module

ROWS = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)


def standardized(batch):
    """Features by the statistics of the batch, which any order keeps."""
    return (batch - batch.mean(0)) / batch.std(0)


def numbered(batch):
    """Features with the position in the batch."""
    return batch + np.arange(len(batch), dtype=np.float32)[:, None]


@pytest.mark.parametrize("function", [standardized, numbered])
def test_features_that_depend_on_the_batch_are_refused(function):
    with pytest.raises(ValueError, match="in any batch. Received: m, whose"):
        check_independence(
            lambda batch, number: function(batch)[:number],
            ROWS,
            function(ROWS),
            "m",
        )


@pytest.mark.parametrize("number", [1, 2, 5])
def test_features_of_each_example_alone_pass(number):
    """Also in a batch that is filled up, and up to rounding."""
    noise = np.random.default_rng(1).normal(1.0, 1e-3, (6, 4))
    check_independence(
        lambda batch, number: (2.0 * batch * noise)[:number],
        ROWS,
        2.0 * ROWS[:number],
        "m",
    )


def test_a_module_with_batch_statistics_is_skipped_and_others_ranked(tmp_path):
    def batch_norm(images):
        features = mean(images)
        average, variance = tf.nn.moments(features, [0], keepdims=True)
        return (features - average) / tf.sqrt(variance)

    modules = [
        save_module(tmp_path / "good", mean),
        save_module(tmp_path / "bad", batch_norm),
    ]
    task = digits_task(num_train=60)
    selection = select(task, modules, cache=False)
    assert [entry.module for entry in selection.ranking] == modules[:1]
    (skipped,) = selection.skipped
    assert skipped["module"] == modules[1]
    assert "the same features in any batch" in skipped["reason"]
