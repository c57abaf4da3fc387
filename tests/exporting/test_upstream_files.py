"""What collections carry for selection: heads, label priors, the EPN."""

import re
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_experts import config
from keras_experts import files
from keras_experts.data import synthetic
from keras_experts.exporting import cards
from keras_experts.exporting import editing
from keras_experts.exporting import site
from keras_experts.exporting.collection import export_run
from keras_experts.exporting.collection_writer import Publication
from keras_experts.models import heads
from keras_experts.models import run_folder
from keras_experts.saved_models import handles
from keras_experts.saved_models import naming
from keras_experts.saved_models.loading import load_module
from keras_experts.saved_models.upstream_labels import HEAD_FILE
from keras_experts.saved_models.upstream_labels import PRIOR_FILE
from keras_experts.saved_models.upstream_labels import PRIORS_FILE
from keras_experts.saved_models.upstream_labels import read_head
from keras_experts.saved_models.upstream_labels import read_label_prior
from keras_experts.saved_models.upstream_labels import read_label_priors
from keras_experts.training.finetuning import finetune
from tests.random_states import unchanged_random_state

BANK = "acme/experts/bank"
EPN = "acme/experts/epn/1"


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).random((4, 24, 24, 3), np.float32)


@pytest.fixture(scope="module")
def epn_run(run_dir, tmp_path_factory):
    """The run without its experts, and with what predicts them."""
    from keras_experts.training import prediction_network

    run = tmp_path_factory.mktemp("epn") / "run"
    shutil.copytree(run_dir / "baseline", run / "baseline")
    shutil.copy(run_dir / "experts.json", run)
    params = ["synthetic_upstream.num_train = 2", "NUM_STEPS = 2"]
    params += ["synthetic_upstream.num_test = 1", "BATCH_SIZE = 8"]
    params += ["UPSTREAM = @synthetic_upstream", "WARMUP_STEPS = 0"]
    params += ["synthetic_upstream.image_size = 24", "Runtime.compile = False"]
    config.parse(["papers/iclr2021/in21k_epn.gin"], params)
    with unchanged_random_state():
        prediction_network.train_epn(run)
    return run


@pytest.fixture(scope="module")
def epn_collection(epn_run, tmp_path_factory):
    output = tmp_path_factory.mktemp("epn_collection")
    export_run(epn_run, output, Publication("acme"))
    return output


def versions(rows):
    """Gives of each name of a collection its latest version."""
    return {
        row["name"]: naming.split_handle(row["handle"])[2]
        for row in handles.latest_rows(rows)
    }


@pytest.mark.parametrize("name", ["baseline", "bank", "bank#form"])
def test_head_gives_the_classifier_s_probabilities(
    run_dir, collection, images, name
):
    module, mark, part = name.partition("#")
    path = f"{collection}/acme/experts/{module}/1{mark}{part}"
    head = read_head(path)
    assert head.loss == "softmax" and head.labels == [*synthetic.CLASSES]
    classifier, _ = run_folder.load_baseline(run_dir)
    backbone = heads.backbone_of(classifier)
    if part:
        backbone, _ = run_folder.load_expert(run_dir, "adapter", part, backbone)
    # Adapters were trained with the baseline's head.
    layer = classifier.get_layer(heads.HEAD_NAME)
    logits = layer(heads.image_features(backbone)(images))
    found = head.probabilities(load_module(path)(images))
    np.testing.assert_allclose(found, tf.nn.softmax(logits), atol=1e-5)
    # What a trained network gives is not the same for all images.
    assert np.ptp(found, axis=0).max() > 1e-4


def test_experts_have_no_head(collection):
    path = collection / "acme/experts/form/1"
    assert read_head(str(path)) is None
    assert not (path / HEAD_FILE).exists()


def test_label_priors_are_the_run_s(run_dir, collection):
    bank = f"{collection}/{BANK}/1"
    for name in ("baseline", "form", "surface"):
        kind = "" if name == "baseline" else "experts/adapter/"
        expected = np.load(run_dir / f"{kind}{name}/label_prior.npy")
        for path in (
            f"{collection}/acme/experts/{name}/1",
            f"{bank}#{name}",
        ):
            np.testing.assert_array_equal(read_label_prior(path), expected)
    stored = np.load(f"{bank}/{PRIORS_FILE}")
    assert stored.dtype == np.float32
    assert stored.shape == (3, len(synthetic.CLASSES))


def test_metadata_has_the_checksums_of_the_files(collection):
    names = {"baseline": 2, "form": 1, "surface": 1, "bank": 2}
    for name, number in names.items():
        folder = collection / f"acme/experts/{name}/1"
        metadata = handles.read_metadata(str(folder))
        found = [file for file in (folder / "assets.extra").glob("*.np*")]
        assert len(found) == number
        for file in found:
            assert metadata[f"{file.stem}_sha256"] == files.checksum(file)
        assert ("loss" in metadata) == (folder / HEAD_FILE).exists()


@pytest.mark.slow
def test_other_heads_and_priors_are_new_versions(run_dir, collection, tmp_path):
    run, output = tmp_path / "run", tmp_path / "c"
    shutil.copytree(run_dir, run)
    shutil.copytree(collection, output)
    rows = export_run(run, output, Publication("acme"))
    assert set(versions(rows).values()) == {1}
    classifier, _ = run_folder.load_baseline(run)
    bias = classifier.get_layer(heads.HEAD_NAME).bias
    bias.assign(bias + 1.0)
    run_folder.save_model(classifier, run / "baseline")
    rows = export_run(run, output, Publication("acme"))
    assert versions(rows) == {"baseline": 2, "form": 1, "surface": 1, "bank": 2}
    form = run / "experts/adapter/form"
    prior = run_folder.read_label_prior(form)[::-1]
    run_folder.save_label_prior(prior.astype(np.float32), form)
    rows = export_run(run, output, Publication("acme"))
    assert versions(rows) == {"baseline": 2, "form": 2, "surface": 1, "bank": 3}


@pytest.mark.slow
def test_older_run_is_exported_without_priors(run_dir, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(run_dir, run)
    (run / "baseline/label_prior.npy").unlink()
    (run / "experts/adapter/form/label_prior.npy").unlink()
    export_run(run, tmp_path / "c", Publication("acme"))
    modules = tmp_path / "c/acme/experts"
    for name in ("baseline", "form"):
        assert read_label_prior(str(modules / name / "1")) is None
        assert not (modules / name / "1" / PRIOR_FILE).exists()
        assert read_label_prior(f"{modules}/bank/1#{name}") is None
    assert read_label_prior(f"{modules}/bank/1#surface") is not None


def test_damaged_prior_of_a_run_is_named(run_dir, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(run_dir, run)
    path = run / "experts/adapter/form/label_prior.npy"
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(ValueError, match=f"label prior must.*{path}"):
        export_run(run, tmp_path / "c", Publication("acme"))


@pytest.mark.slow
def test_older_bank_learns_of_labels_with_its_experts(collection, tmp_path):
    shutil.copytree(collection, tmp_path / "c")
    path = tmp_path / "c"
    folder = path / f"{BANK}/1"
    metadata = files.read_json(folder / handles.METADATA_FILE)
    for file in (HEAD_FILE, PRIORS_FILE):
        (folder / file).unlink()
        del metadata[f"{file.stem}_sha256"]
    del metadata["loss"]
    files.write_json(folder / handles.METADATA_FILE, metadata)
    two = editing.remove_expert(path, f"{BANK}/1", "form")
    assert read_label_priors(f"{path}/{two}") == [None] * 2
    three = editing.add_expert(path, two, f"{path}/acme/experts/form/1")
    priors = read_label_priors(f"{path}/{three}")
    assert [prior is None for prior in priors] == [True, True, False]
    four = editing.remove_expert(path, three, "form")
    assert read_label_priors(f"{path}/{four}") == [None] * 2
    assert read_head(f"{path}/{four}") is None


def test_prediction_network_gives_each_expert_s_probability(
    epn_run, epn_collection, images
):
    import tensorflow_hub as hub

    network = keras.saving.load_model(epn_run / "epn" / "model.keras")
    expected = tf.sigmoid(network(images))
    path = f"{epn_collection}/{EPN}"
    module = hub.load(path)
    for training in (False, True):
        found = module(images, training=training)
        np.testing.assert_allclose(found, expected, atol=1e-5)
    serve = module.signatures["serving_default"]
    assert list(serve(inputs=tf.constant(images))) == ["probabilities"]
    assert len(module.variables) == len(network.weights)
    assert len(module.trainable_variables) == 0
    metadata = handles.read_metadata(path)
    assert metadata["kind"] == "epn" and metadata["num_features"] == 2
    told = files.read_json(epn_run / "epn" / "metadata.json")
    names = [row["name"] for row in metadata["experts"]]
    assert names == told["experts"] == ["form", "surface"]
    assert [row["synset"] for row in metadata["experts"]] == told["synsets"]
    for key in ("dataset", "num_images", "num_steps", "image_size"):
        assert metadata[key] == told[key]


def test_prediction_network_s_card_and_page(
    epn_collection, images, monkeypatch
):
    monkeypatch.chdir(epn_collection)  # handles are paths from here
    text = cards.card_path("acme", "experts/epn", 1).read_text()
    assert "<!-- task: image-classification -->" in text
    assert "<!-- fine-tunable: false -->" in text
    assert "| 1 | `surface` |" in text and "{" not in text
    found = {"images": images}
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(block, found)
        if "layer" in found:
            found["probabilities"] = found.pop("layer")(images)
        assert found.pop("probabilities").shape == (4, 2)
    page = (epn_collection / "docs/acme/collections/experts/1.md").read_text()
    for task in ("image-classification", "image-feature-vector"):
        assert page.count(f"<!-- task: {task} -->") == 1
    assert "<!-- (https://tfhub.dev/acme/experts/epn) -->" in page
    pages = site.pages(site.read_collection(epn_collection))
    assert f"{EPN}.html" in pages[site.INDEX]
    assert "to which of 2 experts" in pages[f"{EPN}.html"]


def test_card_of_a_baseline_tells_of_its_head(collection):
    docs = collection / "docs/acme/models/experts"
    for name, number in (("baseline", 1), ("bank", 1), ("form", 0)):
        text = (docs / name / "1.md").read_text()
        assert text.count("read_head(") == number


@pytest.mark.parametrize(
    "experts", [None, 7, ["form"], [{"name": 7}], [{"name": "form"}]]
)
def test_network_that_does_not_tell_its_experts_is_refused(
    epn_collection, tmp_path, experts
):
    shutil.copytree(epn_collection, tmp_path / "c")
    listed = files.read_json(tmp_path / "c" / "collection.json")
    listed["modules"][-1]["experts"] = experts
    files.write_json(tmp_path / "c" / "collection.json", listed)
    with pytest.raises(ValueError, match="expert|name|synset"):
        handles.read_rows(tmp_path / "c")


def test_prediction_network_is_not_fine_tuned(epn_collection, tmp_path):
    digits = synthetic.digits_task(20)
    with pytest.raises(ValueError, match="an expert prediction network"):
        finetune(str(epn_collection / EPN), digits, tmp_path / "out")
    assert not (tmp_path / "out").exists()
