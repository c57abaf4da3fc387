"""What a written module consists of."""

import subprocess
import sys

import pytest
import tensorflow as tf

from keras_experts import files

WRITE = """
import sys
import keras
from pathlib import Path
from keras_experts.exporting import archives
from keras_experts.saved_models.writing import write_keras_module

keras.utils.set_random_seed(0)
pool = keras.layers.GlobalAveragePooling2D()
layers = [keras.Input((None, None, 3)), pool, keras.layers.Dense(4)]
folder = Path(sys.argv[1])
write_keras_module(folder, keras.Sequential(layers), "features", {"a": 1})
archives.pack(folder, folder.with_suffix(".tar.gz"))
"""


@pytest.mark.slow
def test_two_processes_write_archives_of_the_same_bytes(tmp_path):
    commands = [
        [sys.executable, "-c", WRITE, str(tmp_path / name)]
        for name in ("first", "second")
    ]
    processes = [
        subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        for command in commands
    ]
    for process in processes:
        _, errors = process.communicate()
        assert process.returncode == 0, errors
    first, second = (
        files.checksum(tmp_path / f"{name}.tar.gz")
        for name in ("first", "second")
    )
    assert first == second
    assert tf.saved_model.experimental.read_fingerprint(str(tmp_path / "first"))
