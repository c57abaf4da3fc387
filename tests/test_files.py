import contextlib
import json
import os
import signal
import subprocess
import sys
import threading

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


WRITER = """
import sys, time
from keras_experts import files
with files.whole_file(sys.argv[1]) as path:
    path.write_text("half")
    print("written", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def start_writer():
    """Starts a process in the middle of writing a file."""
    with contextlib.ExitStack() as stack:

        def start(target):
            process = subprocess.Popen(
                [sys.executable, "-c", WRITER, str(target)],
                stdout=subprocess.PIPE,
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            process.stdout.readline()
            return process

        yield start


def test_next_writer_deletes_what_a_killed_one_left(tmp_path, start_writer):
    target = tmp_path / "a"
    target.write_text("old")
    process = start_writer(target)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert target.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 2  # the temporary folder
    files.write_text(tmp_path / "b", "new")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"]


def test_temporary_folder_of_a_live_process_is_kept(tmp_path, start_writer):
    start_writer(tmp_path / "a")
    before = set(tmp_path.iterdir())
    files.write_text(tmp_path / "b", "new")
    assert set(tmp_path.iterdir()) == {*before, tmp_path / "b"}


def test_folder_of_another_program_is_kept(tmp_path):
    (tmp_path / ".tmp-other").mkdir()
    files.write_text(tmp_path / "a", "new")
    assert (tmp_path / ".tmp-other").is_dir()


def test_temporary_files_lie_below_a_parent_that_is_new(tmp_path, start_writer):
    start_writer(tmp_path / "new" / "deep" / "a")
    assert [p.name for p in tmp_path.iterdir()] == ["new"]


def test_pipe_is_written_through(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    found = []
    reader = threading.Thread(target=lambda: found.append(pipe.read_text()))
    reader.start()
    files.write_json(pipe, {"a": 1})
    assert pipe.is_fifo()
    reader.join(10)
    assert json.loads(found[0]) == {"a": 1}


def test_device_is_written_through(tmp_path):
    before = os.stat("/dev/null")
    files.write_text("/dev/null", "text")
    (tmp_path / "null").symlink_to("/dev/null")
    files.write_text(tmp_path / "null", "text")
    assert os.stat("/dev/null").st_rdev == before.st_rdev
    assert (tmp_path / "null").is_symlink()


def test_link_stays_a_link_and_its_file_is_replaced(tmp_path):
    (tmp_path / "there").mkdir()
    target = tmp_path / "there" / "a"
    target.write_text("old")
    link = tmp_path / "link"
    link.symlink_to(target)
    files.write_text(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    (tmp_path / "folder").mkdir()
    (tmp_path / "way").symlink_to(tmp_path / "folder")
    with files.whole_folder(tmp_path / "way") as folder:
        (folder / "b").write_text("new")
    assert (tmp_path / "way").is_symlink()
    assert (tmp_path / "folder" / "b").read_text() == "new"


@pytest.mark.parametrize("stdout", ["pipe", "file"])
def test_stdout_by_its_path_is_written_through(tmp_path, stdout):
    script = "from keras_experts import files\nprint('first', flush=True)\n"
    script += "files.write_text('/dev/stdout', 'second')"
    command = [sys.executable, "-c", script]
    if stdout == "pipe":
        output = subprocess.check_output(command, text=True)
    else:
        with open(tmp_path / "out", "w") as file:
            subprocess.run(command, stdout=file, check=True)
        output = (tmp_path / "out").read_text()
    assert output == "first\nsecond"
    assert os.path.islink("/dev/stdout")


def test_full_device_is_named():
    with pytest.raises(OSError, match="Could not write /dev/full: No space"):
        files.write_text("/dev/full", "text")


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_json_never_holds_nan_or_infinity(tmp_path, number):
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(tmp_path / "a.json", {"score": number})
    assert list(tmp_path.iterdir()) == []


def test_home_folder_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KERAS_EXPERTS_CACHE", "~/cache")
    files.write_json("~/a.json", [1])
    assert files.read_json("~/a.json") == [1]
    with files.open_text("~/a.json") as file:
        assert json.load(file) == [1]
    assert files.cache_folder() == tmp_path / "cache"


def test_check_of_a_file_to_write_leaves_nothing(tmp_path):
    files.check_writable(tmp_path / "a")
    files.check_folder(tmp_path / "new" / "deep")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        (".", "is a folder"),
        ("missing/a", "the folder .*missing does not exist"),
        ("/proc/a", "cannot write to the folder /proc"),
        ("/sys/kernel/a", "cannot write to the folder /sys/kernel"),
    ],
)
def test_file_that_cannot_be_written_is_refused(
    tmp_path, monkeypatch, path, reason
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OSError, match=reason):
        files.check_writable(path)


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
