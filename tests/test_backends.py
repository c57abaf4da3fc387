"""Layers and models on Keras' other backend, in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
CODE = """
import sys
import pytest
import keras_experts.models as m
import keras_experts.selection.neighbors
m.bit_resnet("r14x0.25_small"); m.extract_expert; m.load_bit_weights
print("tensorflow is imported:", "tensorflow" in sys.modules, flush=True)
sys.exit(pytest.main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def under_jax():
    """A network made, then the tests of layers and models, under JAX."""
    command = [sys.executable, "-c", CODE, "-q", "-m", "not parity"]
    command += ["tests/layers", "tests/models"]
    # HubLayer is TensorFlow's.
    command += ["--ignore", "tests/layers/test_hub_layer.py"]
    # What a network is made of is the same under any backend.
    shapes = ("every_width", "small_root", "r50x1_has", "activations_are_named")
    # One size of images is enough to see that R50x1 computes the same.
    sizes = ("transformers[224]", "transformers[225]")
    command += ["-k", " and ".join(f"not {name}" for name in shapes)]
    for size in sizes:
        test = "test_bit_weights.py::test_features_equal_the_stored_ones_of_"
        command += ["--deselect", f"tests/models/{test}{size}"]
    return subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
    )


def test_layers_and_models_pass_their_tests_under_jax(under_jax):
    assert under_jax.returncode == 0, under_jax.stdout[-4000:]
    assert " passed" in under_jax.stdout


def test_layers_and_models_do_not_import_tensorflow_under_jax(under_jax):
    assert under_jax.stdout.startswith("tensorflow is imported: False\n")
