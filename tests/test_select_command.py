"""`keras-experts select`: what it prints and leaves, and how it fails."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from keras_experts import cli
from tests.selection.modules import loop_for_ever
from tests.selection.modules import mean
from tests.selection.modules import save_module


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    """Three modules of mean colours, and one that fails."""
    folder = tmp_path_factory.mktemp("pool")

    def blurred(images):
        return tf.reduce_mean(images, (1, 2, 3))[:, None] + 0.0 * mean(images)

    save_module(folder / "colour", mean)
    save_module(folder / "grey", blurred)
    save_module(folder / "nan", lambda x: mean(x) / 0.0 * 0.0)
    pool = folder / "pool.txt"
    pool.write_text("grey baseline\ncolour\nnan\n")
    return pool


@pytest.fixture
def select(pool, image_folder, capfd, monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_EXPERTS_CACHE", str(tmp_path / "cache"))

    def run(*arguments, modules=(pool,), task=(image_folder,)):
        command = ["select", "--modules", *modules, "--task", *task]
        try:
            code = cli.main([str(a) for a in (*command, *arguments)])
        except SystemExit as stop:
            code = stop.code
        out, err = capfd.readouterr()
        return code, out, err

    return run


@pytest.mark.slow
def test_table_says_how_sure_the_choice_is(select, pool):
    code, out, err = select()
    assert code == 0
    lines = out.splitlines()
    assert "leave-one-out accuracy of the nearest neighbour" in lines[0]
    for column in ("score", "95% interval", "gain over baseline", "seconds"):
        assert any(column in line for line in lines[:4])
    (row,) = [line for line in lines if "colour" in line and "│" in line]
    assert "100.0%" in row and "+" in row and "±" in row
    best = pool.parent / "colour"
    assert lines[-3] == f"best {best}"
    assert "passes" in lines[-4]
    assert "is better than the baseline by" in lines[-2]
    command = f"next keras-experts finetune --module {best} --task "
    assert lines[-1].startswith(command)
    # What failed is named once, on stderr.
    assert err.count("Left out") == 1 and "NaN or infinity" in err


def test_json_on_stdout_is_all_there_is_on_it(select):
    code, out, _ = select("--json", "-", "--time_limit", 100)
    assert code == 0
    content = json.loads(out)
    assert content["best"].endswith("colour")
    (skipped,) = content["skipped"]
    assert skipped["module"].endswith("nan")


def test_several_tasks_give_a_list(select, image_folder, tmp_path):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 99, (30, 8, 8, 3)).astype(np.uint8)
    labels = np.array(["red", "dark"] * 15)
    pixels[::2, ..., 0] += 150
    np.savez(tmp_path / "reds.npz", images=pixels, labels=labels)
    tasks = (image_folder, tmp_path / "reds.npz")
    code, out, _ = select("--json", "-", task=tasks)
    assert code == 0
    assert [row["task"] for row in json.loads(out)][1] == "reds"


@pytest.mark.slow
def test_strategies_and_their_settings_are_flags(select, monkeypatch):
    from keras_experts.selection.strategies import Knn

    found = []
    score = Knn.score
    monkeypatch.setattr(
        Knn, "score", lambda self, *a: found.append(self) or score(self, *a)
    )
    setting = ("--gin_param", "Knn.k = 3", 'Knn.metric = "cosine"')
    assert select(*setting)[0] == 0
    assert set(found) == {Knn(3, "cosine")}
    code, out, _ = select("--strategy", "logme")
    assert code == 0 and "LogME" in out.splitlines()[0]


@pytest.mark.slow
def test_race_and_combination_are_reported(select):
    code, out, _ = select("--racing", "budget", "--budget", 0.9, "--combine")
    assert code == 0
    assert any(line.startswith("saved by racing") for line in out.splitlines())
    assert any(line.startswith("combined ") for line in out.splitlines())


@pytest.mark.slow
def test_page_is_written(select, tmp_path):
    code, _, _ = select("--report", tmp_path / "report.html")
    assert code == 0
    assert "colour" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (("--strategy", "best"), 2, "invalid choice"),
        (("--racing", "budget", "--budget", "2"), 2, "--budget must be"),
        (("--gin_param", "Knn.neighbours = 2"), 1, "neighbours"),
        (("--strategy", "name_matching"), 1, "needs a hierarchy"),
        (("--strategy", "domain_prediction"), 1, "prediction network"),
        (("--strategy", "label_matching"), 1, "upstream head"),
    ],
)
def test_what_cannot_be_done_is_one_line(select, arguments, code, reason):
    found, out, err = select(*arguments)
    assert (found, out) == (code, "")
    *classes, line = err.splitlines()
    assert len(classes) < 2  # the task's classes, where it was read
    assert reason in line and "Traceback" not in err


@pytest.fixture
def bad_modules(tmp_path):
    """What is no module: missing, empty, not a module, and a broken file."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8\xff")
    (tmp_path / "broken.keras").write_bytes(b"no archive")
    names = ("missing", "empty", "photo.jpg", "broken.keras")
    return [tmp_path / name for name in names]


@pytest.mark.parametrize("named", ["by flags", "in a pool file"])
def test_modules_that_cannot_be_opened_are_skipped_by_name(
    select, pool, bad_modules, tmp_path, named
):
    modules = (*bad_modules, pool.parent / "colour")
    if named == "in a pool file":
        (tmp_path / "pool.txt").write_text("\n".join(map(str, modules)))
        modules = (tmp_path / "pool.txt",)
    code, out, err = select("--json", "-", modules=modules)
    assert code == 0
    content = json.loads(out)
    assert content["best"] == str(pool.parent / "colour")
    assert [row["module"] for row in content["skipped"]] == list(
        map(str, bad_modules)
    )
    for row in content["skipped"]:
        assert err.count(row["reason"]) == 1


def test_pool_without_a_module_left_is_an_error(select, bad_modules):
    code, out, err = select(modules=bad_modules)
    assert (code, out) == (1, "")
    assert "at least one module" in err.splitlines()[-1].lower()
    for path in bad_modules:
        assert str(path) in err


def test_all_modules_failing_is_exit_1(select, pool):
    code, out, err = select(modules=(pool.parent / "nan",))
    assert (code, out) == (1, "")
    assert "At least one module must work" in err.splitlines()[-1]


@pytest.mark.slow
def test_ctrl_c_ends_a_selection_in_two_processes(
    tmp_path, image_folder, request
):
    """Two endless modules run, and two wait; none has to be waited for."""
    for number in range(4):
        save_module(tmp_path / f"endless_{number}", loop_for_ever)
    modules = [str(path) for path in tmp_path.glob("endless_*")]
    log = tmp_path / "log"
    command = [sys.executable, "-m", "keras_experts.cli", "select"]
    command += ["--modules", *modules, "--task", str(image_folder)]
    environment = {**os.environ, "KERAS_EXPERTS_CACHE": str(tmp_path / "cache")}
    with open(log, "wb") as err:
        process = subprocess.Popen(
            [*command, "--processes", "2"],
            stderr=err,
            env=environment,
            # A shell lets what it runs in the background ignore it.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
    request.addfinalizer(process.kill)
    threads = Path(f"/proc/{process.pid}/task")
    children: set[str] = set()
    while len(children) < 2:
        assert process.poll() is None, log.read_text()
        time.sleep(0.2)
        for path in threads.glob("*/children"):
            children.update(path.read_text().split())
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 1
    assert log.read_text().splitlines()[-1] == "Interrupted."
    assert "Left out" not in log.read_text()


def test_select_says_in_one_line_what_it_skipped(select, pool, odd_folder):
    modules = (pool.parent / "colour", pool.parent / "grey")
    code, out, err = select(modules=modules, task=(odd_folder,))
    assert code == 0 and out
    (line,) = [line for line in err.splitlines() if "skipped" in line]
    assert line.startswith(
        "photos: 36 images in 3 classes; skipped 14 files and 6 folders: "
    )
    assert "3 not images (clip.mp4; dog/notes.txt; dog/pipe.png)" in line
