"""Every gin file that comes with the package."""

import shutil

import pytest

from keras_experts import config
from keras_experts.data.upstream_sources import tfds_upstream  # noqa: F401
from keras_experts.training import experts
from keras_experts.training import pretraining

FOLDER = config.gin_folder()
FILES = sorted(str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*.gin"))
STAGES = [name for name in FILES if name.startswith("stages/")]
TINY = [
    "NUM_STEPS=2",
    "BATCH_SIZE=8",
    "cosine_schedule.warmup_steps=0",
    "bit_resnet.width=0.125",
]
TINY_SYNTHETIC = [
    "synthetic_upstream.num_train=2",
    "synthetic_upstream.num_test=1",
]


@pytest.mark.parametrize("name", FILES)
def test_file_parses_strictly(name):
    config.parse([name])


@pytest.mark.parametrize("name", FILES)
def test_file_says_what_it_does(name):
    assert (FOLDER / name).read_text().startswith("# ")


@pytest.mark.parametrize("name", STAGES)
def test_stage_says_its_command(name):
    text = (FOLDER / name).read_text()
    assert f"--gin_file {name}" in text


@pytest.mark.parametrize(
    "name", [name for name in STAGES if "cifar100" in name]
)
def test_real_stage_trains_two_steps(name, data_dir, run_dir, tmp_path):
    params = [f"DATA_DIR = {data_dir!r}", *TINY]
    if "baseline" in name:
        config.parse(
            [name], [*params, "tfds_upstream.train_split='train[:40]'"]
        )
        result = pretraining.train_baseline(tmp_path)
        assert 0 <= result["top1"] <= 1
        return
    baseline = "stages/cifar100_baseline.gin"
    small = ["tfds_upstream.test_split='test[:50]'"]
    config.parse([baseline], [*params, *small])
    pretraining.train_baseline(tmp_path)
    shutil.copy(run_dir / "experts.json", tmp_path)
    (tmp_path / "experts.json").write_text(
        '{"hierarchy": "", "experts": [{"index": 0, "name": "animal", '
        '"synset": "n00015388", "num_images": 1}]}'
    )
    params.remove("bit_resnet.width=0.125")
    config.parse([name], [*params, *small])
    (result,) = experts.train_experts(tmp_path)
    assert result["name"] == "animal"
    assert result["num_steps"] == 2


def test_operative_config_stands_beside_each_result(run_dir):
    results = [run_dir / "baseline", *(run_dir / "experts").glob("*/*")]
    assert len(results) == 3
    for result in results:
        assert "num_steps" in (result / "operative_config.gin").read_text()


def test_stage_restarts_from_its_operative_config(run_dir, tmp_path):
    path = str(run_dir / "baseline" / "operative_config.gin")
    config.parse([path])
    result = pretraining.train_baseline(tmp_path)
    assert result["num_steps"] == 2


@pytest.mark.parametrize(
    "param",
    [
        "trian_baseline.num_steps=2",
        "train_baseline.num_stepz=2",
        "train_baseline.model=@bit_resnetz",
        "train_baseline.num_steps=",
    ],
)
def test_misspelt_name_is_refused(param):
    with pytest.raises(ValueError, match="must name known functions"):
        config.parse(["stages/demo_baseline.gin"], [param])


def test_missing_file_is_named():
    with pytest.raises(ValueError, match="Received: nothing.gin"):
        config.parse(["nothing.gin"])


def test_stage_can_be_imported_after_a_parse():
    # gin's own decorators raise once a configuration is locked.
    config.parse(["stages/demo_baseline.gin"])

    def late(seed=0):
        return seed

    def later():
        return 4

    assert config.configurable(late)(seed=3) == 3
    assert config.register(later)() == 4
