"""Versions that never change, and one writer at a time."""

import os
import shutil
import signal
import subprocess
import sys

import keras
import pytest

from keras_experts import files
from keras_experts.exporting.collection import export_run
from keras_experts.exporting.collection_writer import CollectionWriter
from keras_experts.exporting.collection_writer import Publication
from keras_experts.locking import LOCK_FILE
from keras_experts.models import bit_resnet
from keras_experts.saved_models import handles

ROW = {
    **dict.fromkeys(("domain", "synset", "top1", "top1_baseline")),
    **dict.fromkeys(("num_images", "num_classes", "num_steps"), 1),
    **{"kind": "baseline", "parents": [], "dataset": "none"},
    **{"batch_size": 1, "image_size": 24, "hierarchy": None},
}
HOLD = """
import sys, time
from pathlib import Path
from keras_experts.exporting.collection_writer import CollectionWriter
from keras_experts.exporting.collection_writer import Publication
with CollectionWriter(Path(sys.argv[1]), Publication("acme")):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture(scope="module")
def networks():
    """Three networks that differ."""
    keras.utils.set_random_seed(0)
    return [bit_resnet("r14x0.25_small") for _ in range(3)]


def add(folder, network, name="baseline"):
    """Adds a network to a collection; gives the handles of its rows."""
    with CollectionWriter(folder, Publication("acme")) as writer:
        writer.add_network(name, network, ROW, folder)
        return [row["handle"] for row in writer.finish()]


@pytest.mark.slow
def test_number_of_a_deleted_version_is_not_used_again(networks, tmp_path):
    first, second, _ = networks
    one, two = (f"acme/experts/baseline/{number}" for number in (1, 2))
    add(tmp_path, first)
    assert add(tmp_path, second) == [one, two]
    shutil.rmtree(tmp_path / two)
    (tmp_path / f"{two}.tar.gz").unlink()
    assert add(tmp_path, first) == [one, two, f"{two[:-1]}3"]
    # A version whose archive alone is left is one too.
    shutil.rmtree(tmp_path / f"{two[:-1]}3")
    files.write_json(tmp_path / "collection.json", {"modules": []})
    assert add(tmp_path, second) == [f"{two[:-1]}4"]


@pytest.mark.slow
def test_deleted_folder_of_the_latest_version_is_written_again(
    networks, tmp_path
):
    handle = "acme/experts/baseline/1"
    add(tmp_path, networks[0])
    archive = (tmp_path / f"{handle}.tar.gz").read_bytes()
    shutil.rmtree(tmp_path / handle)
    assert add(tmp_path, networks[0]) == [handle]
    assert handles.is_saved_model(tmp_path / handle)
    assert (tmp_path / f"{handle}.tar.gz").read_bytes() == archive


def test_what_is_no_version_is_not_counted(networks, tmp_path):
    for name in ("²", "x", "1.tar"):
        (tmp_path / "acme/experts/baseline" / name).mkdir(parents=True)
    assert add(tmp_path, networks[0]) == ["acme/experts/baseline/1"]


def test_what_an_older_version_held_is_a_new_version(networks, tmp_path):
    add(tmp_path, networks[0])
    add(tmp_path, networks[1])
    numbers = [handle[-1] for handle in add(tmp_path, networks[0])]
    assert numbers == ["1", "2", "3"]
    assert len(add(tmp_path, networks[0])) == 3  # the latest already


@pytest.mark.parametrize("name", ["../x", "..", "a/b", "vögel", "", 'x"'])
def test_last_part_of_a_handle_is_checked(networks, tmp_path, name):
    with pytest.raises(ValueError, match="`name` must match"):
        add(tmp_path / "c", networks[0], name)
    assert list(tmp_path.iterdir()) == []


def test_samples_make_a_new_version(run_dir, tmp_path):
    run, output = tmp_path / "run", tmp_path / "c"
    shutil.copytree(run_dir, run)
    shutil.rmtree(run / "experts")
    export_run(run, output, Publication("acme"))
    for _ in range(2):
        rows = export_run(run, output, Publication("acme", samples=True))
        assert [row["handle"][-1] for row in rows] == ["1", "2"]
    folders = [output / row["path"] for row in rows]
    found = [(folder / handles.SAMPLES_FILE).exists() for folder in folders]
    assert found == [False, True]


def test_collection_has_one_writer_at_a_time(networks, tmp_path):
    with CollectionWriter(tmp_path, Publication("acme")) as writer:
        with pytest.raises(BlockingIOError, match="Another process is writing"):
            CollectionWriter(tmp_path, Publication("acme"))
        writer.add_network("baseline", networks[0], ROW, tmp_path)
        writer.finish()
    with pytest.raises(ZeroDivisionError):
        with CollectionWriter(tmp_path, Publication("acme")):
            1 / 0
    assert len(add(tmp_path, networks[1])) == 2


def test_broken_collection_is_left_unlocked(networks, tmp_path):
    files.write_json(tmp_path / "collection.json", {})
    with pytest.raises(ValueError, match="modules"):
        CollectionWriter(tmp_path, Publication("acme"))
    files.write_json(tmp_path / "collection.json", {"modules": []})
    assert len(add(tmp_path, networks[0])) == 1


@pytest.mark.slow
def test_killed_writer_leaves_no_lock(networks, tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(BlockingIOError):
            add(tmp_path, networks[0])
        os.kill(process.pid, signal.SIGKILL)
    assert len(add(tmp_path, networks[0])) == 1
    assert LOCK_FILE not in os.listdir(tmp_path)
