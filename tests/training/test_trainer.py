"""Runs through kills, signals, full disks and checkpoints that do not fit."""

import errno
import functools
import io
import json
import math
import os
import resource
import shutil
import signal
import time

import keras
import numpy as np
import pytest
from PIL import Image

from keras_experts import files
from keras_experts.checks import difference
from keras_experts.data.label_rows import LabelRows
from keras_experts.data.label_rows import Targets
from keras_experts.data.labeled_images import from_contents
from keras_experts.data.preprocessing import flip_and_shift
from keras_experts.data.preprocessing import resize
from keras_experts.data.streams import BatchPlan
from keras_experts.data.streams import Stream
from keras_experts.models import run_folder
from keras_experts.models.bit_weights import read_npz
from keras_experts.training.bank_sgd import BankSgd
from keras_experts.training.checkpoints import Checkpoints
from keras_experts.training.distribution import make_strategy
from keras_experts.training.evaluation import Predictor
from keras_experts.training.losses import make_loss
from keras_experts.training.losses import sigmoid_loss
from keras_experts.training.losses import softmax_loss
from keras_experts.training.runtime import Runtime
from keras_experts.training.sgd import NetworkSgd
from keras_experts.training.stopping import StopSignals
from keras_experts.training.trainer import Trainer
from keras_experts.training.watching import METRICS_FILE
from keras_experts.training.watching import Watcher
from tests.training import child

# A checkpoint every few steps, to be killed between.
RUN = ("NUM_STEPS = 80", "Runtime.checkpoint_steps = 4")
RUN += ("Runtime.compile = False",)


def last_step(workdir):
    """The last step that a run has saved, or -1."""
    paths = workdir.glob("**/checkpoints/step-*.npz")
    return max((int(path.stem[5:]) for path in paths), default=-1)


def wait_for_step(workdir, step, process):
    """Waits until a run has saved that step or a later one."""
    while last_step(workdir) < step:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


@pytest.fixture(scope="module")
def unbroken(make_once):
    """A run that nothing stopped, with the losses of its steps."""

    def train(workdir):
        losses = child.train("baseline", workdir, *RUN)
        assert len(losses) == 80
        files.write_json(workdir / "losses.json", losses)

    return make_once("unbroken", train)


@pytest.mark.slow
def test_stopped_and_killed_baseline_ends_bit_equal(
    start_stage, run_stage, unbroken, tmp_path
):
    folder = tmp_path / "baseline"
    process = start_stage("baseline", tmp_path, *RUN)
    wait_for_step(tmp_path, 8, process)
    message = f"Another process is writing to {folder}. Wait"
    with pytest.raises(BlockingIOError, match=message):
        child.train("baseline", tmp_path, *RUN)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=100)
    assert process.returncode == 1
    assert "Stopped by SIGTERM after step" in out
    assert "; run again to go on" in out
    stopped = last_step(tmp_path)
    process = start_stage("baseline", tmp_path, *RUN)
    wait_for_step(tmp_path, stopped + 1, process)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    newest = max((folder / "checkpoints").glob("step-*.npz"))
    newest.write_bytes(newest.read_bytes()[:-100])
    losses = run_stage("baseline", tmp_path, *RUN)
    assert 0 < len(losses) <= 80 - stopped
    whole = files.read_json(unbroken / "losses.json")
    assert losses == whole[-len(losses) :]
    ours, theirs = (
        run_folder.load_baseline(run)[0].get_weights()
        for run in (tmp_path, unbroken)
    )
    for weight, value in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(weight, value)
    rows = (folder / METRICS_FILE).read_text().splitlines()
    steps = [json.loads(row)["step"] for row in rows]
    assert steps == sorted(set(steps)) and steps[-1] == 80
    names = {path.name for path in folder.iterdir()}
    assert not names & {"checkpoints", ".lock"}


@pytest.mark.slow
def test_killed_bank_ends_bit_equal(start_stage, run_stage, run_dir, tmp_path):
    runs = tmp_path / "whole", tmp_path / "killed"
    for workdir in runs:
        workdir.mkdir()
        (workdir / "baseline").symlink_to(run_dir / "baseline")
        (workdir / "experts.json").symlink_to(run_dir / "experts.json")
    # Two experts of 40 updates, one a step.
    more = (*RUN, "NUM_STEPS = 40", "train_experts.experts_per_step = 1")
    assert len(child.train("experts", runs[0], *more)) == 80
    process = start_stage("experts", runs[1], *more)
    wait_for_step(runs[1], 12, process)
    process.kill()
    process.communicate()
    losses = run_stage("experts", runs[1], *more)
    assert 0 < len(losses) < 80
    for name in ("form", "surface"):
        ours, theirs = (
            read_npz(run / "experts" / "adapter" / name / "adapters.npz")
            for run in runs
        )
        for path, value in ours.items():
            np.testing.assert_array_equal(value, theirs[path])


def test_full_disk_leaves_the_last_checkpoint(tmp_path):
    checkpoints = Checkpoints(tmp_path, {"seed": 0})
    checkpoints.save(10, {"w": np.ones(3)})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError) as caught:
            checkpoints.save(20, {"w": np.ones(10_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert str(caught.value) == (
        f"Could not write the checkpoint to {tmp_path}/step-000000020.npz: "
        "file too large. Run again to go on from step 10."
    )
    assert [p.name for p in tmp_path.iterdir()] == ["step-000000010.npz"]
    step, state = checkpoints.restore({"w": (3,)})
    assert step == 10
    np.testing.assert_array_equal(state["w"], np.ones(3))


def test_cause_of_a_checkpoint_that_cannot_be_written_is_named(
    tmp_path, monkeypatch
):
    def fail(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(np, "savez", fail)
    with pytest.raises(OSError) as caught:
        Checkpoints(tmp_path, {}).save(20, {"w": np.ones(3)})
    assert str(caught.value) == (
        f"Could not write the checkpoint to {tmp_path}/step-000000020.npz: "
        "no space left on device."
    )


def truncate(path):
    path.write_bytes(path.read_bytes()[:-500])


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [truncate, flip_a_bit])
def test_damaged_checkpoint_is_named_and_the_one_before_is_used(
    damage, tmp_path, capfd
):
    shapes = {"w": (1000,)}
    Checkpoints(tmp_path, {}).save(10, {"w": np.full(1000, 1.0)})
    Checkpoints(tmp_path, {}).save(20, {"w": np.full(1000, 2.0)})
    damaged = tmp_path / "step-000000020.npz"
    damage(damaged)
    checkpoints = Checkpoints(tmp_path, {})
    step, state = checkpoints.restore(shapes)
    assert step == 10 and (state["w"] == 1.0).all()
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"The checkpoint {damaged} cannot be read (")
    assert line.endswith("; training goes on from step-000000010.npz.")
    # The damaged one is not counted as one of the two that are kept.
    checkpoints.save(12, state)
    checkpoints.save(14, state)
    steps = [int(path.stem[5:]) for path in tmp_path.iterdir()]
    assert sorted(steps) == [12, 14, 20]


def test_nothing_is_deleted_where_no_checkpoint_can_be_read(tmp_path):
    checkpoints = Checkpoints(tmp_path, {})
    for step in (10, 20):
        checkpoints.save(step, {"w": np.ones(1000)})
        truncate(tmp_path / f"step-0000000{step}.npz")
    message = f"None of the 2 checkpoints in {tmp_path} can.*Remove the folder"
    with pytest.raises(ValueError, match=message):
        checkpoints.restore({"w": (1000,)})
    assert len(list(tmp_path.iterdir())) == 2


def test_checkpoint_of_other_settings_is_refused_with_the_difference(tmp_path):
    settings = {"seed": 0, "schedule": {"name": "cosine", "learning_rate": 1}}
    Checkpoints(tmp_path, settings).save(10, {"w": np.ones(3)})
    other = {"seed": 0, "schedule": {"name": "cosine", "learning_rate": 2}}
    message = "schedule.learning_rate 1 there, 2 here"
    with pytest.raises(ValueError, match=message):
        Checkpoints(tmp_path, other).restore({"w": (3,)})
    with pytest.raises(ValueError, match=r"w \[3\] there, \[4\] here"):
        Checkpoints(tmp_path, settings).restore({"w": (4,)})


def test_only_the_last_two_checkpoints_are_kept(tmp_path):
    checkpoints = Checkpoints(tmp_path, {})
    for step in (1, 2, 3):
        checkpoints.save(step, {"w": np.ones(1)})
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["step-000000002.npz", "step-000000003.npz"]


def test_difference_names_what_is_missing():
    assert difference({"a": 1}, {"a": 1}) == ""
    assert difference({"a": 1}, {"b": 2}) == (
        "a 1 there, None here; b None there, 2 here"
    )


@pytest.mark.parametrize(
    ("param", "difference"),
    [
        ("SEED = 7", "seed 0 there, 7 here"),
        (
            "synthetic_upstream.num_train = 5",
            r"data.images_per_output '.*data.num_images 136 there, 170 here",
        ),
        (
            "synthetic_upstream.num_test = 2",
            "data.num_test_images 34 there, 68 here",
        ),
    ],
)
def test_finished_result_of_other_settings_or_data_is_not_taken(
    param, difference, unbroken, tmp_path
):
    shutil.copytree(unbroken / "baseline", tmp_path / "baseline")
    message = f"A finished result stays as it is.*{difference}"
    with pytest.raises(ValueError, match=message):
        child.train("baseline", tmp_path, *RUN, param)


def test_finished_result_of_data_with_the_same_settings_is_not_taken(
    unbroken, tmp_path
):
    shutil.copytree(unbroken / "baseline", tmp_path / "baseline")
    path = tmp_path / "baseline" / "metadata.json"
    metadata = files.read_json(path)
    metadata["settings"]["data"]["name"] = "photos"
    metadata["settings"]["data"]["images_per_output"] = "0" * 12
    files.write_json(path, metadata)
    message = "images_per_output '000000000000' there.*name 'photos' there"
    with pytest.raises(ValueError, match=message):
        child.train("baseline", tmp_path, *RUN)


def test_run_leaves_metrics_and_tensorboard_scalars(unbroken):
    from tensorflow.core.util import event_pb2
    from tensorflow.python.lib.io import tf_record

    folder = unbroken / "baseline"
    rows = [
        json.loads(row)
        for row in (folder / METRICS_FILE).read_text().splitlines()
    ]
    assert {"step", "loss", "learning_rate", "images_per_second"} == set(
        rows[0]
    )
    (events,) = (folder / "tensorboard").iterdir()
    found = {}
    for record in tf_record.tf_record_iterator(str(events)):
        event = event_pb2.Event.FromString(record)
        for value in event.summary.value:
            if value.tag == "loss":
                plugin = value.metadata.plugin_data.plugin_name
                assert plugin == "scalars"
                found[event.step] = value.tensor
    assert sorted(found) == [row["step"] for row in rows]


def test_metadata_tells_the_speed_of_steps_and_of_the_input(unbroken):
    metadata = files.read_json(unbroken / "baseline" / "metadata.json")
    assert metadata["images_per_second"] > 0
    assert metadata["input_images_per_second"] > 0


def test_divergence_stops_with_the_step_and_the_rate():
    contents = [png(number) for number in range(20)]
    labels = np.arange(20) % 3
    data = from_contents(contents, labels, ["a", "b", "c"])
    targets = Targets(LabelRows.single(labels), lambda label: [label], 3)
    strategy = make_strategy()
    rates = np.full(30, 3e38, np.float32)
    sgd = NetworkSgd(
        linear_model(), softmax_loss, rates, BatchPlan(1, 30, 8), strategy
    )
    with pytest.raises(FloatingPointError, match="at step .*rate 3e\\+38"):
        Trainer(sgd, strategy, Runtime()).fit(
            [Stream(data, targets, 0)], preprocess
        )


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    labels = np.arange(8) % 3
    data = from_contents([png(n) for n in range(8)], labels, list("abc"))
    targets = Targets(LabelRows.single(labels), lambda label: [label], 3)
    strategy = make_strategy()
    # One step: its loss is still that of good weights.
    rates = np.full(1, np.inf, np.float32)
    sgd = NetworkSgd(
        linear_model(), softmax_loss, rates, BatchPlan(1, 1, 8), strategy
    )
    with pytest.raises(FloatingPointError, match="weights/.* at step 1"):
        Trainer(sgd, strategy, Runtime()).fit(
            [Stream(data, targets, 0)], preprocess, folder=tmp_path
        )
    names = [path.name for path in (tmp_path / "checkpoints").iterdir()]
    assert names == ["step-000000000.npz"]


def damaged_set(damaged):
    contents = [png(number) for number in range(20)]
    for number in damaged:
        contents[number] = contents[number][:60]
    labels = np.arange(20) % 3
    data = from_contents(contents, labels, ["a", "b", "c"])
    return data, Targets(LabelRows.single(labels), lambda label: [label], 3)


class Group(keras.layers.Layer):
    """A linear layer whose kernel has an axis for the one expert of a step."""

    def build(self, shape):
        self.kernel = self.add_weight(shape=(1, shape[-1], 3), name="kernel")

    def call(self, inputs):
        return keras.ops.matmul(inputs, self.kernel[0])


def fit_streams(data, targets, num_streams, folder):
    strategy = make_strategy()
    group = Group()
    model = keras.Sequential([keras.layers.GlobalAveragePooling2D(), group])
    model.build((None, 12, 12, 3))
    plan = BatchPlan(num_streams, 10, 4)
    sgd = BankSgd(
        model,
        {"kernel": group.kernel},
        {"kernel": np.zeros((3, 3), np.float32)},
        softmax_loss,
        np.full(10, 0.1),
        plan,
        strategy,
        compile=False,
    )
    streams = [Stream(data, targets, seed) for seed in range(num_streams)]
    return Trainer(sgd, strategy, Runtime(compile=False)).fit(
        streams, preprocess, "x", folder, names=list("abcdef")[:num_streams]
    )


def test_image_damaged_for_one_expert_is_left_out_of_all(tmp_path, capfd):
    data, targets = damaged_set([5])
    fit_streams(data, targets, 4, tmp_path)
    assert capfd.readouterr().err.count("left out: image 5") == 1
    # What was noted holds for a run with fewer experts too.
    shutil.rmtree(tmp_path / "checkpoints")
    fit_streams(data, targets, 1, tmp_path)
    assert "left out" not in capfd.readouterr().err


def test_resumed_run_knows_the_last_loss_of_each_expert(tmp_path):
    data, targets = damaged_set([])
    whole = fit_streams(data, targets, 3, tmp_path)
    assert np.isfinite(whole.last_losses).all()
    for stream, loss in enumerate(whole.last_losses):
        assert loss == whole.losses[27 + stream, 0]
    again = fit_streams(data, targets, 3, tmp_path)
    assert len(again.losses) == 0
    np.testing.assert_array_equal(again.last_losses, whole.last_losses)


def test_metrics_of_a_resumed_run_are_on_the_disk_from_its_start(tmp_path):
    path = tmp_path / METRICS_FILE
    rows = [json.dumps({"step": step}) + "\n" for step in range(1, 101)]
    path.write_text("".join(rows))
    watcher = Watcher(tmp_path, 60)
    assert path.read_text() == "".join(rows[:60])
    watcher.write(61, {"loss": 1.0})
    watcher.close()
    assert len(path.read_text().splitlines()) == 61


def test_checkpoints_are_at_most_so_many_steps_apart(tmp_path, monkeypatch):
    data, targets = damaged_set([])
    saved = []
    save = Checkpoints.save

    def noted(self, step, state):
        saved.append(step)
        save(self, step, state)

    monkeypatch.setattr(Checkpoints, "save", noted)
    strategy = make_strategy()
    sgd = NetworkSgd(
        linear_model(),
        softmax_loss,
        np.full(40, 0.1),
        BatchPlan(1, 40, 4),
        strategy,
    )
    runtime = Runtime(compile=False, checkpoint_steps=5)
    Trainer(sgd, strategy, runtime).fit(
        [Stream(data, targets, 0)], preprocess, folder=tmp_path
    )
    assert saved == [0, 5, 10, 15, 20, 25, 30, 35, 40]


@pytest.mark.parametrize("damaged", [[5], [5, 6, 19]])
def test_damaged_image_is_named_and_left_out(damaged, tmp_path, capfd):
    strategy = make_strategy()
    data, targets = damaged_set(damaged)
    weights = []
    for steps in (10, 5):
        # The second time in two parts, of which the first meets the image.
        folder = tmp_path / str(steps)
        for until in range(steps, 11, steps):
            sgd = NetworkSgd(
                linear_model(),
                softmax_loss,
                np.full(10, 0.1),
                BatchPlan(1, 10, 4),
                strategy,
            )
            trainer = Trainer(sgd, strategy, Runtime(compile=False))
            if until < 10:
                trainer.plan = BatchPlan(1, until, 4)
            trainer.fit([Stream(data, targets, 0)], preprocess, "x", folder)
        assert int(sgd.step) == 10
        weights.append(sgd.model.get_weights())
        rows = files.read_json(folder / "damaged_images.json")["images"]
        assert [row["index"] for row in rows] == damaged
    for ours, theirs in zip(*weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    err = capfd.readouterr().err
    for number in damaged:
        assert f"cannot be decoded and is left out: image {number}\n" in err


def test_nothing_but_damaged_images_are_refused():
    data = from_contents([b"no", b"image"], [0, 1], ["a", "b"])
    targets = Targets(LabelRows.single(data.labels), lambda x: [x], 3)
    strategy = make_strategy()
    sgd = NetworkSgd(
        linear_model(), softmax_loss, [0.1], BatchPlan(1, 1, 2), strategy
    )
    with pytest.raises(ValueError, match="Received: 2 damaged ones"):
        Trainer(sgd, strategy, Runtime()).fit(
            [Stream(data, targets, 0)], preprocess
        )


def test_damaged_image_to_evaluate_on_is_named():
    contents = [png(number) for number in range(80)]
    contents[70] = contents[70][:60]
    data = from_contents(contents, np.zeros(80, int), ["a"])
    strategy = make_strategy()
    runtime = Runtime(compile=False)
    predictor = Predictor(linear_model(), strategy, runtime, plain_image)
    assert predictor(data.take(70)).shape == (70, 3)
    with pytest.raises(ValueError, match="Received: image 70, which cannot"):
        predictor(data)


def png(number):
    image = Image.fromarray(np.full((12, 12, 3), 3 * number, np.uint8))
    image.putpixel((number % 12, 3), (255, 0, 255))
    content = io.BytesIO()
    image.save(content, "png")
    return content.getvalue()


def linear_model():
    inputs = keras.Input((12, 12, 3))
    dense = keras.layers.Dense(3, kernel_initializer="zeros", name="dense")
    return keras.Model(inputs, dense(keras.layers.Flatten()(inputs)))


preprocess = functools.partial(flip_and_shift, image_size=12)
plain_image = functools.partial(resize, image_size=12)


def test_signal_is_noted_once_and_then_has_its_usual_effect():
    with StopSignals() as signals:
        assert signals.received is None
        signal.raise_signal(signal.SIGINT)
        assert signals.received == "SIGINT"
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_losses_equal_their_definitions(rng):
    logits = rng.normal(size=(4, 5))
    targets = rng.integers(0, 2, (4, 5)).astype(float)
    probability = 1 / (1 + np.exp(-logits))
    expected = -(
        targets * np.log(probability) + (1 - targets) * np.log(1 - probability)
    ).sum(axis=1)
    np.testing.assert_allclose(sigmoid_loss(targets, logits), expected)
    one_hot = np.eye(5)[[0, 2, 1, 4]]
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = -np.log((shares * one_hot).sum(axis=1))
    np.testing.assert_allclose(softmax_loss(one_hot, logits), expected)


def test_label_smoothing_spreads_its_share(rng):
    logits = rng.normal(size=(4, 5))
    one_hot = np.eye(5)[[0, 2, 1, 4]]
    smooth = 0.9 * one_hot + 0.1 / 5
    np.testing.assert_allclose(
        make_loss("softmax", 0.1)(one_hot, logits),
        softmax_loss(smooth, logits),
    )
    np.testing.assert_allclose(
        make_loss("sigmoid", 0.1)(one_hot, logits),
        sigmoid_loss(0.9 * one_hot + 0.05, logits),
    )
    with pytest.raises(ValueError, match="Received: 1.0"):
        make_loss("softmax", 1.0)
    assert math.isfinite(float(make_loss("softmax")(one_hot, logits)[0]))
