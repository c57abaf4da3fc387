import signal
import subprocess
import sys

import pytest

from keras_experts import files


def test_failed_file_leaves_nothing(tmp_path):
    (tmp_path / "a").write_text("old")
    with pytest.raises(KeyError):
        with files.whole_file(tmp_path / "a") as path:
            path.write_text("half")
            raise KeyError
    assert (tmp_path / "a").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_failed_folder_leaves_nothing(tmp_path):
    with pytest.raises(KeyError):
        with files.whole_folder(tmp_path / "a") as path:
            (path / "b").write_text("half")
            raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_folder_that_holds_something_is_refused(tmp_path):
    (tmp_path / "a").write_text("mine")
    with pytest.raises(FileExistsError, match="must be new or empty"):
        with files.whole_folder(tmp_path):
            pass


def test_killed_writer_leaves_the_old_file(tmp_path):
    script = (
        "import sys, time\n"
        "from keras_experts import files\n"
        "with files.whole_file(sys.argv[1]) as path:\n"
        "    path.write_text('half')\n"
        "    print('written', flush=True)\n"
        "    time.sleep(60)\n"
    )
    target = tmp_path / "a"
    target.write_text("old")
    command = [sys.executable, "-c", script, str(target)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert target.read_text() == "old"


def test_file_that_is_no_json_is_named(tmp_path):
    (tmp_path / "a").write_text("{")
    with pytest.raises(ValueError, match="must be JSON. Received: .*a"):
        files.read_json(tmp_path / "a")


def test_file_in_the_way_of_a_folder_is_refused_at_once(tmp_path):
    (tmp_path / "a").write_text("mine")
    with pytest.raises(FileExistsError, match="must be new or empty"):
        with files.whole_folder(tmp_path / "a"):
            pytest.fail("the work began")


def test_failure_leaves_no_folders_above(tmp_path):
    for whole in (files.whole_file, files.whole_folder):
        with pytest.raises(KeyError):
            with whole(tmp_path / "new" / "deep" / "out"):
                raise KeyError
    assert list(tmp_path.iterdir()) == []
