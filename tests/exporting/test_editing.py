"""Experts in and out of published banks."""

import shutil

import numpy as np
import pytest

from keras_experts import files
from keras_experts.exporting import editing
from keras_experts.exporting.collection_writer import CollectionWriter
from keras_experts.exporting.collection_writer import Publication
from keras_experts.models import run_folder
from keras_experts.saved_models import handles
from keras_experts.saved_models.loading import load_module
from keras_experts.saved_models.loading import read_weights
from keras_experts.saved_models.upstream_labels import HEAD_FILE
from keras_experts.saved_models.upstream_labels import PRIORS_FILE
from keras_experts.saved_models.upstream_labels import read_label_prior
from keras_experts.saved_models.upstream_labels import read_label_priors

BANK = "acme/experts/bank/1"


@pytest.fixture
def editable(collection, tmp_path):
    shutil.copytree(collection, tmp_path / "c")
    return tmp_path / "c"


@pytest.mark.slow
def test_expert_is_removed_and_added_without_the_run(editable):
    bank = BANK
    before = (editable / bank / "saved_model.pb").read_bytes()
    two = editing.remove_expert(editable, bank, "form")
    assert two == "acme/experts/bank/2"
    form = str(editable / "acme/experts/form/1")
    three = editing.add_expert(editable, two, form)
    four = editing.remove_expert(editable, three, "surface")
    from_bank = f"{editable / bank}#surface"
    five = editing.add_expert(editable, four, from_bank)
    # What the first one holds is not the first one: the latest is served.
    assert five == "acme/experts/bank/5"
    names = {
        handle: [
            row["name"]
            for row in handles.read_metadata(str(editable / handle))["experts"]
        ]
        for handle in (two, three, five)
    }
    assert names == {
        two: ["surface"],
        three: ["surface", "form"],
        five: ["form", "surface"],
    }
    assert (editable / bank / "saved_model.pb").read_bytes() == before
    # The last one holds what the first one does.
    ours, theirs = (
        read_weights(str(editable / handle)) for handle in (five, bank)
    )
    assert set(ours) == set(theirs)
    for name, value in ours.items():
        assert (value == theirs[name]).all()
    for file in (HEAD_FILE, PRIORS_FILE):
        ours, theirs = (editable / handle / file for handle in (five, bank))
        assert ours.read_bytes() == theirs.read_bytes()
    for handle, experts in names.items():
        priors = read_label_priors(str(editable / handle))
        for name, prior in zip(["baseline", *experts], priors, strict=True):
            expected = read_label_prior(f"{editable / bank}#{name}")
            np.testing.assert_array_equal(prior, expected)
    rows = files.read_json(editable / "collection.json")["modules"]
    assert five in [row["handle"] for row in rows]
    assert load_module(str(editable / five)).experts_form


def test_what_does_not_belong_into_a_bank_is_refused(editable):
    bank = BANK
    form = str(editable / "acme/experts/form/1")
    baseline = str(editable / "acme/experts/baseline/1")
    with pytest.raises(ValueError, match="name that the bank has not.*'form'"):
        editing.add_expert(editable, bank, form)
    with pytest.raises(ValueError, match="of kind baseline"):
        editing.add_expert(editable, bank, baseline)
    with pytest.raises(ValueError, match="with none"):
        editing.add_expert(editable, bank, f"{editable / bank}#baseline")
    with pytest.raises(ValueError, match="Received: 'unicorn'"):
        editing.remove_expert(editable, bank, "unicorn")
    with pytest.raises(FileNotFoundError, match="bank/1.*Received: 'a/b/1'"):
        editing.remove_expert(editable, "a/b/1", "form")
    assert not (editable / "acme/experts/bank/2").exists()


def edit_metadata(folder, **changes):
    """Changes what a module tells of itself; None takes a field away."""
    path = folder / handles.METADATA_FILE
    content = {**files.read_json(path), **changes}
    kept = {key: value for key, value in content.items() if value is not None}
    files.write_json(path, kept)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"num_images": None}, "num_images"),
        ({"num_images": "7"}, "num_images"),
        ({"domain": 'x")\nprint("'}, "must match"),
        ({"domain": None}, "name"),
        ({"kind": None}, "kind"),
        ({"backbone": [1]}, "backbone"),
    ],
)
def test_stranger_that_tells_nonsense_is_refused(editable, changes, message):
    stranger = editable / "stranger"
    shutil.copytree(editable / "acme/experts/form/1", stranger)
    edit_metadata(stranger, **{"domain": "stranger", **changes})
    with pytest.raises(ValueError, match=message):
        editing.add_expert(editable, BANK, str(stranger))
    assert not (editable / "acme/experts/bank/2").exists()


def test_metadata_that_is_no_object_is_refused(editable):
    folder = editable / "acme/experts/form/1"
    files.write_json(folder / handles.METADATA_FILE, ["form"])
    with pytest.raises(ValueError, match="must be a JSON object"):
        handles.read_metadata(str(folder))


@pytest.mark.slow
def test_expert_in_single_precision_comes_into_a_bank_in_half(
    editable, run_dir
):
    bank, names = run_folder.load_bank(run_dir)
    row = handles.read_metadata(str(editable / BANK))
    with CollectionWriter(editable, Publication("acme", "half")) as writer:
        one = writer.add_bank("bank", bank, row, row["experts"], "float16")
        writer.finish()
    assert one == "acme/half/bank/1"
    two = editing.remove_expert(editable, one, names[-1])
    module = str(editable / f"acme/experts/{names[-1]}/1")
    three = editing.add_expert(editable, two, module)
    ours, theirs = (
        read_weights(str(editable / handle)) for handle in (three, one)
    )
    for name, value in theirs.items():
        np.testing.assert_array_equal(ours[name], value)
        assert ours[name].dtype == value.dtype
    # In single precision it stands on another backbone.
    with pytest.raises(ValueError, match="bank's own backbone"):
        editing.add_expert(
            editable,
            editing.remove_expert(editable, BANK, names[-1]),
            f"{editable / one}#{names[-1]}",
        )


@pytest.mark.slow
def test_expert_with_a_cleaned_handle_keeps_its_name(editable):
    stranger = editable / "stranger"
    shutil.copytree(editable / "acme/experts/form/1", stranger)
    edit_metadata(stranger, name="bird_s_nest", domain="bird's_nest")
    two = editing.add_expert(editable, BANK, str(stranger))
    names = handles.read_metadata(str(editable / two))["experts"]
    assert names[-1]["name"] == "bird's_nest"
