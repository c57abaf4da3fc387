"""The range of pixels that a module is fed is recorded wherever it is used."""

import json
import shlex

import gin
import keras
import numpy as np
import pytest

import keras_experts
from keras_experts import cli
from keras_experts.training.features import load_features


@pytest.fixture
def network(tmp_path):
    keras.utils.set_random_seed(0)
    images = keras.Input((8, 8, 3))
    features = keras.layers.Conv2D(4, 3, activation="relu")(images)
    features = keras.layers.GlobalAveragePooling2D()(features)
    keras.Model(images, features).save(tmp_path / "network.keras")
    return tmp_path / "network.keras"


@pytest.mark.slow
def test_range_that_was_scored_is_in_all_that_is_left(
    network, image_folder, tmp_path, capfd, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    line = "network.keras baseline input_range=-1,1\n"
    (tmp_path / "pool.txt").write_text(line)
    flags = ["--modules", "pool.txt", "--task", str(image_folder)]
    assert cli.main(["select", *flags, "--json", "selection.json"]) == 0
    best = json.loads((tmp_path / "selection.json").read_text())["ranking"][0]
    assert (best["input_range"], best["image_size"]) == ([-1.0, 1.0], 8)
    printed = capfd.readouterr().out.splitlines()
    (command,) = [line for line in printed if line.startswith("next ")]
    command = shlex.split(command)[2:]
    quick = ["--num_images", "16", "--batch_size", "8"]
    quick += ["--base_learning_rate", "0.1"]
    assert cli.main([*command, *quick]) == 0
    metrics = json.loads((tmp_path / "finetuned/metrics.json").read_text())
    assert metrics["input_range"] == [-1.0, 1.0]
    gin.clear_config()
    gin.parse_config_file(tmp_path / "finetuned/operative_config.gin")
    assert list(gin.query_parameter("finetune.input_range")) == [-1.0, 1.0]
    assert gin.query_parameter("finetune.num_images") == 16
    images = np.random.default_rng(0).random((2, 8, 8, 3), np.float32)
    whole = keras.saving.load_model(tmp_path / "finetuned/model.keras")
    scaled = [w for w in whole.layers if w.name == "features"][0].layers[1]
    np.testing.assert_allclose(scaled(images), 2 * images - 1, atol=1e-6)


def test_integer_network_s_range_is_recorded(image_folder, tmp_path):
    images = keras.Input((8, 8, 3), dtype="uint8")
    scaled = keras.layers.Rescaling(1 / 255)(images)
    features = keras.layers.GlobalAveragePooling2D()(scaled)
    path = tmp_path / "bytes.keras"
    keras.Model(images, features).save(path)
    selection = keras_experts.select(image_folder, [path])
    assert selection.to_json()["ranking"][0]["input_range"] == (0.0, 255.0)
    metrics = keras_experts.finetune(
        path, image_folder, tmp_path / "out", num_images=16, batch_size=8
    )
    assert metrics["input_range"] == [0.0, 255.0]


def test_modules_of_ours_take_no_other_range(
    baseline_module, image_folder, tmp_path
):
    pool = tmp_path / "pool.txt"
    pool.write_text(f"{baseline_module} input_range=-1,1\n")
    with pytest.raises(ValueError, match=r"images in \[0, 1\]"):
        keras_experts.select(image_folder, [pool])
    with pytest.raises(ValueError, match=r"images in \[0, 1\]"):
        load_features(baseline_module, input_range=(-1.0, 1.0))
