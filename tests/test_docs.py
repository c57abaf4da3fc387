"""What the documentation says of the code, held against the code."""

import ast
import dataclasses
import importlib
import re
import shlex
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from docs.generators import api
from docs.generators import commands
from docs.generators import gin_files
from docs.generators import pages
from keras_experts import cli
from keras_experts import domains
from keras_experts.flags import types
from keras_experts.saved_models import handles
from keras_experts.selection.neighbors import leave_one_out_accuracy

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PACKAGE = ROOT / "keras_experts"
TEXTS = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
GENERATED = pages.all_pages()
LINK = re.compile(r'(?:\]\(|src="|href=")(?!https?:)([^)"#\s]*)')
BLOCK = re.compile(r"^```\w*\n(.*?)^```", re.DOTALL | re.MULTILINE)
# A row of docs/formats.md begins with the names of one field or several.
ROW = re.compile(r"^\| (`\w+`(?:, `\w+`)*) \|", re.MULTILINE)
SVG = "{http://www.w3.org/2000/svg}"


def name_of(path):
    return str(path.relative_to(ROOT))


def prose(path):
    """Gives a text without code, which may look like links."""
    return re.sub(r"`[^`\n]*`", "", BLOCK.sub("", path.read_text()))


def section(title):
    """Gives the names of the fields in one section of docs/formats.md."""
    text = (DOCS / "formats.md").read_text()
    match = re.search(
        rf"^#+ {re.escape(title)}\n(.*?)(?=^#|\Z)", text, re.M | re.S
    )
    assert match, title
    rows = ROW.findall(match[1])
    return {name for row in rows for name in re.findall(r"\w+", row)}


def keys(path, function, variable):
    """Gives the keys of the dict that a function puts into a variable."""
    tree = ast.parse((PACKAGE / path).read_text())
    (found,) = (
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name == function
    )
    names = set()
    for node in ast.walk(found):
        if not isinstance(node, ast.Assign | ast.Return):
            continue
        targets = getattr(node, "targets", [None])
        target = targets[0] and ast.unparse(targets[0]).partition("[")[0]
        if target != variable:
            continue
        if isinstance(node.value, ast.Dict):
            names |= {key.value for key in node.value.keys if key}
        if target and isinstance(targets[0], ast.Subscript):
            names.add(ast.literal_eval(targets[0].slice))
    return names


def fields(kind):
    return {field.name for field in dataclasses.fields(kind)}


@pytest.mark.parametrize("package", api.PUBLIC)
def test_every_public_name_has_a_page(package):
    module = importlib.import_module(package)
    shown = {name for page in api.PAGES for name in page.identifiers}
    places = api.public_names(package)
    subpackages = {p.rpartition(".")[2] for p in api.PUBLIC}
    assert set(module.__all__) - subpackages == set(places)
    assert set(places.values()) <= shown


@pytest.mark.parametrize("page", api.PAGES, ids=lambda page: page.path)
def test_every_name_of_a_page_is_there_with_a_docstring(page):
    for identifier in page.identifiers:
        module, _, name = identifier.rpartition(".")
        path = ROOT.joinpath(*module.split(".")).with_suffix(".py")
        found = {
            node.name: node
            for node in ast.parse(path.read_text()).body
            if isinstance(node, ast.FunctionDef | ast.ClassDef)
        }
        assert ast.get_docstring(found[name]), identifier


@pytest.mark.parametrize("name", commands.parsers())
def test_every_flag_of_a_command_is_in_the_reference(name):
    told = commands.page().partition(f"### {name}\n")[2].partition("\n### ")[0]
    usage = commands.parsers()[name].format_help()
    flags = set(re.findall(r"--\w+", usage)) - {"--help", "--debug"}
    assert {flag for flag in flags if f"`{flag}`" not in told} == set()
    assert told


def test_every_command_of_the_help_is_in_the_reference():
    usage = cli.make_parser().format_help()
    listed = usage.partition("{")[2].partition("}")[0].split(",")
    titles = re.findall(r"^### (\w+)$", commands.page(), re.MULTILINE)
    assert sorted(titles) == sorted(map(str.strip, listed))


def test_every_gin_file_is_in_the_reference():
    page = gin_files.page()
    for path in (ROOT / "gin").rglob("*.gin"):
        assert f"`{path.relative_to(ROOT / 'gin')}`" in page


def test_all_that_gin_can_bind_is_in_the_reference():
    found = {c.name for c in gin_files.configurables()}
    pattern = (
        r"^@config\.(?:register|configurable)\n(?:@.*\n)*(?:def|class) (\w+)"
    )
    named = {
        name
        for path in PACKAGE.rglob("*.py")
        for name in re.findall(pattern, path.read_text(), re.MULTILINE)
    }
    assert found == named
    bound = re.compile(r"^(\w+)\.(\w+) = ", re.MULTILINE)
    arguments = {c.name: c.arguments for c in gin_files.configurables()}
    for path in (ROOT / "gin").rglob("*.gin"):
        for name, argument in bound.findall(path.read_text()):
            known = arguments[name]
            # What a function passes on has no name there.
            assert argument in known or any("**" in a for a in known), path


@pytest.mark.parametrize("path", TEXTS, ids=name_of)
def test_every_relative_link_leads_somewhere(path):
    for link in LINK.findall(prose(path)):
        target = (path.parent / link).resolve()
        is_page = target.is_relative_to(DOCS) and (
            str(target.relative_to(DOCS)) in GENERATED
        )
        assert not link or target.exists() or is_page, link


def test_every_page_is_in_the_navigation():
    text = (ROOT / "mkdocs.yml").read_text().partition("\nnav:\n")[2]
    named = re.findall(r"(\S+\.md)$", text, re.MULTILINE)
    files = {str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")}
    assert sorted(named) == sorted(files | set(GENERATED))


# The types of flags that look for a path.
LOOKING = ("existing_file", "existing_folder", "existing_path", "gin_file")
LOOKING += ("hierarchy", "input_path", "module", "named_or_path", "output_file")
LOOKING += ("output_folder", "suite")


@pytest.mark.parametrize("path", TEXTS, ids=name_of)
def test_every_command_of_a_text_parses(path, monkeypatch):
    for name in LOOKING:  # the paths of an example are not here
        monkeypatch.setattr(types, name, str)
    for block in BLOCK.findall(path.read_text()):
        for line in block.replace("\\\n", " ").splitlines():
            words = line.strip().removeprefix(".venv/bin/")
            if words.startswith("keras-experts ") and "$" not in words:
                arguments = shlex.split(words)[1:]
                cli.make_parser().parse_args(arguments)


@pytest.mark.parametrize("path", TEXTS, ids=name_of)
def test_python_of_a_text_parses_and_imports_what_there_is(path):
    for code in re.findall(
        r"^```python\n(.*?)^```", path.read_text(), re.M | re.S
    ):
        for node in ast.walk(ast.parse(code)):
            if not isinstance(node, ast.ImportFrom):
                continue
            package, _, inner = node.module.partition(".")
            if package == "keras_experts" and node.module in api.PUBLIC:
                names = {alias.name for alias in node.names}
                assert names <= set(api.public_names(node.module)), inner
            elif package == "keras_experts":
                folder = ROOT.joinpath(*node.module.split("."))
                assert folder.is_dir() or folder.with_suffix(".py").exists()


def test_gin_files_of_the_tutorial_parse(tmp_path, monkeypatch):
    from keras_experts import config
    from keras_experts.training import experts  # noqa: F401
    from keras_experts.training import pretraining  # noqa: F401

    text = (DOCS / "tutorials/train_upstream.md").read_text()
    pattern = r"`(\w+\.gin)`[^`]*?:\n\n```\n(.*?)```"
    written = dict(re.findall(pattern, text, re.DOTALL))
    assert set(written) == {"photos.gin", "baseline.gin", "experts.gin"}
    monkeypatch.chdir(tmp_path)
    for name, content in written.items():
        Path(name).write_text(content)
    for name in ("baseline.gin", "experts.gin"):
        config.parse([name])


def test_a_wrong_flag_would_be_found():
    with pytest.raises(SystemExit):
        cli.make_parser().parse_args(["select", "--module", "a", "--task", "b"])


def test_formats_of_experts_and_selections_have_all_fields():
    from keras_experts.selection.ranking import Entry
    from keras_experts.selection.ranking import Selection

    assert section("experts.json") == fields(domains.ExpertDomain)
    told = section("selection.json")
    properties = {"recommended", "conclusion"}
    assert told == fields(Selection) | fields(Entry) | properties


def test_formats_of_collections_have_all_fields():
    told = section("keras_experts.json") | section("collection.json")
    assert set(handles.METADATA_FIELDS) | set(handles.ROW_FIELDS) <= told


def test_formats_of_fine_tuning_have_all_fields():
    from keras_experts.training.transfer import Recipe

    path = "training/finetuning.py"
    written = keys("training/outcome.py", "measure", "metrics") | fields(Recipe)
    written |= keys(path, "finetune", "metrics") | keys(path, "_told", None)
    # What is there in some cases only: texts have other facts.
    cases = {"image_size", "input_range", "rates", "warning"}
    assert section("metrics.json") - cases == written - cases


def test_formats_of_evaluations_have_all_fields():
    from keras_experts.evaluation import results
    from keras_experts.evaluation import suites

    details = {"module", "recipe", "seed", "seconds", "failed"}
    assert section("results.json") == set(results.RUN_FIELDS) | details
    assert section("Suite files") == suites.TASK_KEYS


@pytest.mark.parametrize(
    "place",
    [
        ("training/pretraining.py", "train_baseline", "metadata"),
        ("training/expert_stage.py", "write", "metadata"),
        ("training/prediction_network.py", "train_epn", "result"),
    ],
    ids=lambda place: place[1],
)
def test_formats_of_a_run_have_all_figures(place):
    text = (DOCS / "formats.md").read_text()
    run = text.partition("### A run\n")[2].partition("\n## ")[0]
    written = keys(*place)
    assert len(written) > 5
    assert {key for key in written if f"`{key}`" not in run} == set()


@pytest.mark.parametrize("name", ["baseline", "animal", "plant", "artifact"])
def test_picture_tells_the_scores_of_the_points_it_shows(name):
    root = ElementTree.parse(DOCS / "idea.svg").getroot()
    named = {e.get("id"): e for e in root.iter() if e.get("id")}
    points = named[name].findall(f"{SVG}use")
    places = [[float(p.get("x")), float(p.get("y"))] for p in points]
    classes = [p.get("href") for p in points]
    labels = np.unique(classes, return_inverse=True)[1]
    accuracy = leave_one_out_accuracy(np.array(places, np.float32), labels)
    number = round(accuracy * len(points))
    assert named[f"{name}-score"].text == f"{number} of {len(points)}"


def test_pictures_are_small_and_names_no_folder_of_a_machine():
    for path in DOCS.iterdir():
        if path.suffix in (".png", ".svg"):
            assert path.stat().st_size < 200_000, path
    for path in TEXTS:
        assert not re.search(r"/(tmp|root|work)/", path.read_text()), path
