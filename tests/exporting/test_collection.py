"""What a collection consists of, against tfhub.dev's rules."""

import hashlib
import re
import tarfile

import pytest

from keras_experts import files
from keras_experts.exporting import editing
from keras_experts.exporting.collection_writer import Publication
from keras_experts.saved_models import handles
from keras_experts.saved_models.loading import load_module
from keras_experts.saved_models.loading import read_weights

NAMES = ["baseline", "form", "surface", "bank"]
METADATA_LINE = re.compile(r"^<!--(?P<key>(\w|\s|-)+):(?P<value>.+)-->$")
ARCHIVE_MEMBER = re.compile(
    r"saved_model\.pb|fingerprint\.pb|variables/variables\.[\w.-]+|"
    r"assets(\.extra)?/.+|variables|assets(\.extra)?"
)


@pytest.fixture(scope="module")
def rows(published):
    return files.read_json(published / "collection.json")["modules"]


def read_card(text):
    """Reads a page as tools/validator.py of tensorflow/tfhub.dev does."""
    lines = text.splitlines()
    assert lines[1] and not lines[1].startswith("<!--")
    metadata = {}
    for line in lines[2:]:
        if line.startswith("#"):
            break
        if line:
            match = METADATA_LINE.match(line)
            assert match, line
            key, value = match["key"].strip(), match["value"].strip()
            metadata.setdefault(key, []).append(value)
    return lines[0], metadata


@pytest.mark.parametrize("name", NAMES)
def test_card_has_what_tfhub_dev_demands(published, name):
    path = published / "docs" / "acme" / "models" / "experts" / name / "1.md"
    first, metadata = read_card(path.read_text())
    assert first == f"# Module acme/experts/{name}/1"
    assert metadata == {
        "asset-path": [f"acme/experts/{name}/1.tar.gz"],
        "task": ["image-feature-vector"],
        "dataset": ["other"],
        "fine-tunable": ["true"],
        "format": ["saved_model_2"],
        "network-architecture": ["resnet", "bit"],
        "license": ["apache-2.0"],
    }
    assert "{" not in path.read_text().replace("{}", "")
    for flavour in ("hub.load(", "hub.KerasLayer(", "HubLayer("):
        assert flavour in path.read_text()


def test_card_tells_the_figures_of_the_run(published, run_dir):
    text = (published / "docs/acme/models/experts/form/1.md").read_text()
    metadata = files.read_json(run_dir / "experts/adapter/form/metadata.json")
    assert f"| Training images | {metadata['num_images']:,} |" in text
    assert f"| Classes among them | {metadata['num_classes']} |" in text
    for key in ("slice_top1", "slice_top1_baseline"):
        assert f"| {metadata[key]:.1%} |" in text
    surface = (published / "docs/acme/models/experts/surface/1.md").read_text()
    assert "| Part of | form |" in surface


def test_collection_page_names_every_module(published):
    text = (published / "docs/acme/collections/experts/1.md").read_text()
    first, metadata = read_card(text)
    assert first == "# Collection acme/experts/1"
    assert metadata == {"task": ["image-feature-vector"], "dataset": ["other"]}
    for name in NAMES:
        assert f"<!-- (acme/experts/{name}) -->" in text
    publisher = (published / "docs/acme/acme.md").read_text()
    assert publisher.startswith("# Publisher acme\n")


def test_rows_have_the_checksums_of_the_archives(published, rows):
    assert [row["name"] for row in rows] == NAMES
    for row in rows:
        content = (published / row["archive"]).read_bytes()
        assert row["sha256"] == hashlib.sha256(content).hexdigest()
        assert row["num_bytes"] == len(content)


def test_archives_hold_the_module_and_nothing_else(published, rows):
    for row in rows:
        folder = published / row["path"]
        inside = {
            path.relative_to(folder).as_posix() for path in folder.rglob("*")
        }
        with tarfile.open(published / row["archive"]) as archive:
            members = archive.getnames()
        assert set(members) == inside and members == sorted(members)
        assert all(ARCHIVE_MEMBER.fullmatch(name) for name in members)


def test_modules_tell_what_they_are(published, rows):
    for row in rows:
        metadata = handles.read_metadata(str(published / row["path"]))
        assert metadata["handle"] == row["handle"]
        assert metadata["image_size"] == 24
        assert metadata["num_images"] > 0
    bank = handles.read_metadata(str(published / "acme/experts/bank/1"))
    assert [row["name"] for row in bank["experts"]] == ["form", "surface"]
    assert bank["experts"][1]["parents"] == ["form"]


def test_samples_are_published_only_where_they_are_asked_for(
    published, collection
):
    path = f"acme/experts/form/1/{handles.SAMPLES_FILE}"
    assert (published / path).read_bytes()[:2] == b"\xff\xd8"  # JPEG
    assert not (collection / path).exists()


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"publisher": "Acme Inc"}, "publisher"),
        ({"publisher": "a", "name": "/x"}, "name"),
        ({"publisher": "a", "license": "mine"}, "apache-2.0.*'mine'"),
    ],
)
def test_publication_that_tfhub_dev_would_not_take_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        Publication(**wrong)


@pytest.fixture
def editable(collection, tmp_path):
    import shutil

    shutil.copytree(collection, tmp_path / "c")
    return tmp_path / "c"


def test_expert_is_removed_and_added_without_the_run(editable):
    bank = "acme/experts/bank/1"
    before = (editable / bank / "saved_model.pb").read_bytes()
    two = editing.remove_expert(editable, bank, "form")
    assert two == "acme/experts/bank/2"
    form = str(editable / "acme/experts/form/1")
    three = editing.add_expert(editable, two, form)
    four = editing.remove_expert(editable, three, "surface")
    from_bank = f"{editable / bank}#surface"
    five = editing.add_expert(editable, four, from_bank)
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
    rows = files.read_json(editable / "collection.json")["modules"]
    assert five in [row["handle"] for row in rows]
    assert load_module(str(editable / five)).experts_form


def test_what_does_not_belong_into_a_bank_is_refused(editable):
    bank = "acme/experts/bank/1"
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
