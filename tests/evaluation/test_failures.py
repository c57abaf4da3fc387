"""What fails is named, and what is stopped ends and goes on."""

import json
import signal
import subprocess
import sys
import time

import pytest

from keras_experts.evaluation import sweeps
from keras_experts.evaluation import trials
from keras_experts.evaluation.evaluating import RESULTS_FILE
from keras_experts.evaluation.evaluating import evaluate
from keras_experts.evaluation.protocol import Protocol
from keras_experts.evaluation.results import read_results
from keras_experts.evaluation.suites import SuiteEntry
from keras_experts.locking import locked
from keras_experts.training.transfer import Transfer
from tests.selection.modules import mean
from tests.selection.modules import save_module

QUICK = {"num_images": 32, "batch_size": 8}
ONCE = Protocol(**QUICK, repeats=1, runs=1)


def test_diverging_trial_is_told_and_the_sweep_goes_on(
    suite, small_pool, tmp_path, monkeypatch, capfd
):
    def two(unit, seed):
        return [
            {"num_images": unit, "base_learning_rate": 1e38},
            {"num_images": unit, "base_learning_rate": 1e-3},
        ]

    monkeypatch.setitem(sweeps.SWEEPS, "two", two)
    results = evaluate(
        suite,
        [small_pool],
        tmp_path / "out",
        ("baseline",),
        Protocol("two", 1, 1, **QUICK),
    )
    err = capfd.readouterr().err
    assert "The loss must stay finite" in err and "at step" in err
    rates = {
        run.details["recipe"]["base_learning_rate"] for run in results.runs
    }
    assert rates == {1e-3}


def test_task_without_test_images_is_named_and_others_go_on(
    suite, small_pool, tmp_path, monkeypatch, capfd
):
    final = SuiteEntry.final

    def missing(entry, data_dir):
        if entry.name == "colours":
            raise FileNotFoundError("the test images are not there")
        return final(entry, data_dir)

    monkeypatch.setattr(SuiteEntry, "final", missing)
    results = evaluate(
        suite,
        [small_pool],
        tmp_path / "out",
        ("baseline", "oracle"),
        Protocol("hyperrule", 1, 1, **QUICK),
        oracle_runs=4,
    )
    assert "Missing colours: the test images" in capfd.readouterr().err
    assert {run.task for run in results.runs} == {"split"}


def test_diverging_final_training_counts_as_zero(
    suite, small_pool, tmp_path, monkeypatch
):
    fit = Transfer.fit

    def diverges(self, images, recipe, seed, name):
        if seed == 1:
            raise FloatingPointError("The loss must stay finite.")
        return fit(self, images, recipe, seed, name)

    monkeypatch.setattr(Transfer, "fit", diverges)
    protocol = Protocol(**QUICK, repeats=1, runs=2)
    results = evaluate(suite, [small_pool], tmp_path, ("baseline",), protocol)
    found = [(r.task, r.run, "failed" in r.details) for r in results.runs]
    tasks = ("colours", "split")
    assert found == [(t, run, run == 1) for t in tasks for run in (0, 1)]
    assert {r.accuracy for r in results.runs if r.run == 1} == {0}
    assert read_results(tmp_path / RESULTS_FILE) == results


@pytest.mark.slow
def test_module_that_cannot_be_trained_is_left_out_and_tried_again(
    suite, small_pool, tmp_path, calls, capfd, monkeypatch
):
    untrainable = save_module(tmp_path / "untrainable", mean)
    pool = [small_pool, untrainable]
    make_transfer = trials._transfer

    def refuse(module, *arguments):
        if module == untrainable:
            raise ValueError("no gradient is known")
        return make_transfer(module, *arguments)

    monkeypatch.setattr(trials, "_transfer", refuse)
    output = tmp_path / "out"
    arguments = (suite, pool, output, ("baseline", "oracle"), ONCE)
    results = evaluate(*arguments)
    assert f"Left out {untrainable}: " in capfd.readouterr().err
    assert untrainable not in {r.details["module"] for r in results.runs}
    told = [p.read_text() for p in (output / "trials").iterdir()]
    assert not [text for text in told if json.loads(text).get("unable")]
    calls.clear()
    assert evaluate(*arguments) == results
    assert {trial.module for trial in calls} == {untrainable}


def test_modules_reach_the_strategies_as_they_were_named(
    suite, small_pool, tmp_path, monkeypatch
):
    """A pool's prediction networks are no candidates, but are needed."""
    from keras_experts.evaluation import evaluating

    named = []

    def select(task, experts, *_, **__):
        named.append(list(experts))
        raise ValueError("enough")

    monkeypatch.setattr(evaluating, "select", select)
    pools = {"same": [small_pool]}
    with pytest.raises(ValueError, match="none of 3 tasks"):
        methods = ("knn", "knn@same")
        evaluate(suite, [small_pool], tmp_path, methods, ONCE, pools=pools)
    assert named == [[small_pool]] * 4  # two tasks, two pools


def test_output_of_an_evaluation_that_runs_is_refused(
    suite, small_pool, tmp_path
):
    with locked(tmp_path), pytest.raises(BlockingIOError, match=str(tmp_path)):
        evaluate(suite, [small_pool], tmp_path, ("baseline",), ONCE)


def long_evaluation(suite, pool, output, *more):
    command = [sys.executable, "-m", "keras_experts.cli", "evaluate"]
    command += ["--suite", str(suite), "--modules", pool]
    command += ["--output", str(output), "--methods", "baseline"]
    command += ["--num_images", "32", "--batch_size", "8"]
    return [*command, "--processes", "2", *more]


def wait_for(running, output, number):
    """Waits until so many trials are recorded."""
    while len(list((output / "trials").glob("[!.]*.json"))) < number:
        assert running.poll() is None
        time.sleep(0.05)


@pytest.mark.slow
def test_interrupted_evaluation_does_not_run_what_waits(
    suite, small_pool, tmp_path
):
    output = tmp_path / "out"
    more = ("--repeats", "400", "--runs", "1")
    command = long_evaluation(suite, small_pool, output, *more)
    running = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        # Who runs tests in the background may have it ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    wait_for(running, output, 2)
    running.send_signal(signal.SIGINT)
    _, told = running.communicate(timeout=30)
    assert running.returncode != 0 and "Traceback" not in told
    assert len(list((output / "trials").iterdir())) < 200


@pytest.mark.slow
def test_killed_evaluation_repeats_no_trial(suite, small_pool, tmp_path):
    output = tmp_path / "out"
    more = ("--repeats", "1", "--runs", "2", "--methods", "knn", "oracle")
    command = long_evaluation(suite, small_pool, output, *more)

    def written():
        return {
            path.name: path.stat().st_mtime_ns
            for path in (output / "trials").glob("[!.]*.json")
        }

    running = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    wait_for(running, output, 5)
    running.kill()  # SIGKILL
    running.wait()
    before = written()
    assert len(before) >= 5 and not (output / RESULTS_FILE).exists()
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    after = written()
    assert len(after) > len(before)
    assert {name: after[name] for name in before} == before
    assert len(read_results(output / RESULTS_FILE).runs) == 2 * 2 * 2
