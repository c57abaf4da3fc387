"""The upstream stages: what trains, what stays, what is left behind."""

import shutil

import keras
import numpy as np
import pytest

from keras_experts import config
from keras_experts import files
from keras_experts.data import synthetic
from keras_experts.exporting.collection import export_run
from keras_experts.exporting.collection_writer import Publication
from keras_experts.locking import locked
from keras_experts.models import heads
from keras_experts.models import run_folder
from keras_experts.models.bit_weights import named_variables
from keras_experts.models.bit_weights import read_npz
from keras_experts.training import experts
from keras_experts.training import pretraining

SMALL = [
    "NUM_STEPS=2",
    "BATCH_SIZE=8",
    "LEARNING_RATE=0.1",
    "cosine_schedule.warmup_steps=0",
    "synthetic_upstream.num_train=2",
    "synthetic_upstream.num_test=1",
    "Runtime.compile=False",
]


def train_experts(workdir, *more):
    config.parse(["stages/demo_experts.gin"], [*SMALL, *more])
    return experts.train_experts(workdir)


@pytest.fixture
def baseline_run(run_dir, tmp_path):
    """A run that has a baseline and no experts yet."""
    shutil.copytree(run_dir / "baseline", tmp_path / "baseline")
    shutil.copy(run_dir / "experts.json", tmp_path)
    return tmp_path


@pytest.mark.slow
def test_configuration_is_whole_after_a_kill_in_evaluation(
    tmp_path, monkeypatch
):
    params = [*SMALL, "flip_and_shift.max_shift=1"]
    config.parse(["stages/demo_baseline.gin"], params)
    with monkeypatch.context() as killed:
        killed.setattr(pretraining, "Predictor", None)
        with pytest.raises(TypeError):
            pretraining.train_baseline(tmp_path)
    config.parse(["stages/demo_baseline.gin"], params)
    result = pretraining.train_baseline(tmp_path)
    assert np.isfinite(result["final_loss"])
    # The file alone makes the same stage again.
    written = tmp_path / "baseline" / "operative_config.gin"
    assert "flip_and_shift.max_shift = 1" in written.read_text()
    config.parse([str(written)], [])
    assert pretraining.train_baseline(tmp_path) == result


@pytest.mark.slow
def test_adapters_train_and_the_backbone_stays(baseline_run):
    backbone = heads.backbone_of(run_folder.load_baseline(baseline_run)[0])
    train_experts(baseline_run, "Runtime.compile=True")
    for name in ("form", "surface"):
        expert, _ = run_folder.load_expert(
            baseline_run, "adapter", name, backbone
        )
        for path, variable in named_variables(backbone).items():
            np.testing.assert_array_equal(
                named_variables(expert)[path], variable
            )
        folder = baseline_run / "experts" / "adapter" / name
        saved = read_npz(folder / run_folder.ADAPTERS_FILE)
        assert np.abs(saved["adapter1/up"]).max() > 0


def test_finished_experts_are_not_taken_for_those_of_other_data(
    run_dir, tmp_path
):
    shutil.copytree(run_dir, tmp_path, dirs_exist_ok=True)
    message = "A finished result stays.*data.num_images 68 there, 102 here"
    with pytest.raises(ValueError, match=message):
        train_experts(tmp_path, "synthetic_upstream.num_train=3")


def test_expert_that_another_process_trains_is_not_trained_here(
    baseline_run,
):
    with locked(baseline_run / "experts" / "adapter" / "form"):
        with pytest.raises(BlockingIOError, match="adapter/form. Wait"):
            train_experts(baseline_run)


@pytest.mark.slow
def test_checkpoints_of_a_bank_killed_after_its_last_expert_are_deleted(
    baseline_run, monkeypatch
):
    with monkeypatch.context() as killed:
        name = "_remove_finished_checkpoints"
        killed.setattr(experts, name, lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train_experts(baseline_run)
    (folder,) = (baseline_run / "training").iterdir()
    assert list((folder / "checkpoints").iterdir())
    train_experts(baseline_run)
    names = {path.name for path in folder.iterdir()}
    assert names == {"metrics.jsonl", "tensorboard"}


@pytest.mark.slow
def test_full_expert_is_the_whole_baseline_moved(baseline_run):
    baseline, _ = run_folder.load_baseline(baseline_run)
    train_experts(baseline_run, "train_experts.kind='full'")
    path = baseline_run / "experts" / "full" / "form" / "model.keras"
    expert = keras.saving.load_model(path)
    for ours, theirs in zip(baseline.weights, expert.weights, strict=True):
        assert ours.shape == theirs.shape
        assert not np.array_equal(ours, theirs), ours.path
    rows = export_run(baseline_run, baseline_run / "c", Publication("acme"))
    names = [row["name"] for row in rows]
    assert names == ["baseline", "form-full", "surface-full"]


@pytest.mark.slow
def test_sigmoid_baseline_learns_classes_and_their_ancestors(tmp_path):
    config.parse(
        ["stages/demo_baseline.gin"],
        [*SMALL, "train_baseline.loss='sigmoid'"],
    )
    metadata = pretraining.train_baseline(tmp_path)
    hierarchy = synthetic.make_hierarchy()
    nodes = set().union(*map(hierarchy.ancestors, synthetic.CLASSES))
    assert metadata["outputs"][:34] == list(synthetic.CLASSES)
    assert set(metadata["outputs"]) == nodes
    model, _ = run_folder.load_baseline(tmp_path)
    assert model.output_shape == (None, len(nodes))
    # Two images of each of 34 classes: an ancestor has those of all below it.
    below = dict.fromkeys(metadata["outputs"], 0)
    for label in synthetic.CLASSES:
        for node in hierarchy.ancestors(label):
            below[node] += 1
    expected = np.array([*below.values()]) / sum(below.values())
    prior = run_folder.read_label_prior(tmp_path / "baseline")
    np.testing.assert_allclose(prior, expected, rtol=1e-6)


def test_baseline_s_label_prior_is_that_of_all_images(run_dir):
    prior = run_folder.read_label_prior(run_dir / "baseline")
    number = len(synthetic.CLASSES)
    np.testing.assert_allclose(prior, np.full(number, 1 / number), rtol=1e-6)


@pytest.mark.slow
def test_adapters_of_any_ratio_are_loaded(baseline_run):
    train_experts(baseline_run, "train_experts.bottleneck_ratio=0.31")
    rows = export_run(baseline_run, baseline_run / "c", Publication("a"))
    kinds = [row["kind"] for row in rows]
    assert kinds == ["baseline", "adapter", "adapter", "bank"]


@pytest.mark.slow
def test_resumed_expert_still_tells_the_baseline_s_accuracy(baseline_run):
    folder = baseline_run / "experts" / "adapter" / "form"
    (folder / "checkpoints").mkdir(parents=True)
    results = train_experts(baseline_run)
    assert results[0]["name"] == "form"
    assert 0 <= results[0]["slice_top1_baseline"] <= 1


def test_expert_called_baseline_is_refused(baseline_run):
    content = files.read_json(baseline_run / "experts.json")
    content["experts"][0]["name"] = "baseline"
    files.write_json(baseline_run / "experts.json", content)
    with pytest.raises(ValueError, match="not be 'baseline'"):
        train_experts(baseline_run)


def test_classes_of_another_set_are_refused(baseline_run):
    metadata = files.read_json(baseline_run / "baseline" / "metadata.json")
    metadata["classes"] = metadata["classes"][1:]
    files.write_json(baseline_run / "baseline" / "metadata.json", metadata)
    with pytest.raises(ValueError, match="classes of the baseline"):
        train_experts(baseline_run)
