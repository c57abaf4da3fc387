"""What is trained of a module, which state is kept, and on what it runs."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_experts
from keras_experts.data import synthetic
from keras_experts.data.labeled_images import from_arrays
from keras_experts.training import best_state
from keras_experts.training.best_state import BestState
from keras_experts.training.best_state import Validation
from keras_experts.training.runtime import Runtime
from keras_experts.training.transfer import Recipe
from keras_experts.training.transfer import Transfer

QUICK = {"num_images": 160, "batch_size": 16, "base_learning_rate": 1.0}


def group_of(path):
    for text, group in (
        ("head/", "head"),
        ("adapter", "adapters"),
        ("norm", "norms"),
    ):
        if text in path:
            return group
    return "blocks"


@pytest.fixture(scope="module")
def adapter_transfer(collection):
    module = f"{collection}/acme/experts/bank/1#form"
    return Transfer(module, 10, runtime=Runtime(compile=False))


@pytest.mark.slow
@pytest.mark.parametrize(
    "groups",
    [("head",), ("adapters",), ("norms", "head"), ("blocks", "norms"), ()],
)
def test_the_head_and_the_groups_asked_for_move_alone(adapter_transfer, groups):
    model = adapter_transfer.model
    model.set_weights(adapter_transfer._initial)
    before = {v.path: v.numpy() for v in model.variables}
    adapter_transfer.fit(
        synthetic.digits_task(32).train,
        Recipe(64, 16, 1.0, groups=groups),
        0,
        "digits",
    )
    moved = {
        group_of(variable.path)
        for variable in model.variables
        if not np.array_equal(before[variable.path], variable.numpy())
    }
    everything = ("head", "adapters", "norms", "blocks")
    assert moved == {"head", *(groups or everything)}


def test_groups_that_are_not_there_are_refused(baseline_module, tmp_path):
    def run(groups):
        keras_experts.finetune(
            baseline_module,
            synthetic.digits_task(32),
            tmp_path / "out",
            groups=groups,
        )

    with pytest.raises(ValueError, match="among head, adapters, norms, bl"):
        run(("bias",))
    with pytest.raises(ValueError, match="blocks, head, norms. Received: ad"):
        run(("adapters",))


class Weights:
    """A model whose weights are one number."""

    def __init__(self):
        self.value = 0

    def get_weights(self):
        return [np.array(self.value)]

    def set_weights(self, weights):
        self.value = int(weights[0])


def test_training_stops_when_nothing_gets_better_and_the_best_is_kept(
    tmp_path,
):
    model = Weights()
    accuracies = iter([0.2, 0.5, 0.4, 0.5, 0.9])
    best = BestState(
        Validation(0.2, 5, patience=2),
        lambda: next(accuracies),
        model,
        tmp_path,
    )
    for step in best.validation.steps(50):
        model.value = step
        if best.look(step):
            break
    assert step == 40
    assert best.best == {"step": 20, "accuracy": 0.5}
    # Another process goes on from what is kept.
    again = BestState(best.validation, lambda: 1 / 0, model, tmp_path)
    assert [again.look(step) for step in (10, 20, 30, 40)] == [
        False,
        False,
        False,
        True,
    ]
    again.restore()
    assert model.value == 20


def test_best_weights_that_cannot_be_read_are_named_and_stay(tmp_path):
    best = BestState(Validation(0.2, 1), lambda: 0.5, Weights(), tmp_path)
    best.look(1)
    path = tmp_path / "best.npz"
    path.write_bytes(path.read_bytes()[:-20])
    message = f"The best weights in {path} cannot be read .*Remove {tmp_path} "
    with pytest.raises(ValueError, match=message):
        best.restore()
    assert path.exists()


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"share": 1.0}, r"must be in \[0, 1\). Received: 1.0"),
        ({"patience": 3}, "needs images to validate on"),
        (
            {"share": 0.1, "patience": 0},
            "`patience` must be a whole number of at",
        ),
    ],
)
def test_validation_that_cannot_be_is_refused(settings, rule):
    with pytest.raises(ValueError, match=rule):
        Validation(**settings)


def test_last_image_is_not_held_out(tmp_path):
    with pytest.raises(ValueError, match="must have images each"):
        Validation(0.9).hold_out(synthetic.digits_task(1))


@pytest.fixture(scope="module")
def validated(baseline_module, tmp_path_factory):
    """A run with validation, and one that was stopped in between."""
    folder = tmp_path_factory.mktemp("validated")
    task = synthetic.digits_task(60)

    def run(name):
        return keras_experts.finetune(
            baseline_module,
            task,
            folder / name,
            **QUICK,
            validation=0.2,
            compile=False,
        )

    whole = run("whole")
    look = best_state.BestState.look

    def stopping(self, step):
        if step >= 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return look(self, step)

    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
    best_state.BestState.look = stopping
    try:
        with pytest.raises(SystemExit):
            run("stopped")
    finally:
        best_state.BestState.look = look
        signal.signal(signal.SIGTERM, before)
    return folder, whole, run("stopped")


def test_best_state_is_the_result_and_the_last_is_kept(validated):
    folder, metrics, _ = validated
    assert metrics["num_train"] == 48
    assert [look["step"] for look in metrics["validation"]] == list(
        range(1, 11)
    )
    highest = max(look["accuracy"] for look in metrics["validation"])
    assert metrics["validation_accuracy"] == highest
    images = np.random.default_rng(0).random((2, 24, 24, 3), np.float32)
    outputs = [
        keras.saving.load_model(folder / "whole" / name)(images).numpy()
        for name in ("model.keras", "last.keras")
    ]
    is_last = metrics["best_step"] == 10
    assert np.array_equal(*outputs) == is_last
    page = (folder / "whole" / "report.html").read_text()
    assert page.count('<path class="look"') == 10
    assert f"state after step {metrics['best_step']}" in page


def test_stopped_run_with_validation_ends_the_same(validated):
    _, whole, stopped = validated
    for key in ("validation", "accuracy", "confusion", "final_loss"):
        assert stopped[key] == whole[key]


@pytest.mark.slow
def test_bfloat16_computes_so_and_is_saved_in_float32(
    baseline_module, tmp_path
):
    task = synthetic.digits_task(60)
    metrics = {
        precision: keras_experts.finetune(
            baseline_module,
            task,
            tmp_path / precision,
            **QUICK,
            precision=precision,
            compile=False,
        )
        for precision in ("float32", "bfloat16")
    }
    losses = {name: found["final_loss"] for name, found in metrics.items()}
    assert losses["bfloat16"] != losses["float32"]
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.05)
    model = keras.saving.load_model(tmp_path / "bfloat16" / "model.keras")
    assert {layer.compute_dtype for layer in model._flatten_layers()} == {
        "float32"
    }


CODE = """
import json, sys
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(
    cpu, [tf.config.LogicalDeviceConfiguration()] * 2
)
import keras_experts
from keras_experts.data import synthetic
module, output = sys.argv[1:]
metrics = keras_experts.finetune(
    module, synthetic.digits_task(60), output, num_images=160, batch_size=16,
    base_learning_rate=1.0, strategy="mirrored", compile=False,
)
print(json.dumps(metrics))
"""


@pytest.mark.slow
def test_two_devices_give_what_one_does(baseline_module, tmp_path):
    one = keras_experts.finetune(
        baseline_module,
        synthetic.digits_task(60),
        tmp_path / "one",
        **QUICK,
        compile=False,
    )
    done = subprocess.run(
        [sys.executable, "-c", CODE, baseline_module, str(tmp_path / "two")],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr[-2000:]
    two = json.loads(done.stdout)
    assert two["final_loss"] == pytest.approx(one["final_loss"], rel=1e-3)
    assert two["accuracy"] == pytest.approx(one["accuracy"], abs=0.02)


def test_changed_images_are_not_taken_for_those_of_a_killed_run(
    baseline_module, tmp_path, monkeypatch
):
    """An unfinished run is gone on with only where all is the same."""
    from keras_experts.training import finetuning

    names = []
    found = finetuning.unfinished_folder

    def noted(output, settings):
        names.append(found(output, settings).name)
        raise KeyboardInterrupt

    monkeypatch.setattr(finetuning, "unfinished_folder", noted)
    task = synthetic.digits_task(30)
    images = task.train.read(np.arange(30)).copy()
    images[-1] = 255 - images[-1]  # one that is held out
    other = from_arrays(images, task.train.labels, task.class_names)
    for each in (task, task, dataclasses.replace(task, train=other)):
        with pytest.raises(KeyboardInterrupt):
            keras_experts.finetune(
                baseline_module,
                each,
                tmp_path / "out",
                **QUICK,
                validation=0.2,
            )
    assert names[0] == names[1] != names[2]
