"""Signatures as TensorFlow Serving and its tools see them."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from keras_experts.saved_models.loading import load_module

CLI = Path(sys.executable).with_name("saved_model_cli")


def saved_model_cli(*arguments):
    result = subprocess.run(
        [str(CLI), *arguments], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def show(folder, signature):
    text = saved_model_cli(
        *("show", "--dir", str(folder), "--tag_set", "serve"),
        *("--signature_def", signature),
    )
    return text


@pytest.mark.parametrize("name", ["baseline", "form", "bank"])
def test_default_signature_takes_images(collection, name):
    text = show(collection / "acme/experts" / name / "1", "serving_default")
    assert "inputs['inputs'] tensor_info:" in text
    assert "shape: (-1, -1, -1, 3)" in text
    assert "outputs['features'] tensor_info:" in text
    assert "shape: (-1, 256)" in text
    assert text.count("dtype: DT_FLOAT") == 2


@pytest.mark.slow
def test_bank_s_signatures_take_names_and_indices(collection):
    folder = collection / "acme/experts/bank/1"
    by_name = show(folder, "by_name")
    assert "inputs['expert_name']" in by_name and "DT_STRING" in by_name
    assert "inputs['expert']" in show(folder, "by_index")
    assert "shape: (-1, 2, 256)" in show(folder, "all_experts")


@pytest.mark.slow
def test_signature_is_run(collection, tmp_path):
    folder = collection / "acme/experts/bank/1"
    images = np.random.default_rng(0).random((2, 24, 24, 3), np.float32)
    np.savez(tmp_path / "in.npz", images=images, names=np.array(["form"]))
    saved_model_cli(
        *("run", "--dir", str(folder), "--tag_set", "serve"),
        *("--signature_def", "by_name", "--outdir", str(tmp_path)),
        "--inputs",
        f"inputs={tmp_path}/in.npz[images];expert_name={tmp_path}/in.npz[names]",
    )
    features = np.load(tmp_path / "features.npy")
    expected = load_module(f"{folder}#form")(images)
    np.testing.assert_allclose(features, expected, atol=1e-5)


def test_folder_of_versions_is_what_serving_wants(collection):
    # model_base_path of tensorflow_model_server: numbers with SavedModels.
    folder = collection / "acme" / "experts" / "bank"
    versions = [path for path in folder.iterdir() if path.is_dir()]
    assert [path.name for path in versions] == ["1"]
    assert (versions[0] / "saved_model.pb").is_file()
