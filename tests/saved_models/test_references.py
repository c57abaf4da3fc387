"""Which parts a module reference has, whatever marks its paths hold."""

import pytest

from keras_experts.saved_models.references import ModuleRef
from keras_experts.saved_models.references import parse
from keras_experts.saved_models.references import split_preprocessor

URL = "https://user@host/scope/@acme/module/1"


@pytest.fixture
def modules(tmp_path, monkeypatch):
    """Folders of modules whose paths hold the marks of references."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("me@work/bank", "me@work/c#1/bank", "pre", "home/bank"):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        (folder / "saved_model.pb").touch()
    (tmp_path / "me").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("{}/me@work/bank", ("{}/me@work/bank",)),
        ("{}/me@work/bank#insect", ("{}/me@work/bank", "insect")),
        ("me@work/bank#insect", ("me@work/bank", "insect")),
        ("{}/me@work/missing#insect", ("{}/me@work/missing", "insect")),
        ("{}/me@work/c#1/bank", ("{}/me@work/c#1/bank",)),
        ("{}/me@work/c#1/bank#insect", ("{}/me@work/c#1/bank", "insect")),
        ("{}/me@work/c#1/missing", ("{}/me@work/c#1/missing",)),
        ("{}/me@work/bank@{}/pre", ("{}/me@work/bank", None, "{}/pre")),
        ("{}/me@work/bank#insect@pre", ("{}/me@work/bank", "insect", "pre")),
        ("pre@me@work/bank", ("pre", None, "me@work/bank")),
        ("pre@missing", ("pre", None, "missing")),
        (f"missing@{URL}", ("missing", None, URL)),
        (URL, (URL,)),
        (f"{URL}#insect", (URL, "insect")),
        (f"{URL}#insect@{URL}", (URL, "insect", URL)),
        (URL + "@{}/missing", (URL, None, "{}/missing")),
        ("builtin#insect", ("builtin", "insect")),
        ("~/bank#insect", ("{}/home/bank", "insect")),
        ("pre@~/bank", ("pre", None, "{}/home/bank")),
    ],
)
def test_reference_is_parsed_by_what_exists(modules, reference, expected):
    def fill(text):
        return text and text.replace("{}", str(modules))

    assert parse(fill(reference)) == ModuleRef(*map(fill, expected))


def test_relative_reference_starts_from_the_folder_given(modules):
    found = parse("bank#x@../pre", modules / "me@work")
    assert found == ModuleRef("bank", "x", "../pre")
    assert str(found) == "bank#x@../pre"


def test_preprocessor_is_split_from_an_expert(modules):
    assert split_preprocessor("me@work/bank#x@pre") == ("me@work/bank#x", "pre")
