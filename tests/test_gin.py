"""Every gin file that comes with the package."""

import math
import shutil
import sys

import gin
import pytest

from keras_experts import config
from keras_experts.data.synthetic import synthetic_upstream  # noqa: F401
from keras_experts.data.upstream_sources import tfds_upstream  # noqa: F401
from keras_experts.training import experts
from keras_experts.training import prediction_network
from keras_experts.training import pretraining

FOLDER = config.gin_folder()
FILES = sorted(str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*.gin"))
STAGES = [n for n in FILES if n.startswith(("stages/", "papers/"))]
COMMON = [n for n in FILES if n.startswith("common/")]
PAPERS = [n for n in STAGES if n.startswith("papers/")]
CIFAR = [n for n in STAGES if "cifar100" in n]
TINY = [
    "NUM_STEPS = 2",
    "BATCH_SIZE = 8",
    "Runtime.compile = False",
]
TINY_SYNTHETIC = [
    "synthetic_upstream.num_train = 2",
    "synthetic_upstream.num_test = 1",
    "synthetic_upstream.image_size = 24",
]
# Of WordNet 3.0; an animal, n00015388, is above each, and n00001740 above all.
SYNSETS = {"cat": "n02121620", "dog": "n02084071", "fish": "n02512053"}
TINY_NETWORK = ["bit_resnet.preset = 'r14x0.25_small'"]
TINY_NETWORK += ["bit_resnet.width = 0.125"]


@pytest.mark.parametrize("name", [n for n in FILES if n not in COMMON])
def test_file_parses_strictly(name):
    config.parse([name])


@pytest.mark.parametrize("name", COMMON)
def test_common_part_is_included_and_is_no_stage(name):
    texts = [(FOLDER / other).read_text() for other in FILES]
    assert any(f'include "{name}"' in text for text in texts)
    if name in ("common/baseline.gin", "common/experts.gin"):
        with pytest.raises(
            ValueError, match=f"No bindings specified for '.*{name}, line "
        ):
            config.parse([name])


@pytest.mark.parametrize("name", FILES)
def test_file_says_what_it_does(name):
    assert (FOLDER / name).read_text().startswith("# ")


@pytest.mark.parametrize("name", STAGES)
def test_stage_says_its_command(name):
    text = (FOLDER / name).read_text()
    assert f"--gin_file {name}" in text


def run_stage(name, params, workdir):
    config.parse([name], params)
    text = (FOLDER / name).read_text()
    if "train_baseline --gin_file" in text:
        return [pretraining.train_baseline(workdir)]
    if "train_epn --gin_file" in text:
        return [prediction_network.train_epn(workdir)]
    return experts.train_experts(workdir)


@pytest.mark.slow
@pytest.mark.parametrize("name", PAPERS)
def test_setting_of_the_paper_trains_two_steps(name, run_dir, tmp_path):
    """With a tiny network on rendered images; the rest is the file's."""
    params = [*TINY, *TINY_SYNTHETIC, "UPSTREAM = @synthetic_upstream"]
    params += ["IMAGE_SIZE = 24", "WARMUP_STEPS = 1"]
    if "baseline" in name:
        params += TINY_NETWORK
    else:
        shutil.copytree(run_dir / "baseline", tmp_path / "baseline")
        shutil.copy(run_dir / "experts.json", tmp_path)
    results = run_stage(name, params, tmp_path)
    for result in results:
        assert result["num_steps"] == 2
        assert math.isfinite(result["final_loss"])
        assert result["settings"]["precision"] == "bfloat16"


@pytest.mark.slow
def test_paper_s_baseline_reads_folders_of_synsets(
    wordnet, image_folder, tmp_path
):
    train = tmp_path / "imagenet21k_train"
    shutil.copytree(image_folder, train)
    for name, synset in SYNSETS.items():
        (train / name).rename(train / synset)
    params = [*TINY, *TINY_NETWORK, "IMAGE_SIZE = 24", "WARMUP_STEPS = 1"]
    params += [f"TRAIN = '{train}'", f"TEST = '{train}'"]
    params += [f"HIERARCHY = 'wordnet:{wordnet}'"]
    name = "papers/iclr2021/in21k_baseline.gin"
    (result,) = run_stage(name, params, tmp_path / "run")
    assert result["classes"] == sorted(SYNSETS.values())
    assert {"n00015388", "n00001740"} < set(result["outputs"])
    assert result["num_images"] == 30


ONE_EXPERT = (
    '{"hierarchy": "", "experts": [{"index": 0, "name": "animal", '
    '"synset": "n00015388", "num_images": 1}]}'
)


@pytest.fixture(scope="module")
def cifar_run(data_dir, tmp_path_factory):
    """Two steps of the real baseline, and one expert to train."""
    workdir = tmp_path_factory.mktemp("cifar")
    result = run_stage(
        "stages/cifar100_baseline.gin",
        [*TINY, *cifar_params(data_dir), *TINY_NETWORK],
        workdir,
    )
    assert 0 <= result[0]["top1"] <= 1
    (workdir / "experts.json").write_text(ONE_EXPERT)
    return workdir


def cifar_params(data_dir):
    return [
        f"DATA_DIR = {data_dir!r}",
        "cosine_schedule.warmup_steps = 0",
        "tfds_upstream.train_split = 'train[:400]'",
        "tfds_upstream.test_split = 'test[:50]'",
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("adapters", "animal"),
        ("full", "animal"),
        ("random", "random_animal"),
        ("clusters", "cluster_000"),
        ("largest", "largest_entity"),
        ("epn", "epn"),
        ("dat", "dat_flowers5"),
    ],
)
def test_real_stage_trains_two_steps(cifar_run, data_dir, name, expected):
    params = [*TINY, *cifar_params(data_dir)]
    if name == "clusters":
        params += ["NUM_CLUSTERS = 2", "MIN_IMAGES = 1"]
    if name == "largest":
        params.append("NUM_EXPERTS = 1")
    if name == "dat":
        params.append("domain_adaptive_slices.tasks = ['flowers5']")
    name = f"stages/cifar100_{name}.gin"
    result = run_stage(name, params, cifar_run)[0]
    assert result["name"] == expected
    assert result["num_steps"] == 2


@pytest.mark.slow
def test_stages_of_a_small_network_train_two_steps(data_dir, tmp_path):
    (tmp_path / "experts.json").write_text(ONE_EXPERT)
    for name, expected in (
        ("baseline", "baseline"),
        ("full", "animal"),
        ("adapters", "animal"),
        ("random", "random_animal"),
    ):
        params = [*TINY, *cifar_params(data_dir)]
        stage = f"stages/cifar100_small_{name}.gin"
        (result,) = run_stage(stage, params, tmp_path)
        assert result["name"] == expected
        assert result["num_steps"] == 2
    assert result["kind"] == "full"


def test_every_stage_of_the_real_run_is_tested():
    tested = {"baseline", "adapters", "full", "random", "clusters"}
    tested |= {"epn", "dat", "largest"}
    small = ("baseline", "adapters", "full", "random")
    tested |= {f"small_{name}" for name in small}
    assert {f"stages/cifar100_{n}.gin" for n in tested} == set(CIFAR)


def test_operative_config_stands_beside_each_result(run_dir):
    results = [run_dir / "baseline", *(run_dir / "experts").glob("*/*")]
    assert len(results) == 3
    for result in results:
        assert "num_steps" in (result / "operative_config.gin").read_text()


@pytest.mark.slow
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
    with pytest.raises(ValueError, match="no gin file nothing.gin"):
        config.parse(["nothing.gin"])


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes gin files, or modules, to the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def write_file(name, text, encoding="utf-8"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding)
        return name

    return write_file


DEMO = 'include "stages/demo_baseline.gin"\n'


def test_include_starts_from_the_file_that_includes(write, tmp_path):
    write("deep/base.gin", DEMO + "NUM_STEPS = 7\n")
    config.parse([write("deep/mine.gin", 'include "base.gin"\n')])
    assert gin.query_parameter("%NUM_STEPS") == 7
    config.parse([str(tmp_path / "deep" / "mine.gin")])
    assert gin.query_parameter("%NUM_STEPS") == 7


def test_file_that_includes_itself_is_refused(write):
    write("a.gin", 'include "b.gin"\n')
    write("b.gin", 'include "a.gin"\n')
    with pytest.raises(ValueError, match="a.gin includes itself, in .*b.gin"):
        config.parse(["a.gin"])


def test_byte_order_mark_is_no_part_of_a_file(write):
    config.parse([write("mine.gin", DEMO + "NUM_STEPS = 7\n", "utf-8-sig")])
    assert gin.query_parameter("%NUM_STEPS") == 7


def test_module_of_the_working_directory_is_imported(write):
    write(
        "my_gin_module.py",
        "from keras_experts import config\n"
        "@config.register\n"
        "def my_rate(value: float = 1.0):\n"
        "    return value\n",
    )
    config.parse(
        [write("mine.gin", "import my_gin_module\nmy_rate.value = 2\n")]
    )
    assert gin.query_parameter("my_rate.value") == 2


def test_home_folder_is_expanded_in_values(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    params = ['tfds_upstream.data_dir = "~/data"']
    params += ['tfds_upstream.hierarchy = "wordnet:~/wn"']
    config.parse(["stages/demo_baseline.gin"], params)
    found = gin.query_parameter
    assert found("tfds_upstream.data_dir") == "/home/me/data"
    assert found("tfds_upstream.hierarchy") == "wordnet:/home/me/wn"


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("LEARNING_RATE = 'x'", ["cosine_schedule.learning_rate", "float"]),
        ("NUM_STEPS = 1.5", ["train_baseline.num_steps", "int", "1.5"]),
        ("LEARNING_RATE = 1e999", ["cosine_schedule.learning_rate", "inf"]),
        ("train_baseline.loss = 3", ["train_baseline.loss", "str", "= 3"]),
        ("train_baseline.seed = None", ["train_baseline.seed", "None"]),
        ("trian_baseline.seed = 1", ["did you mean 'train_baseline'?"]),
        ("train_baseline.sed = 1", ["did you mean 'seed'?"]),
        ("SCHEDULE = @cosine_shedule", ["did you mean 'cosine_schedule'?"]),
        ("train_baseline.seed = %SED", ["SED", "did you mean 'SEED'?"]),
        ("import no_such_module", ["No module named 'no_such_module'"]),
        ("include 'no_such.gin'", ["no gin file no_such.gin"]),
        ("train_baseline.seed = ", ["Unable to parse value"]),
    ],
)
def test_fault_names_its_file_its_binding_and_the_likely_name(
    write, line, parts
):
    write("mine.gin", f"{DEMO}\n# a comment\n{line}\n")
    with pytest.raises(ValueError, match="mine.gin, line 4") as caught:
        config.parse(["mine.gin"])
    assert len(str(caught.value).splitlines()) == 1
    for part in parts:
        assert part in str(caught.value)


def test_fault_of_an_imported_module_is_named(write):
    write("my_broken_module.py", "def\n")
    with pytest.raises(ValueError, match="my_broken_module.py, line 1"):
        config.parse([write("mine.gin", "import my_broken_module\n")])


@pytest.mark.parametrize(
    ("param", "parts"),
    [
        ("NUM_STEPZ = 1", ["NUM_STEPZ", "did you mean 'NUM_STEPS'?"]),
        ("LEARNING_RATE = 'x'", ["LEARNING_RATE = 'x' in --gin_param"]),
        ("train_baseline.sed = 1", ["--gin_param", "did you mean 'seed'?"]),
    ],
)
def test_fault_of_a_parameter_names_it(param, parts):
    with pytest.raises(ValueError) as caught:
        config.parse(["stages/demo_baseline.gin"], [param])
    for part in parts:
        assert part in str(caught.value)


def test_stage_can_be_imported_after_a_parse():
    # gin's own decorators raise once a configuration is locked.
    config.parse(["stages/demo_baseline.gin"])

    def late(seed=0):
        return seed

    def later():
        return 4

    assert config.configurable(late)(seed=3) == 3
    assert config.register(later)() == 4
