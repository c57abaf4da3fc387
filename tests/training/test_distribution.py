"""The same run on one device, on two, and in two processes."""

import json
import signal
import socket
import time

import numpy as np
import pytest
import tensorflow as tf

from keras_experts.data.batches import evaluation_batches
from keras_experts.data.labeled_images import from_arrays
from keras_experts.training import distribution
from keras_experts.training.sgd import check_replicas
from tests.training import child

STEPS = "NUM_STEPS = 20"


def strategy(name):
    return f"Runtime.strategy = '{name}'"


def free_ports(number):
    sockets = [socket.socket() for _ in range(number)]
    for each in sockets:
        each.bind(("localhost", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def start_workers(start_stage, stage, workdir, *params, number=2):
    workers = [f"localhost:{port}" for port in free_ports(number)]
    return [
        start_stage(
            stage,
            workdir,
            strategy("multi_worker"),
            *params,
            TF_CONFIG=json.dumps(
                {
                    "cluster": {"worker": workers},
                    "task": {"type": "worker", "index": index},
                }
            ),
        )
        for index in range(number)
    ]


@pytest.fixture(scope="module")
def one_device(tmp_path_factory):
    """The losses of 20 steps of the baseline on one device."""
    workdir = tmp_path_factory.mktemp("one")
    losses = child.train("baseline", workdir, STEPS, "Runtime.compile = False")
    assert np.shape(losses) == (20, 1)
    return losses


@pytest.mark.slow
def test_two_devices_lose_what_one_does(run_stage, one_device, tmp_path):
    losses = run_stage(
        "baseline",
        tmp_path,
        STEPS,
        strategy("mirrored"),
        devices=2,
    )
    np.testing.assert_allclose(losses, one_device, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("compile", [False, True])
def test_two_processes_lose_what_one_does(
    start_stage, one_device, tmp_path, compile
):
    params = (STEPS, f"Runtime.compile = {compile}")
    workers = start_workers(start_stage, "baseline", tmp_path, *params)
    for worker in workers:
        out, err = worker.communicate(timeout=280)
        assert worker.returncode == 0, out + err[-3000:]
        losses = json.loads(out.splitlines()[-1])
        np.testing.assert_allclose(losses, one_device, rtol=1e-4)
    assert (tmp_path / "baseline" / "metadata.json").exists()


@pytest.mark.slow
def test_bank_on_two_devices_loses_what_it_does_on_one(
    run_stage, run_dir, tmp_path
):
    params = ("NUM_STEPS = 6", "Runtime.compile = False")
    losses = []
    for name in ("one_device", "mirrored"):
        workdir = tmp_path / name
        workdir.mkdir()
        (workdir / "baseline").symlink_to(run_dir / "baseline")
        (workdir / "experts.json").symlink_to(run_dir / "experts.json")
        stage = ("experts", workdir, *params, strategy(name))
        if name == "one_device":
            losses.append(child.train(*stage))
        else:
            losses.append(run_stage(*stage, devices=2))
    assert np.shape(losses[0]) == (6, 2)
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-4)


@pytest.mark.slow
def test_worker_that_disappears_stops_the_others_and_the_run_resumes(
    start_stage, run_stage, tmp_path
):
    params = ("NUM_STEPS = 100000", "Runtime.checkpoint_steps = 5")
    params += ("Runtime.compile = False",)
    workers = start_workers(start_stage, "baseline", tmp_path, *params)
    checkpoints = tmp_path / "baseline" / "checkpoints"
    wait_for(lambda: list(checkpoints.glob("step-*[1-9]*.npz")), workers)
    workers[1].kill()
    out, err = workers[0].communicate(timeout=200)
    assert workers[0].returncode == 1
    line = out.splitlines()[-1]
    assert line.startswith("ConnectionError: All workers must stay"), err
    # What two processes began, one goes on with.
    last = max(checkpoints.glob("step-*.npz"))
    process = start_stage("baseline", tmp_path, *params)
    wait_for(lambda: max(checkpoints.glob("step-*.npz")) > last, [process])
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=100)
    assert "Stopped by SIGTERM after step" in out


def wait_for(condition, processes):
    for _ in range(2000):
        if condition():
            return
        assert all(process.poll() is None for process in processes)
        time.sleep(0.1)
    raise AssertionError("waited in vain")


def test_lost_worker_is_told_in_a_line_wherever_it_is_noticed(monkeypatch):
    strategy = tf.distribute.OneDeviceStrategy("CPU:0")
    lost = tf.errors.UnavailableError(None, None, "no heartbeat\nmore")
    with pytest.raises(tf.errors.UnavailableError):
        with distribution.workers_stay(strategy):
            raise lost
    monkeypatch.setattr(distribution, "num_workers", lambda _: 2)
    with pytest.raises(ConnectionError, match="one that is gone"):
        with distribution.workers_stay(strategy):
            raise lost


def test_no_tuner_is_waited_for_at_the_end_of_an_iterator():
    # A tuner sleeps for up to a minute, and several of nine trainings ended
    # that much later than their last step.
    images = from_arrays(
        np.zeros((8, 4, 4, 3), np.uint8), np.zeros(8, int), ["a"]
    )

    def make(replicas, number):
        return evaluation_batches(images, 2, tf.identity, replicas, number)

    strategy = distribution.make_strategy()
    batches = distribution.distribute(strategy, make)
    assert not batches.options().autotune.enabled
    assert [len(batch["label"]) for batch in batches] == [2] * 4


def test_batch_that_replicas_do_not_divide_is_refused():
    class TwoReplicas:
        num_replicas_in_sync = 2

    with pytest.raises(ValueError, match="Received: 7 for 2 replicas"):
        check_replicas(7, TwoReplicas())


def test_unknown_strategy_is_refused():
    with pytest.raises(ValueError, match="Received: 'two_towers'"):
        distribution.make_strategy("two_towers")


@pytest.mark.parametrize("text", ["", "{}", '{"cluster": {"worker": []}}'])
def test_several_workers_without_their_names_are_refused(monkeypatch, text):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(ValueError, match="wants TF_CONFIG, such as"):
        distribution.make_strategy("multi_worker")


def test_tpu_that_is_not_there_is_named():
    with pytest.raises(RuntimeError, match="Received: none at 'no-such-tpu'"):
        distribution.make_strategy("tpu", "no-such-tpu")


def test_one_process_is_its_own_chief():
    strategy = tf.distribute.OneDeviceStrategy("CPU:0")
    assert distribution.is_chief(strategy)
    assert distribution.num_workers(strategy) == 1
    assert list(distribution.local_replicas(strategy)) == [0]
    np.testing.assert_array_equal(
        distribution.sum_over_workers(strategy, [1, 2]), [1, 2]
    )
