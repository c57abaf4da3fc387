"""Saved models load once Keras and this package have been imported."""

import subprocess
import sys

import pytest

from keras_experts.training.finetuning import finetune


@pytest.fixture(scope="module")
def tuned(text_collection, text_files, make_once):
    module = str(text_collection / "acme/experts/animal-full/1")
    recipe = {"num_images": 32, "batch_size": 16}

    def make(folder):
        finetune(module, text_files / "task.csv", folder / "out", **recipe)

    return make_once("briefly_tuned_text", make) / "out/model.keras"


@pytest.mark.parametrize(
    "imports", ["import keras_experts, keras", "import keras, keras_experts"]
)
def test_a_fine_tuned_text_model_loads_after_the_import_alone(tuned, imports):
    code = f"""
{imports}
model = keras.saving.load_model({str(tuned)!r})
print(sorted(model.input), model.output_shape)
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr[-2000:]
    names = "['input_mask', 'input_type_ids', 'input_word_ids']"
    assert result.stdout.splitlines()[-1] == f"{names} (None, 4)"


@pytest.mark.slow
def test_using_a_public_name_registers_too():
    code = """
import sys, keras_experts
assert "keras" not in sys.modules
keras_experts.Hierarchy
assert "keras" not in sys.modules
keras_experts.select
from keras.saving import get_registered_object
print(get_registered_object("keras_experts>TextEncoder"))
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True
    )
    assert "TextEncoder" in result.stdout, result.stderr[-2000:]
