"""What experts are for: labels, chance, clusters; priors and predictions."""

import json
import shutil

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss
from sklearn.metrics import log_loss

from keras_experts import config
from keras_experts import files
from keras_experts.data import synthetic
from keras_experts.locking import locked
from keras_experts.models import experts as expert_models
from keras_experts.models import run_folder
from keras_experts.saved_models.upstream_labels import label_prior
from keras_experts.training import prediction_network
from keras_experts.training.calibration import calibration
from keras_experts.training.slices import cluster_slices
from keras_experts.training.slices import label_slices
from keras_experts.training.slices import largest_slices
from keras_experts.training.slices import random_slices


@pytest.fixture
def upstream():
    return synthetic.synthetic_upstream(3, 1, 8)


def no_features(images):
    raise AssertionError("features are not wanted here")


def write_experts(folder, *synsets):
    rows = [
        {"index": index, "name": name, "synset": name, "num_images": 1}
        for index, name in enumerate(synsets)
    ]
    files.write_json(folder / "experts.json", {"experts": rows})


def test_slice_holds_the_images_at_or_under_its_node(upstream, tmp_path):
    write_experts(tmp_path, "striped", "form")
    striped, form = label_slices(upstream, tmp_path, no_features)
    names = {upstream.classes[upstream.train.labels[i]] for i in striped.train}
    assert names == {"horizontal", "vertical", "diagonal"}
    assert len(striped.train) == 9 and len(striped.test) == 3
    assert form.name == form.synset == "form"


def test_expert_without_images_is_named(upstream, tmp_path):
    class Nothing:
        parents = {**upstream.hierarchy.parents, "empty": ()}

    hierarchy = type(upstream.hierarchy)(Nothing.parents)
    data = type(upstream)(
        "s",
        hierarchy,
        upstream.nodes,
        upstream.classes,
        upstream.train,
        upstream.test,
    )
    write_experts(tmp_path, "form", "empty")
    with pytest.raises(ValueError, match="none at or under empty"):
        label_slices(data, tmp_path, no_features)


def test_largest_slices_are_what_choose_experts_lists(upstream, tmp_path):
    """Counted here image by image, without the hierarchy's own counting."""
    images = {node: set() for node in upstream.hierarchy.parents}
    for image, label in enumerate(upstream.train.labels):
        for node in upstream.hierarchy.ancestors(upstream.classes[label]):
            images[node].add(image)
        images[upstream.classes[label]].add(image)
    order = sorted(images, key=lambda node: (-len(images[node]), node))
    found = largest_slices(upstream, tmp_path, no_features, num_experts=5)
    assert [part.synset for part in found] == order[:5]
    assert [part.name for part in found] == [f"largest_{n}" for n in order[:5]]
    for part in found:
        assert set(part.train) == images[part.synset]


def test_random_slices_have_the_sizes_of_the_experts_and_no_domain(
    upstream, tmp_path
):
    write_experts(tmp_path, "striped", "form")
    experts = label_slices(upstream, tmp_path, no_features)
    found = random_slices(upstream, tmp_path, no_features)
    assert [part.name for part in found] == ["random_striped", "random_form"]
    for part, expert in zip(found, experts, strict=True):
        assert len(set(part.train)) == len(part.train) == len(expert.train)
        assert part.train.tolist() != expert.train.tolist()
        assert len(part.test) == upstream.test.num_examples
    again = random_slices(upstream, tmp_path, no_features)
    assert again[1].train.tolist() == found[1].train.tolist()
    other = random_slices(upstream, tmp_path, no_features, seed=1)
    assert other[1].train.tolist() != found[1].train.tolist()


def test_clusters_are_those_of_the_features(upstream, tmp_path):
    calls = []

    def features(images):
        calls.append(images)
        # Images of one half of the classes lie far from the others.
        rng = np.random.default_rng(0)
        noise = rng.normal(size=(images.num_examples, 3))
        return noise + 50 * (images.labels < 17)[:, None]

    model = tmp_path / "baseline" / run_folder.MODEL_FILE
    model.parent.mkdir()
    model.write_bytes(b"a baseline")
    slices = cluster_slices(upstream, tmp_path, features, num_clusters=2)
    assert {part.name for part in slices} == {"cluster_000", "cluster_001"}
    for part in slices:
        assert len({label < 17 for label in upstream.train.labels[part.train]})
        sides = {bool(upstream.test.labels[i] < 17) for i in part.test}
        assert len(sides) == 1
        assert sides == {
            bool(x < 17) for x in upstream.train.labels[part.train]
        }
    assert len(calls) == 2
    again = cluster_slices(upstream, tmp_path, no_features, num_clusters=2)
    assert again[0].train.tolist() == slices[0].train.tolist()
    other = synthetic.synthetic_upstream(2, 1, 8)
    with pytest.raises(ValueError, match=r"of \(102, \d+\) and not \(68"):
        cluster_slices(other, tmp_path, no_features, num_clusters=2)
    model.write_bytes(b"another one")
    cluster_slices(upstream, tmp_path, features, num_clusters=2)
    assert len(calls) == 4


def test_prior_is_the_slice_s_labels_and_a_hundredth_of_all(upstream):
    targets = upstream.targets(upstream.train, "softmax")
    indices = np.flatnonzero(upstream.train.labels < 2)
    labels = upstream.train.labels
    own = np.bincount(labels[indices], minlength=34) / len(indices)
    everything = np.bincount(labels, minlength=34) / len(labels)
    prior = label_prior(targets.mean(indices), targets.mean())
    np.testing.assert_allclose(prior, 0.99 * own + 0.01 * everything, atol=1e-7)
    assert prior.sum() == pytest.approx(1) and prior.min() > 0
    # A cluster of images without a label has the upstream's.
    without = label_prior(np.zeros(34), targets.mean())
    np.testing.assert_allclose(without, everything, atol=1e-7)


def test_prior_is_saved_with_each_expert(run_dir):
    paths = sorted((run_dir / "experts").glob("*/*/label_prior.npy"))
    assert len(paths) == 2
    for path in paths:
        assert np.load(path).shape == (34,)


def test_calibration_is_scikit_learn_s(rng):
    probabilities = rng.random((200, 5)) ** 2
    targets = rng.random((200, 5)) < probabilities**1.5
    found = calibration(probabilities, targets, num_bins=10)
    p, t = probabilities.ravel(), targets.ravel()
    assert found["brier_score"] == pytest.approx(brier_score_loss(t, p))
    assert found["log_loss"] == pytest.approx(log_loss(t, p))
    frequency, mean = calibration_curve(t, p, n_bins=10)
    bins = found["bins"]
    np.testing.assert_allclose([b["frequency"] for b in bins], frequency)
    np.testing.assert_allclose([b["mean_probability"] for b in bins], mean)
    weights = np.histogram(p, 10, (0, 1))[0] / 1000
    error = (weights * np.abs(frequency - mean)).sum()
    assert found["expected_calibration_error"] == pytest.approx(error)


@pytest.mark.slow
def test_prediction_network_tells_its_calibration(run_dir, tmp_path):
    shutil.copytree(run_dir / "baseline", tmp_path / "baseline")
    shutil.copy(run_dir / "experts.json", tmp_path)
    params = ["synthetic_upstream.num_train = 2", "NUM_STEPS = 2"]
    params += ["synthetic_upstream.num_test = 1", "BATCH_SIZE = 8"]
    params += ["UPSTREAM = @synthetic_upstream", "WARMUP_STEPS = 0"]
    params += ["synthetic_upstream.image_size = 24", "Runtime.compile = False"]
    config.parse(["papers/iclr2021/in21k_epn.gin"], params)
    result = prediction_network.train_epn(tmp_path)
    assert result["experts"] == ["form", "surface"]
    questions = sum(b["num_questions"] for b in result["calibration"]["bins"])
    assert questions == 34 * 2
    assert 0 <= result["accuracy"] <= 1
    params.append("synthetic_upstream.num_train = 3")
    config.parse(["papers/iclr2021/in21k_epn.gin"], params)
    with pytest.raises(ValueError, match="num_images 68 there, 102 here"):
        prediction_network.train_epn(tmp_path)
    written = json.loads((tmp_path / "epn" / "metadata.json").read_text())
    assert written["calibration"] == result["calibration"]
    assert (tmp_path / "epn" / "model.keras").exists()


def test_shares_merge_into_one_bank(run_dir, tmp_path, monkeypatch):
    share = tmp_path / "share"
    run = tmp_path / "run"
    for folder in (share, run):
        shutil.copytree(run_dir / "baseline", folder / "baseline")
        shutil.copy(run_dir / "experts.json", folder)
    experts = "experts/adapter"
    shutil.copytree(run_dir / experts / "form", run / experts / "form")
    shutil.copytree(run_dir / experts / "surface", share / experts / "surface")
    unfinished = run / experts / "surface" / "checkpoints"
    unfinished.mkdir(parents=True)
    with monkeypatch.context() as full_disk:
        full_disk.setattr(shutil, "copytree", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run_folder.merge_experts(run, [share])
    assert [path.name for path in unfinished.parent.iterdir()] == [
        "checkpoints"
    ]
    with locked(unfinished.parent), pytest.raises(BlockingIOError):
        run_folder.merge_experts(run, [share])
    assert run_folder.merge_experts(run, [share]) == ["adapter/surface"]
    assert not unfinished.exists()
    assert run_folder.merge_experts(run, [share]) == []
    bank, names = run_folder.load_bank(run)
    assert names == ["form", "surface"]
    saved = np.load(run / experts / "surface" / run_folder.ADAPTERS_FILE)
    stacked = expert_models.stacked_variables(bank)
    for name in saved.files:
        np.testing.assert_array_equal(stacked[name][1], saved[name])


def test_expert_that_differs_from_the_run_s_own_is_not_merged(
    run_dir, tmp_path
):
    shutil.copytree(run_dir, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "experts" / "adapter" / "form" / "metadata.json"
    metadata = files.read_json(path)
    metadata["settings"]["seed"] = 7
    files.write_json(path, metadata)
    with pytest.raises(ValueError, match="seed 0 there, 7 here"):
        run_folder.merge_experts(run_dir, [tmp_path])


def test_half_a_merge_is_no_expert(run_dir, tmp_path):
    shutil.copytree(run_dir, tmp_path, dirs_exist_ok=True)
    before = run_folder.list_experts(tmp_path)
    adapters = tmp_path / "experts" / "adapter"
    shutil.copytree(adapters / "form", adapters / ".tmp-abc")
    assert run_folder.list_experts(tmp_path) == before


def test_experts_of_another_baseline_are_refused(run_dir, tmp_path):
    share = tmp_path / "share"
    shutil.copytree(run_dir, share)
    path = share / "experts" / "adapter" / "form" / "metadata.json"
    metadata = files.read_json(path)
    metadata["settings"]["baseline"] = "0" * 64
    files.write_json(path, metadata)
    with pytest.raises(ValueError, match="own baseline.*on 000000000000"):
        run_folder.merge_experts(run_dir, [share])
    with pytest.raises(ValueError, match="on its baseline.*on 000000000000"):
        run_folder.load_bank(share)
    with pytest.raises(FileNotFoundError, match="with none"):
        run_folder.merge_experts(run_dir, [tmp_path / "nothing"])
