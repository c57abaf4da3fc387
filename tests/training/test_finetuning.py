import json
import os
import shutil
import signal
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import keras_experts
from keras_experts.data import synthetic
from keras_experts.data.tasks import load_task
from keras_experts.evaluation.prediction import predict
from keras_experts.saved_models import handles
from keras_experts.training import watching
from keras_experts.training.stopping import Stopped


@pytest.fixture(scope="module")
def finetuned(baseline_module, image_folder, tmp_path_factory):
    output = tmp_path_factory.mktemp("out") / "finetuned"
    metrics = keras_experts.finetune(
        baseline_module,
        image_folder,
        output,
        num_images=640,
        batch_size=16,
        base_learning_rate=1.0,
    )
    return output, metrics


def test_transfer_learns_what_can_be_learnt(finetuned):
    # Each class has its own colour.
    assert finetuned[1]["train_accuracy"] == 1.0


def test_result_is_all_there(finetuned, baseline_module):
    output, metrics = finetuned
    assert json.loads((output / "metrics.json").read_text()) == metrics
    assert metrics["module"] == baseline_module
    assert metrics["num_images"] == 640
    assert (output / "operative_config.gin").exists()
    metadata = handles.read_metadata(str(output / "module"))
    assert metadata["class_names"] == ["cat", "dog", "fish"]


def test_confusion_is_that_of_the_test_images(finetuned, image_folder):
    output, metrics = finetuned
    task = load_task(image_folder)
    confusion = np.array(metrics["confusion"])
    assert confusion.sum(axis=1).tolist() == (
        np.bincount(task.test.labels, minlength=3).tolist()
    )
    share = np.trace(confusion) / confusion.sum()
    assert share == pytest.approx(metrics["accuracy"])
    assert metrics["class_names"] == ["cat", "dog", "fish"]


def test_learning_curve_has_all_steps_once(finetuned):
    lines = (finetuned[0] / "curve.jsonl").read_text().splitlines()
    steps = [json.loads(line)["step"] for line in lines]
    assert steps == sorted(set(steps)) and steps[-1] == 40
    assert {"loss", "learning_rate"} <= json.loads(lines[0]).keys()


def test_files_are_classified_as_predict_does(finetuned, image_folder):
    output, _ = finetuned
    rows = predict(output, [image_folder])
    contents = tf.constant([Path(r["file"]).read_bytes() for r in rows])
    signatures = tf.saved_model.load(str(output / "module")).signatures
    found = signatures["serving_files"](image_bytes=contents)
    for row, classes, probabilities in zip(
        rows,
        found["classes"].numpy(),
        found["probabilities"].numpy(),
        strict=True,
    ):
        assert classes[0].decode() == row["class"]
        assert probabilities.tolist() == sorted(probabilities, reverse=True)
        told = [row["probabilities"][name.decode()] for name in classes]
        np.testing.assert_allclose(probabilities, told, atol=1e-5)


def test_transparent_drawings_are_served_on_white(finetuned, tmp_path):
    drawing = Image.new("RGBA", (12, 10), (0, 0, 0, 0))
    drawing.paste((0, 0, 0, 255), (3, 3, 8, 8))
    opaque = Image.new("RGB", drawing.size, "white")
    opaque.paste(drawing, mask=drawing.getchannel("A"))
    for mode in ("RGBA", "LA", "P"):
        drawing.convert(mode).save(tmp_path / f"{mode}.png")
    opaque.save(tmp_path / "z.png")
    rows = predict(finetuned[0], tmp_path)
    contents = [Path(row["file"]).read_bytes() for row in rows]
    signatures = tf.saved_model.load(str(finetuned[0] / "module")).signatures
    found = signatures["serving_files"](image_bytes=tf.constant(contents))
    probabilities = found["probabilities"].numpy()
    for row, served in zip(rows, probabilities, strict=True):
        assert row["probabilities"] == rows[-1]["probabilities"]
        np.testing.assert_array_equal(served, probabilities[-1])
        assert served[0] == pytest.approx(row["probability"], abs=1e-5)


def test_keras_file_is_the_module(finetuned, rng):
    output, _ = finetuned
    images = rng.random((2, 24, 24, 3)).astype(np.float32)
    model = keras.saving.load_model(output / "model.keras")
    module = tf.saved_model.load(str(output / "module"))
    np.testing.assert_allclose(model(images), module(images), atol=1e-4)


@pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated")
def test_documented_conversion_to_tflite_gives_the_network_s_logits(
    finetuned, rng, tmp_path, monkeypatch
):
    text = Path(__file__).parents[2].joinpath("docs/fine_tuning.md").read_text()
    _, _, text = text.partition("## TensorFlow Lite")
    code = text.partition("```python\n")[2].partition("```")[0]
    output, _ = finetuned
    (tmp_path / "finetuned").symlink_to(output)
    monkeypatch.chdir(tmp_path)
    images = rng.random((2, 24, 24, 3)).astype(np.float32)
    variables = {"images": images}
    exec(code, variables)
    model = keras.saving.load_model(output / "model.keras")
    np.testing.assert_allclose(variables["logits"], model(images), atol=1e-4)


@pytest.mark.slow
def test_stopped_run_with_a_damaged_checkpoint_ends_the_same(
    baseline_module, tmp_path, monkeypatch, capfd
):
    def run(name):
        return keras_experts.finetune(
            baseline_module,
            synthetic.digits_task(60),
            tmp_path / name,
            num_images=320,
            batch_size=16,
            base_learning_rate=0.003,
            compile=False,
        )

    whole = run("whole")
    write = watching.Watcher.write

    def stopping(watcher, step, figures):
        write(watcher, step, figures)
        if step >= 8:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(watching.Watcher, "write", stopping)
    with pytest.raises(Stopped, match="of 20; run again to go on"):
        run("stopped")
    names = [path.name for path in (tmp_path / "stopped").iterdir()]
    assert names == [".unfinished"]
    paths = (tmp_path / "stopped").glob(".unfinished/*/checkpoints/*.npz")
    before, newest = sorted(paths)
    newest.write_bytes(newest.read_bytes()[:-100])
    monkeypatch.setattr(watching.Watcher, "write", write)
    found = run("stopped")
    for key in ("final_loss", "accuracy", "train_accuracy", "confusion"):
        assert found[key] == whole[key]
    names, others = (
        {path.name for path in (tmp_path / run).iterdir()}
        for run in ("stopped", "whole")
    )
    assert names == others
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "stopped",
        "whole",
    ]
    assert f"{newest} cannot be read" in capfd.readouterr().err


def test_whole_network_moved(finetuned, baseline_module):
    tuned = tf.saved_model.load(str(finetuned[0] / "module"))
    tuned = {variable.name: variable.numpy() for variable in tuned.variables}
    for variable in tf.saved_model.load(baseline_module).variables:
        moved = tuned.pop(variable.name) != variable.numpy()
        assert moved.any(), variable.name
    assert set(tuned) == {"head/kernel:0", "head/bias:0"}


def test_predictions_are_the_classifier_s(finetuned, image_folder):
    output, metrics = finetuned
    rows = predict(output, [image_folder])
    assert len(rows) == 30
    hits = sum(row["class"] in row["file"] for row in rows)
    accuracy = (
        metrics["num_train"] * metrics["train_accuracy"]
        + metrics["num_test"] * metrics["accuracy"]
    )
    assert hits == round(accuracy)
    for row in rows:
        assert sum(row["probabilities"].values()) == pytest.approx(1)
        assert row["probability"] == max(row["probabilities"].values())


@pytest.mark.parametrize(
    "compile", [False, pytest.param(True, marks=pytest.mark.slow)]
)
def test_same_seed_gives_the_same_result(baseline_module, tmp_path, compile):
    task = synthetic.position_task(32, 16, 24)
    metrics = [
        keras_experts.finetune(
            baseline_module,
            task,
            tmp_path / str(run),
            num_images=64,
            batch_size=16,
            compile=compile,
        )
        for run in range(2)
    ]
    for key in ("final_loss", "accuracy", "train_accuracy"):
        assert metrics[0][key] == metrics[1][key]


@pytest.mark.parametrize(
    ("settings", "steps"),
    [
        ({}, {"num_steps": 100, "batch_size": 32, "rate": 0.4}),
        (
            {
                "num_images": 256_000,
                "batch_size": 512,
                "base_learning_rate": 0.003,
            },
            {"num_steps": 500, "batch_size": 512, "rate": 0.003},
        ),
    ],
    ids=["defaults", "the paper's rule"],
)
def test_first_training_has_the_chosen_or_given_settings(
    baseline_module, monkeypatch, settings, steps
):
    seen = {}

    def stop(num_train, num_steps, batch_size, rate):
        seen.update(num_steps=num_steps, batch_size=batch_size, rate=rate)
        raise KeyboardInterrupt

    name = "keras_experts.training.schedules.bit_schedule"
    monkeypatch.setattr(name, stop)
    with pytest.raises(KeyboardInterrupt):
        keras_experts.finetune(
            baseline_module,
            synthetic.digits_task(100),
            "never-made",
            **settings,
        )
    assert seen == steps


@pytest.mark.slow
def test_work_of_a_diverged_run_stays_until_another_succeeds(
    baseline_module, tmp_path
):
    output = tmp_path / "out"

    def run(rate):
        return keras_experts.finetune(
            baseline_module,
            synthetic.digits_task(100),
            output,
            num_images=160,
            batch_size=16,
            base_learning_rate=rate,
            compile=False,
        )

    with pytest.raises(FloatingPointError):
        run(1e38)
    assert list(output.glob(".unfinished/*/checkpoints/step-*.npz"))
    run(0.1)
    assert sorted(path.name for path in output.iterdir()) == [
        *("curve.jsonl", "metrics.json", "model.keras", "module"),
        *("operative_config.gin", "report.html"),
    ]


@pytest.mark.slow
def test_expert_of_a_bank_is_cut_out_and_fine_tuned(
    collection, image_folder, tmp_path
):
    bank = f"{collection}/acme/experts/bank/1"
    metrics = [
        keras_experts.finetune(
            module,
            image_folder,
            tmp_path / str(number),
            num_images=32,
            batch_size=8,
            compile=False,
        )
        for number, module in enumerate(
            (f"{bank}#form", f"{collection}/acme/experts/form/1")
        )
    ]
    assert [m["expert"] for m in metrics] == ["form", "form"]
    assert metrics[0]["final_loss"] == metrics[1]["final_loss"]


@pytest.mark.slow
def test_a_validation_split_chooses_the_state_and_copies_are_not_tested(
    baseline_module, image_folder, tmp_path, capfd
):
    photos = tmp_path / "photos"
    for split, numbers in (("train", range(6)), ("val", (6, 7, 8))):
        for name in ("cat", "dog", "fish"):
            (photos / split / name).mkdir(parents=True)
            for number in numbers:
                path = image_folder / name / f"{number}.png"
                shutil.copy(path, photos / split / name)
    (photos / "test" / "cat").mkdir(parents=True)
    for number in (5, 9):  # the first is a training image too
        path = image_folder / "cat" / f"{number}.png"
        shutil.copy(path, photos / "test" / "cat")
    metrics = keras_experts.finetune(
        baseline_module,
        photos,
        tmp_path / "tuned",
        num_images=32,
        batch_size=16,
        base_learning_rate=0.01,
        validation=0.2,
        compile=False,
    )
    assert metrics["num_train"] == 18
    assert (metrics["num_test"], metrics["num_test_copies"]) == (1, 1)
    assert np.sum(metrics["confusion"]) == 1
    # A share of nine images.
    accuracy = metrics["validation_accuracy"]
    assert accuracy * 9 == pytest.approx(round(accuracy * 9))
    err = capfd.readouterr().err
    assert "chosen on the 9 images of its validation split" in err
    assert "1 of 2 test images are exact copies of training images" in err
