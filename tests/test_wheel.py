"""The wheel: built, installed elsewhere, and run from there."""

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
    output = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--outdir", output, ROOT)
    (wheel,) = output.glob("*.whl")
    return wheel


def test_wheel_holds_gin_files_and_templates(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    for path in (ROOT / "gin").rglob("*.gin"):
        inside = path.relative_to(ROOT / "gin")
        assert f"keras_experts/gin_configs/{inside}" in names
    for path in (ROOT / "export" / "templates").glob("*.j2"):
        assert f"keras_experts/export_templates/{path.name}" in names
    assert not [name for name in names if name.startswith(("tests", "gin/"))]


def test_installed_wheel_runs_a_stage(wheel, tmp_path):
    # The dependencies are those of the environment that runs the tests.
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    site = next((tmp_path / "venv" / "lib").glob("python*/site-packages"))
    theirs = [path for path in sys.path if path.endswith("site-packages")]
    (site / "dependencies.pth").write_text("\n".join(theirs) + "\n")
    command = ("-m", "pip", "install", "--no-deps", "--quiet", "--target")
    run(sys.executable, *command, site, wheel)
    where = "import keras_experts; print(keras_experts.__file__)"
    here = {"cwd": tmp_path}
    assert str(site) in run(python, "-c", where, **here)
    cli = (python, "-m", "keras_experts.cli")
    assert "train_baseline" in run(*cli, "--help", **here)
    small = ["NUM_STEPS=1", "BATCH_SIZE=2", "cosine_schedule.warmup_steps=0"]
    small += ["synthetic_upstream.num_train=1"]
    small += ["synthetic_upstream.num_test=1"]
    stage = ("train_baseline", "--gin_file", "stages/demo_baseline.gin")
    stage += ("--workdir", "run", "--gin_param", *small)
    assert run(*cli, *stage, **here).startswith("top1 ")
    assert (tmp_path / "run" / "baseline" / "model.keras").exists()
