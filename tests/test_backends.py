"""Layers and models on Keras' other backend, in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_layers_and_models_pass_their_tests_under_jax():
    command = [sys.executable, "-m", "pytest", "-q", "-m", "not parity"]
    command += ["tests/layers", "tests/models"]
    # HubLayer is TensorFlow's.
    command += ["--ignore", "tests/layers/test_hub_layer.py"]
    # What a network is made of is the same under any backend.
    command += ["-k", "not every_width and not small_root and not r50x1_has"]
    result = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout[-4000:]
    assert " passed" in result.stdout


def test_layers_and_models_do_not_import_tensorflow_under_jax():
    code = (
        "import sys, keras_experts.models as m; m.bit_resnet('r14x0.25_small')"
        "; m.extract_expert; m.load_bit_weights; import "
        "keras_experts.selection.neighbors; "
        "sys.exit('tensorflow' in sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "KERAS_BACKEND": "jax"},
    )
    assert result.returncode == 0
