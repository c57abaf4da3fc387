"""A published collection, hosted by a real process."""

import json
import os
import select
import shutil
import subprocess
import sys

import pytest

LOAD = """
import sys, warnings
warnings.simplefilter("ignore")
import numpy as np
import tensorflow_hub as hub
module = hub.load(sys.argv[1])
print(module(np.zeros((2, 24, 24, 3), np.float32)).shape)
"""


@pytest.fixture(scope="session")
def published(run_dir, tmp_path_factory):
    """A collection whose experts lie below one another, with samples."""
    from keras_experts.exporting.collection import export_run
    from keras_experts.exporting.collection_writer import Publication

    run = tmp_path_factory.mktemp("published_run") / "run"
    shutil.copytree(run_dir, run)
    listed = json.loads((run / "experts.json").read_text())
    first, second = listed["experts"]
    second["parents"] = [first["name"]]
    (run / "experts.json").write_text(json.dumps(listed))
    output = tmp_path_factory.mktemp("published")
    publication = Publication("acme", license="apache-2.0", samples=True)
    export_run(run, output, publication)
    return output


@pytest.fixture(scope="session")
def serve():
    """Starts hosts; gives the address and the process of each."""
    started = []

    def start(folder, *flags):
        command = [sys.executable, "-m", "keras_experts.cli", "serve"]
        process = subprocess.Popen(
            [*command, str(folder), "--port", "0", *flags],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        started.append(process)
        ready, _, _ = select.select([process.stdout], [], [], 60)
        assert ready, process.communicate(timeout=1)
        return process.stdout.readline().strip(), process

    yield start
    for process in started:
        process.terminate()
        process.communicate(timeout=10)


@pytest.fixture(scope="session")
def host(published, serve):
    """The address of a host of `published`, ending in "/"."""
    return serve(published)[0]


@pytest.fixture
def hub_load(tmp_path):
    """Loads a handle in a process with an empty cache; what that prints."""

    def load(handle):
        result = subprocess.run(
            [sys.executable, "-c", LOAD, handle],
            env={**os.environ, "TFHUB_CACHE_DIR": str(tmp_path / "cache")},
            capture_output=True,
            text=True,
        )
        assert result.returncode == 0, result.stderr
        return result.stdout

    return load
