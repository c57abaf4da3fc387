"""The direction of imports, read from the source."""

import ast
import os
import subprocess
import sys
import types
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "keras_experts"

# A package imports those of lower levels and itself, never its siblings.
LEVELS = {
    "layers": 1,
    "models": 2,
    "data": 2,
    "training": 3,
    "exporting": 3,
    "selection": 3,
    "evaluation": 4,
    "demo": 5,
    "commands": 6,
    "flags": 6.5,
    "cli": 7,
}
# selection takes anything that maps images to features.
FORBIDDEN = {"selection": {"models", "training", "exporting"}}
NO_TENSORFLOW = [
    *(PACKAGE / "layers").glob("*.py"),
    *(PACKAGE / "models").glob("*.py"),
    PACKAGE / "selection" / "neighbors.py",
    *(
        PACKAGE / name
        for name in (
            "hierarchy.py",
            "hierarchy_files.py",
            "domains.py",
            "lazy.py",
        )
    ),
    *(PACKAGE / name for name in ("config.py", "console.py", "files.py")),
    *(PACKAGE / name for name in ("checks.py", "locking.py", "templates.py")),
    *(PACKAGE / "commands").glob("*.py"),
    *(PACKAGE / "flags").glob("*.py"),
]
OPTIONAL = {"tensorflow_hub", "tensorflow_datasets", "tensorflow_text"}
OPTIONAL |= {"apache_beam", "matplotlib", "uvicorn", "starlette"}


def part_of(module: str) -> str:
    """Gives a module's package, or its name where it is a leaf file."""
    return module.removeprefix("keras_experts").strip(".").partition(".")[0]


def imports(path: Path, top_only: bool = False):
    """Lists the modules a file imports, "package.name" for names too."""
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_only else list(ast.walk(tree))
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.name)
)
def test_imports_go_one_way(path):
    own = part_of(".".join(path.relative_to(PACKAGE).with_suffix("").parts))
    for module in imports(path):
        if not module.startswith("keras_experts"):
            continue
        other = part_of(module)
        level = LEVELS.get(other, 0)
        if other != own:
            assert other not in FORBIDDEN.get(own, ()), module
            assert level < LEVELS.get(own, 1 if level else 0.5), module


@pytest.mark.parametrize("path", NO_TENSORFLOW, ids=lambda p: p.name)
def test_tensorflow_is_imported_only_where_it_belongs(path):
    assert "tensorflow" not in imports(
        path, top_only=path.parent.name == "commands"
    )


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.name)
)
def test_optional_packages_are_imported_where_used(path):
    # Made of them, and imported by what needs it alone.
    own = {"host.py": {"starlette"}, "beam.py": {"apache_beam"}}
    own["classifier_host.py"] = {"starlette"}
    own = own.get(path.name, set())
    found = {name.partition(".")[0] for name in imports(path, top_only=True)}
    assert not (OPTIONAL - own) & found


def test_importing_the_package_imports_nothing_heavy():
    code = (
        "import sys, keras_experts, keras_experts.cli;"
        "heavy = {'tensorflow', 'keras', 'jax', 'sklearn', 'PIL', 'rich'};"
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules)"
        " else 0)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True)
    assert result.returncode == 0, result.stderr


def test_importing_layers_and_models_registers_them_without_tensorflow():
    code = (
        "import sys, keras, keras_experts.layers, keras_experts.models;"
        "names = {'HubLayer', 'AdapterBank', 'BitResNet', 'TextEncoder'};"
        "find = keras.saving.get_registered_object;"
        "assert all(find(f'keras_experts>{name}') for name in names);"
        "assert 'tensorflow' not in sys.modules"
    )
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, env=environment
    )
    assert result.returncode == 0, result.stderr


def test_gin_folder_does_not_shadow_the_gin_package():
    assert not (PACKAGE.parent / "gin" / "__init__.py").exists()


def test_public_names_can_be_imported():
    import keras_experts
    from keras_experts import layers
    from keras_experts import models
    from keras_experts import selection

    for package in (keras_experts, layers, models, selection):
        for name in package.__all__:
            value = getattr(package, name)
            assert callable(value) or isinstance(value, types.ModuleType)
        with pytest.raises(AttributeError, match="'Nothing'"):
            package.Nothing
