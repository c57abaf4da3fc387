import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf

from keras_experts.data import synthetic
from keras_experts.data.labeled_images import from_contents
from keras_experts.selection.embeddings import Embedder
from keras_experts.selection.modules import Source
from keras_experts.selection.worker import Worker
from keras_experts.selection.worker import read_images
from keras_experts.selection.worker import write_images
from tests.selection.modules import loop_for_ever
from tests.selection.modules import mean
from tests.selection.modules import save_module
from tests.selection.modules import take_all_memory


@pytest.fixture(scope="module")
def images():
    return synthetic.digits_task(60).train


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    functions = {
        "mean": mean,
        "endless": loop_for_ever,
        "huge": take_all_memory,
    }
    return {
        name: Source(save_module(folder / name, function), 16)
        for name, function in functions.items()
    }


def collect(runner, source, indices):
    rows = {}
    for chosen, _, features in runner.features(source, [None], indices):
        assert not isinstance(features, ValueError), features
        rows.update(zip(chosen.tolist(), features, strict=True))
    return np.stack([rows[index] for index in indices.tolist()])


@pytest.mark.slow
def test_another_process_gives_the_same_features_and_outlives_bad_modules(
    images, saved
):
    indices = np.arange(59, -1, -1)
    expected = collect(Embedder(images), saved["mean"], indices)
    with Worker(images, trust=False, time_limit=100.0) as worker:
        found = collect(worker, saved["mean"], indices)
        np.testing.assert_array_equal(found, expected)
        ((_, _, error),) = worker.features(saved["huge"], [None], indices)
        assert "which fails on" in str(error)
        worker.time_limit = 2.0
        started = time.monotonic()
        with pytest.raises(ValueError, match=r"within 2 seconds .*endless"):
            list(worker.features(saved["endless"], [None], indices))
        assert time.monotonic() - started < 50
        worker.time_limit = 100.0
        found = collect(worker, saved["mean"], indices[:7])
        np.testing.assert_allclose(found, expected[:7], atol=1e-6)


@pytest.mark.slow
def test_process_that_the_system_kills_is_one_module_s_failure(images, saved):
    with Worker(images, trust=False, time_limit=100.0) as worker:
        batches = worker.features(saved["endless"], [None], np.arange(60))
        collect(worker, saved["mean"], np.arange(3))
        os.kill(worker._process.pid, signal.SIGKILL)
        with pytest.raises(ValueError, match="SIGKILL, as the system does"):
            list(batches)
        assert len(collect(worker, saved["mean"], np.arange(3))) == 3


def test_process_ends_with_the_one_that_started_it(images, saved):
    code = (
        "import os, signal, numpy as np;"
        "from keras_experts.data import synthetic;"
        "from keras_experts.selection.worker import Worker;"
        "w = Worker(synthetic.digits_task(60).train, False, 100.0);"
        "w._start();"
        "print(w._process.pid, flush=True);"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True
    )
    pid = int(result.stdout)
    for _ in range(100):
        if not os.path.exists(f"/proc/{pid}"):
            return
        time.sleep(0.1)
    pytest.fail(f"process {pid} is still there")


@pytest.mark.parametrize("encoded", [True, False])
def test_images_pass_to_another_process_as_they_are(images, tmp_path, encoded):
    if encoded:
        contents = [
            tf.io.encode_png(image).numpy()
            for image in images.read(np.arange(9))
        ]
        images = from_contents(contents, [0] * 9, ["digit"])
    write_images(images, tmp_path)
    found = read_images(tmp_path)
    assert found.num_examples == images.num_examples
    places = np.array([4, 0, 4])
    for one, other in zip(found.read(places), images.read(places), strict=True):
        np.testing.assert_array_equal(one, other)
