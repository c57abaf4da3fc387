"""What a collection consists of, against tfhub.dev's rules."""

import hashlib
import re
import shutil
import tarfile

import numpy as np
import pytest

from keras_experts import files
from keras_experts.exporting import cards
from keras_experts.exporting.collection import export_run
from keras_experts.exporting.collection_writer import Publication
from keras_experts.saved_models import handles
from keras_experts.saved_models.loading import load_module
from keras_experts.selection.modules import expand

NAMES = ["baseline", "form", "surface", "bank"]
METADATA_LINE = re.compile(r"^<!--(?P<key>(\w|\s|-)+):(?P<value>.+)-->$")
TFHUB_URL = re.compile(r"https://tfhub\.dev/([a-z\d-]+)/([\w.-]+(/[\w.-]+)*)")
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


def referenced_modules(text):
    """Finds the modules of a collection's page as the validator does."""
    return {f"{m[1]}/{m[2]}" for m in TFHUB_URL.finditer(text)}


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


@pytest.mark.parametrize("base_url", ["", "https://hub.acme.org/models/"])
def test_collection_page_passes_the_validator_of_tfhub_dev(
    published, rows, base_url
):
    text = cards.collection_page("acme", "experts", rows, base_url)
    first, metadata = read_card(text)
    assert re.fullmatch(r"# Collection [a-z\d-]+/[\w./;&-]+/\d+", first)
    assert (
        {"task"}
        <= set(metadata)
        <= {*("task", "dataset", "language", "network-architecture")}
    )
    modules = referenced_modules(text)
    assert modules == {f"acme/experts/{name}" for name in NAMES}
    for module in modules:
        publisher, _, name = module.partition("/")
        folder = published / "docs" / publisher / "models" / name
        assert list(folder.glob("*.md")), f"{module} has no page"
    address = base_url or "https://tfhub.dev/"
    assert f"[form]({address}acme/experts/form)" in text


def test_collection_page_names_every_module(published):
    text = (published / "docs/acme/collections/experts/1.md").read_text()
    first, metadata = read_card(text)
    assert first == "# Collection acme/experts/1"
    assert metadata == {"task": ["image-feature-vector"], "dataset": ["other"]}
    for name in NAMES:
        line = f"<!-- (https://tfhub.dev/acme/experts/{name}) -->"
        assert line in text.splitlines()
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
        ({"publisher": "ä"}, "publisher"),
        ({"publisher": "a", "name": "/x"}, "name"),
        ({"publisher": "a", "name": "../../escaped"}, "name"),
        ({"publisher": "a", "name": "x/./y"}, "name"),
        ({"publisher": "a", "name": "vögel"}, "name"),
        ({"publisher": "a", "license": "mine"}, "apache-2.0.*'mine'"),
    ],
)
def test_publication_that_tfhub_dev_would_not_take_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        Publication(**wrong)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["form", "bank"])
def test_code_of_a_card_runs(published, monkeypatch, name):
    monkeypatch.chdir(published)  # handles are paths from here
    images = np.random.default_rng(0).random((2, 24, 24, 3), np.float32)
    text = cards.card_path("acme", f"experts/{name}", 1).read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == {"form": 3, "bank": 4}[name]
    module = load_module(f"acme/experts/{name}/1")
    expected = module(images, expert=0) if name == "bank" else module(images)
    found = {"images": images}
    for block in blocks:
        exec(block, found)
        if "layer" in found:
            features = found.pop("layer")(images)
            np.testing.assert_allclose(features, expected, atol=1e-5)
        assert found["features"].shape == (2, 256)


def test_collection_page_has_the_latest_of_each_name(rows):
    form = next(row for row in rows if row["name"] == "form")
    newer = [
        {**form, "handle": f"acme/experts/form/{version}", "num_images": number}
        for version, number in ((10, 77), (9, 66))
    ]
    text = cards.collection_page("acme", "experts", [*rows, *newer], "")
    assert text.count("[form](https://tfhub.dev/acme/experts/form)") == 1
    assert text.count("<!-- (https://tfhub.dev/acme/experts/form) -->") == 1
    assert "| 77 |" in text and "| 66 |" not in text


def test_collection_page_has_no_module_of_another_collection(
    published, run_dir, tmp_path
):
    shutil.copytree(run_dir, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "experts")
    for name in ("experts/sub", "experts"):
        export_run(tmp_path / "run", tmp_path / "c", Publication("acme", name))
    pages = tmp_path / "c/docs/acme/collections/experts"
    assert "experts/sub" not in (pages / "1.md").read_text()
    assert (
        "tfhub.dev/acme/experts/sub/baseline)"
        in (pages / "sub/1.md").read_text()
    )


def rename_expert(run, old, new):
    """Renames an adapter expert of a run, as if training had named it so."""
    folder = run / "experts" / "adapter"
    shutil.copytree(folder / old, folder / new)
    metadata = files.read_json(folder / new / "metadata.json")
    files.write_json(folder / new / "metadata.json", {**metadata, "name": new})


@pytest.mark.slow
def test_experts_of_any_name_have_handles(run_dir, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(run_dir, run)
    (run / "experts.json").unlink()
    names = {
        "bank": "bank_2",  # that of all experts is "bank"
        "bird's_nest": "bird_s_nest",
        "epn": "epn_2",  # that of the prediction network is "epn"
        "v_gel": "v_gel",
        "vögel": "v_gel_2",
    }
    for name in names:
        rename_expert(run, "form", name)
    for name in ("form", "surface"):
        shutil.rmtree(run / "experts" / "adapter" / name)
    rows = export_run(run, tmp_path / "c", Publication("acme"))
    found = {row["domain"]: row["handle"] for row in rows if row["domain"]}
    assert found == {
        name: f"acme/experts/{part}/1" for name, part in names.items()
    }
    bank = f"{tmp_path}/c/acme/experts/bank/1"
    assert [row["name"] for row in rows[-1]["experts"]] == list(names)
    images = np.zeros((1, 24, 24, 3), np.float32)
    for name, handle in found.items():
        expected = load_module(str(tmp_path / "c" / handle))(images)
        features = load_module(f"{bank}#{name}")(images)
        np.testing.assert_allclose(features, expected, atol=1e-5)
    # In a pool, the modules of a bank's experts are not ranked twice.
    handles_of_pool = [c.handle for c in expand([tmp_path / "c"])]
    assert len(handles_of_pool) == 1 + len(names)


def test_name_that_no_code_could_hold_is_refused(run_dir, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(run_dir, run)
    (run / "experts.json").unlink()
    rename_expert(run, "form", 'x")\nprint("')
    with pytest.raises(ValueError, match="must match"):
        export_run(run, tmp_path / "c", Publication("acme"))
    assert not (tmp_path / "c").exists()
