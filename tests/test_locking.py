import os
import signal
import subprocess
import sys

import pytest

from keras_experts.locking import LOCK_FILE
from keras_experts.locking import locked

HOLD = """
import sys, time
from keras_experts.locking import locked
with locked(sys.argv[1]):
    print("held", flush=True)
    time.sleep(600)
"""


def test_second_writer_is_refused_and_the_folder_is_free_afterwards(tmp_path):
    for _ in range(2):
        with locked(tmp_path):
            with pytest.raises(BlockingIOError, match=f"writing to {tmp_path}"):
                with locked(tmp_path):
                    pass
            assert (tmp_path / LOCK_FILE).exists()  # the second left it


def test_nothing_is_left_of_a_lock(tmp_path):
    with locked(tmp_path / "run" / "baseline"):
        pass
    assert list(tmp_path.iterdir()) == []
    with locked(tmp_path):  # it was there before, and stays
        pass
    with locked(tmp_path / "run" / "baseline"):
        (tmp_path / "run" / "experts.json").touch()
    names = [path.name for path in tmp_path.rglob("*")]
    assert names == ["run", "experts.json"]


def test_lock_of_a_killed_process_is_gone(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(BlockingIOError), locked(tmp_path):
            pass
        os.kill(process.pid, signal.SIGKILL)
    assert (tmp_path / LOCK_FILE).exists()
    with locked(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []
