"""The wheel: built, installed elsewhere, and run from there."""

import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def run(*command, **arguments):
    result = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, **arguments
    )
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-2000:]
    return result.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    # In the checkout, setuptools would also pack what an earlier build left.
    source = tmp_path_factory.mktemp("source")
    for name in ("README.md", "setup.py", "pyproject.toml"):
        shutil.copy(ROOT / name, source)
    for name in ("keras_experts", "gin", "export"):
        shutil.copytree(ROOT / name, source / name)
    output = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--outdir", output, source)
    (wheel,) = output.glob("*.whl")
    return wheel


def test_wheel_holds_gin_files_and_templates(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    for path in (ROOT / "gin").rglob("*.gin"):
        inside = path.relative_to(ROOT / "gin")
        assert f"keras_experts/gin_configs/{inside}" in names
    for path in (ROOT / "export" / "templates").glob("*.j2"):
        assert f"keras_experts/export_templates/{path.name}" in names
    for path in (ROOT / "export" / "builtin").rglob("*.*"):
        inside = path.relative_to(ROOT / "export" / "builtin")
        if path.is_file():
            assert f"keras_experts/export_builtin/{inside}" in names
    assert not [name for name in names if name.startswith(("tests", "gin/"))]


@pytest.mark.slow
def test_installed_wheel_runs_a_stage(wheel, tmp_path):
    # The dependencies are those of the environment that runs the tests.
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    site = next((tmp_path / "venv" / "lib").glob("python*/site-packages"))
    theirs = [path for path in sys.path if path.endswith("site-packages")]
    (site / "dependencies.pth").write_text("\n".join(theirs) + "\n")
    install = ("-m", "pip", "--python", python, "install")
    run(sys.executable, *install, "--no-deps", "--quiet", wheel)
    where = "import keras_experts; print(keras_experts.__file__)"
    here = {"cwd": tmp_path}
    assert str(site) in run(python, "-c", where, **here)
    command = python.with_name("keras-experts")
    assert "train_baseline" in run(command, "--help", **here)
    small = ["NUM_STEPS=1", "BATCH_SIZE=2", "cosine_schedule.warmup_steps=0"]
    small += ["synthetic_upstream.num_train=1"]
    small += ["synthetic_upstream.num_test=1"]
    stage = ("train_baseline", "--gin_file", "stages/demo_baseline.gin")
    stage += ("--workdir", "run", "--gin_param", *small)
    assert "top1" in run(command, *stage, **here)
    assert (tmp_path / "run" / "baseline" / "model.keras").exists()
