"""Modules that train and compile at once."""

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

from keras_experts.evaluation import trials as trials_module

SPEC = tf.TensorSpec((None, None, None, 3), tf.float32)


def save_small(path, seed):
    """Saves a trainable module of one layer on the mean colour."""
    rng = np.random.default_rng(seed)
    root = tf.train.Checkpoint()
    root.kernel = tf.Variable(rng.normal(size=(3, 4)).astype(np.float32))
    root.variables = root.trainable_variables = [root.kernel]
    root.regularization_losses = []

    def features(images, training=False):
        return tf.reduce_mean(images, (1, 2)) @ root.kernel

    root.__call__ = tf.function(features)
    for training in (False, True):
        root.__call__.get_concrete_function(SPEC, training=training)
    tf.saved_model.save(root, str(path))


@pytest.fixture(scope="session")
def small_pool(make_once):
    """A pool file of three modules, the first of which is the baseline."""

    def make(folder):
        for seed in range(3):
            save_small(folder / f"module{seed}", seed)
        (folder / "pool.txt").write_text(
            "module0 baseline image_size=8\n"
            "module1 image_size=8\nmodule2 image_size=8\n"
        )

    return str(make_once("small_pool", make) / "pool.txt")


@pytest.fixture(autouse=True)
def new_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_EXPERTS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def suite(image_folder, tmp_path):
    """Two tasks, and one whose data are not there."""
    for part in ("train", "test"):
        shutil.copytree(image_folder, tmp_path / "split" / part)
    rows = [
        {"task": str(image_folder), "name": "colours", "group": "natural"},
        {"task": "split", "group": "natural", "metric": "mean_per_class"},
        {"task": "not_there", "group": "structured"},
    ]
    path = tmp_path / "suite.json"
    path.write_text(json.dumps({"name": "mine", "tasks": rows}))
    return path


@pytest.fixture
def calls(monkeypatch):
    """The trials that are run."""
    found = []
    run = trials_module.run_trial

    def counted(trial):
        found.append(trial)
        return run(trial)

    monkeypatch.setattr(trials_module, "run_trial", counted)
    return found
