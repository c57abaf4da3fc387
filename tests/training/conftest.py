"""Stages in processes of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CHILD = Path(__file__).with_name("child.py")


@pytest.fixture(scope="session")
def start_stage():
    """Starts a stage; stdout is its losses as JSON, or an error's line."""
    running = []

    def start(stage, workdir, *params, devices=1, **environment):
        command = [sys.executable, str(CHILD), stage, str(workdir)]
        process = subprocess.Popen(
            [*command, str(devices), *params],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **environment},
        )
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()


@pytest.fixture(scope="session")
def run_stage(start_stage):
    """Runs a stage to its end and gives the losses of its steps."""

    def run(*arguments, **named):
        process = start_stage(*arguments, **named)
        out, err = process.communicate(timeout=280)
        assert process.returncode == 0, out + err[-3000:]
        return json.loads(out.splitlines()[-1])

    return run
