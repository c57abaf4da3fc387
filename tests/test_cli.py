"""The commands: what they print, what they leave, and how they fail."""

import io
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from keras_experts import cli
from keras_experts.evaluation import prediction

SPEC = tf.TensorSpec((None, None, None, 3), tf.float32)


def keras_experts(capfd, *arguments):
    """Runs a command; gives its code, stdout and the lines of stderr."""
    try:
        code = cli.main([str(argument) for argument in arguments])
    except SystemExit as stop:
        code = stop.code
    out, err = capfd.readouterr()
    return code, out, err.splitlines()


def assert_one_line(result, code, *parts):
    """Checks a failure: its code, and one line that says why.

    Above it may stand what was found before, such as the classes of a task.
    """
    assert result[0] == code, result
    (line,) = [x for x in result[2] if x.startswith("keras-experts")]
    assert result[2][-1] == line
    for part in parts:
        assert str(part) in line
    assert "Traceback" not in line


@pytest.fixture
def hierarchy(tmp_path):
    (tmp_path / "h.is_a.txt").write_text("animal dog\nanimal cat\n")
    (tmp_path / "wn").mkdir()
    (tmp_path / "wn" / "data.noun").write_text(
        "00000001 03 n 01 thing 0 000 | a thing\n"
    )
    (tmp_path / "cycle.csv").write_text("parent,child\ndog,pet\npet,dog\n")
    (tmp_path / "counts.csv").write_text("synset,images\ndog,3\ncat,2\n")
    return tmp_path


def test_choose_experts_writes_its_file(capfd, hierarchy):
    output = hierarchy / "experts.json"
    code, out, err = keras_experts(
        capfd,
        *("choose_experts", "--hierarchy", hierarchy / "h.is_a.txt"),
        *("--counts", hierarchy / "counts.csv", "--num_experts", 2),
        *("--output", output),
    )
    assert (code, err) == (0, [])
    assert "animal" in out
    experts = json.loads(output.read_text())["experts"]
    assert [e["name"] for e in experts] == ["animal", "dog"]


def test_choose_experts_prints_json(capfd, hierarchy):
    code, out, _ = keras_experts(
        capfd,
        *("choose_experts", "--hierarchy", hierarchy / "h.is_a.txt"),
        *("--counts", hierarchy / "counts.csv", "--min_images", 3),
        *("--output", "-"),
    )
    assert code == 0
    assert len(json.loads(out)["experts"]) == 2


def test_choose_experts_prints_a_tree(capfd, hierarchy):
    code, out, _ = keras_experts(
        capfd,
        *("choose_experts", "--hierarchy", hierarchy / "h.is_a.txt"),
        *("--counts", hierarchy / "counts.csv", "--num_experts", 2, "--tree"),
        *("--output", hierarchy / "experts.json"),
    )
    assert code == 0
    lines = out.splitlines()
    assert lines[1].startswith("└── animal")
    assert lines[2].startswith("    └── dog")


def test_shares_are_merged(capfd, run_dir, tmp_path):
    shutil.copytree(run_dir / "baseline", tmp_path / "run" / "baseline")
    command = ("merge_experts", "--workdir", tmp_path / "run")
    code, out, err = keras_experts(capfd, *command, "--shares", run_dir)
    assert (code, err) == (0, [])
    assert out.split() == ["adapter/form", "adapter/surface"]
    names = {p.name for p in (tmp_path / "run/experts/adapter/form").iterdir()}
    assert {"adapters.npz", "label_prior.npy", "metadata.json"} <= names


def test_data_set_is_counted(capfd, data_dir):
    code, out, _ = keras_experts(
        capfd,
        *("choose_experts", "--dataset", "cifar100_wordnet"),
        *("--hierarchy", f"{data_dir}/hierarchies/cifar100_wordnet.is_a.txt"),
        *("--data_dir", data_dir, "--label_key", "synset"),
        *("--num_experts", 12, "--distinct", "--max_fraction", 0.5),
        *("--output", "-"),
    )
    assert code == 0
    experts = json.loads(out)["experts"]
    assert experts[0]["name"] == "animal"
    assert all(e["num_images"] <= 15_000 for e in experts)


def test_select_prints_a_table_and_writes_json(
    capfd, collection, image_folder, tmp_path
):
    command = ("select", "--modules", collection, "--task", image_folder)
    output = tmp_path / "selection.json"
    code, out, err = keras_experts(capfd, *command, "--json", output)
    assert code == 0
    assert len(err) == 1 and "28 training + 2 test" in err[0], err
    best = json.loads(output.read_text())["best"]
    assert f"best {best}" in out.splitlines()
    code, out, _ = keras_experts(capfd, *command, "--json", "-")
    assert json.loads(out)["best"] == best


@pytest.mark.slow
def test_finetune_and_predict(capfd, baseline_module, image_folder, tmp_path):
    command = ("finetune", "--module", baseline_module, "--task", image_folder)
    command += ("--output", tmp_path / "out", "--num_images", 32)
    command += ("--base_learning_rate", 0.1)
    code, out, err = keras_experts(capfd, *command, "--batch_size", 16)
    assert code == 0 and "3 classes: " in err[0]
    assert out.startswith("accuracy ")
    # A result is never written over.
    result = keras_experts(capfd, *command)
    assert_one_line(result, 1, "new or empty", tmp_path / "out")
    command = ("predict", "--model", tmp_path / "out", image_folder)
    code, out, err = keras_experts(capfd, *command, "--json", "-")
    assert (code, err) == (0, [])
    assert len(json.loads(out)) == 30
    # A file that was named and cannot be read is a failure, the last thing.
    (tmp_path / "bad.png").write_bytes(b"no image")
    files = (image_folder / "cat" / "0.png", tmp_path / "bad.png")
    command = (*command[:-1], *files, "--json", "-")
    code, out, err = keras_experts(capfd, *command)
    assert code == 1
    good, bad = json.loads(out)
    assert "error" not in good
    assert (bad["file"], bad["class"]) == (str(tmp_path / "bad.png"), None)
    assert bad["error"] == "not an image of a known kind"
    assert len(err) == 2 and err[0].startswith(
        "classified 1 image; skipped 1 file"
    )
    assert "must be readable. Received: " in err[1] and "bad.png" in err[1]
    # One that was found in a folder is told of alone.
    (tmp_path / "good.png").write_bytes(files[0].read_bytes())
    command = (*command[:3], tmp_path, "--json", "-")
    code, out, err = keras_experts(capfd, *command)
    assert code == 0 and len(json.loads(out)) == 2 and len(err) == 1


def test_stages_do_nothing_again(capfd, run_dir, tmp_path):
    run = shutil.copytree(run_dir, tmp_path / "run")
    for stage, result in (("baseline", "baseline"), ("experts", "form")):
        (path,) = run.rglob(f"{result}/operative_config.gin")
        command = (f"train_{stage}", "--gin_file", path, "--workdir", run)
        code, out, err = keras_experts(capfd, *command)
        assert code == 0
        assert err[0].startswith("The finished result in ")
        assert result in out


def test_names_are_printed_on_any_terminal(monkeypatch, tmp_path):
    rows = [
        {"file": name, "class": "größe", "probability": 0.5}
        for name in ("caf\udce9.png", "café.png")
    ]
    monkeypatch.setattr(prediction, "predict", lambda *_, **__: rows)
    command = ["predict", "--model", str(tmp_path), str(tmp_path)]
    for encoding in ("ascii", "utf-8"):
        printed = io.BytesIO()
        stdout = io.TextIOWrapper(printed, encoding=encoding)
        monkeypatch.setattr(sys, "stdout", stdout)
        assert cli.main(command) == 0
        stdout.flush()
        text = printed.getvalue().decode(encoding)
        assert "caf\\udce9.png" in text
        is_ascii = encoding == "ascii"
        assert ("gr\\xf6\\xdfe" if is_ascii else "größe") in text


def test_list_flags_add_up_when_repeated(tmp_path):
    parser = cli.make_parser()
    command = ["select", "--task", "t", "--modules", "a", "--modules", "b", "c"]
    assert parser.parse_args(command).modules == ["a", "b", "c"]
    command = ["train_baseline", "--workdir", str(tmp_path)]
    command += ["--gin_file", "stages/demo_baseline.gin"]
    command += ["--gin_param", "A=1", "--gin_param", "B=2"]
    assert parser.parse_args(command).gin_param == ["A=1", "B=2"]


@pytest.mark.slow
def test_export_again_keeps_what_is_there(capfd, run_dir, tmp_path):
    command = ("export", "--workdir", run_dir, "--output", tmp_path / "c")
    command += ("--publisher", "acme")
    code, out, err = keras_experts(capfd, *command)
    assert (code, err) == (0, [])
    assert "acme/experts/baseline/1" in out
    path = tmp_path / "c/acme/experts/form/1/saved_model.pb"
    before = path.stat().st_mtime_ns
    assert keras_experts(capfd, *command)[0] == 0
    assert path.stat().st_mtime_ns == before
    rows = json.loads((tmp_path / "c/collection.json").read_text())["modules"]
    assert len(rows) == 4
    card = (tmp_path / "c/docs/acme/models/experts/form/1.md").read_text()
    assert card.startswith("# Module acme/experts/form/1\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ["slect"],
        ["select"],
        ["select", "--task", "t", "--modulez", "m"],
        ["select", "--task", "t", "--module", "m"],  # no abbreviations
        ["select", "--task", "t", "--modules", "m", "--strategy", "best"],
        ["finetune", "--module", "m", "--task", "t", "--output", "o"]
        + ["--num_images", "many"],
        ["choose_experts", "--hierarchy", "h", "--output", "o"]
        + ["--counts", "c"],
        ["choose_experts", "--hierarchy", "h", "--output", "o"]
        + ["--num_experts", "1", "--counts", "c", "--dataset", "d"],
    ],
)
def test_misuse_is_one_line_and_exit_2(capfd, arguments):
    result = keras_experts(capfd, *arguments)
    assert_one_line(result, 2)


@pytest.fixture
def failing(tmp_path, image_folder, baseline_module, run_dir):
    """Bad input by name: a command and what its one line must hold."""
    from PIL import Image

    np.savez(tmp_path / "grid.npz", images=np.zeros(4), labels=np.eye(2))
    (tmp_path / "file").write_text("mine")
    empty = tmp_path / "empty"
    (empty / "a").mkdir(parents=True)
    (tmp_path / "none").mkdir()
    one = tmp_path / "one"
    (one / "a").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(one / "a" / "1.png")
    (tmp_path / "pickled.npz").write_bytes(b"no arrays")
    damaged_module = tmp_path / "damaged"
    damaged_module.mkdir()
    (damaged_module / "saved_model.pb").write_bytes(b"no graph")
    root = tf.train.Checkpoint()
    root.scale = tf.Variable(np.float32("nan"))
    root.variables = root.trainable_variables = [root.scale]
    root.__call__ = tf.function(
        lambda x: tf.reduce_mean(x, axis=(1, 2)) * root.scale,
        input_signature=[SPEC],
    )
    tf.saved_model.save(root, str(tmp_path / "nan"))
    root.__call__ = tf.function(
        lambda x: x * root.scale,
        input_signature=[tf.TensorSpec((None, 7), tf.float32)],
    )
    tf.saved_model.save(root, str(tmp_path / "other"))

    def select(task, module=baseline_module):
        return ["select", "--task", task, "--modules", module]

    def finetune(module, task=image_folder):
        command = ["finetune", "--module", module, "--task", task]
        command += ["--num_images", 32, "--batch_size", 16]
        command += ["--base_learning_rate", 0.1]
        return [*command, "--output", tmp_path / "output"]

    run = shutil.copytree(run_dir, tmp_path / "run")

    def train(stage, *more):
        file = f"stages/demo_{stage.removeprefix('train_')}.gin"
        return [stage, "--gin_file", file, "--workdir", run, *more]

    def train_one_expert(synset):
        workdir = tmp_path / "one_expert"
        shutil.copytree(run_dir / "baseline", workdir / "baseline")
        row = {"index": 0, "name": "x", "synset": synset, "num_images": 1}
        path = workdir / "experts.json"
        path.write_text(json.dumps({"experts": [row]}))
        return [*train("train_experts")[:-1], workdir]

    def train_anew(*more):
        workdir = tmp_path / "new_run"
        return [*train("train_baseline")[:-1], workdir, *more]

    (tmp_path / "h.is_a.txt").write_text("animal dog\nanimal cat\n")
    (tmp_path / "wn").mkdir()
    (tmp_path / "wn" / "data.noun").write_text(
        "00000001 03 n 01 thing 0 000 | a thing\n"
    )
    (tmp_path / "cycle.csv").write_text("parent,child\ndog,pet\npet,dog\n")
    (tmp_path / "counts.csv").write_text("synset,images\ndog,3\ncat,2\n")

    def domains(hierarchy, rule, value, *more):
        command = ["choose_experts", "--hierarchy", hierarchy, rule, value]
        command += ["--counts", tmp_path / "counts.csv", *more]
        return [*command, "--output", tmp_path / "experts.json"]

    is_a = tmp_path / "h.is_a.txt"
    missing = tmp_path / "missing"
    return {
        "empty folder": (
            select(tmp_path / "none"),
            "one sub-folder of images per class",
        ),
        "empty class": (select(empty), empty / "a"),
        "one image": (select(one), "at least two classes"),
        "labels in a grid": (select(tmp_path / "grid.npz"), "shape (n,)"),
        "no arrays": (select(tmp_path / "pickled.npz"), "must be an .npz"),
        "missing module": (select(image_folder, missing), missing),
        "damaged module": (
            finetune(damaged_module),
            "a saved_model.pb that can be read",
        ),
        "module of another input": (
            finetune(tmp_path / "other"),
            "must take float images",
        ),
        "module with NaN": (finetune(tmp_path / "nan"), "must stay finite"),
        "misspelt gin name": (
            train("train_baseline", "--gin_param", "train_basline.seed=1"),
            "train_basline",
        ),
        "misspelt gin value": (
            train("train_baseline", "--gin_param", "NUM_STEPZ=1"),
            "NUM_STEPZ",
        ),
        "number that is none": (
            train_anew("--gin_param", "NUM_STEPS='many'"),
            "`train_baseline.num_steps` must be of type int",
        ),
        "momentum out of range": (
            train_anew("--gin_param", "train_baseline.momentum=5"),
            "[0, 1)",
        ),
        "no such node": (domains(is_a, "--min_images", 99), "99"),
        "cycle": (domains(tmp_path / "cycle.csv", "--num_experts", 1), "cycle"),
        "label outside the hierarchy": (
            domains("wordnet:" + str(tmp_path / "wn"), "--num_experts", 1),
            "'dog'",
        ),
        "expert outside the hierarchy": (
            train_one_expert("unicorn"),
            "'unicorn'",
        ),
        "finished with other settings": (
            train("train_baseline", "--gin_param", "NUM_STEPS=2", "SEED=9"),
            "seed 0 there, 9 here",
        ),
        "no other workers": (
            train_anew("--gin_param", "STRATEGY='multi_worker'"),
            "wants TF_CONFIG",
        ),
        "no TPU": (
            train_anew("--gin_param", "STRATEGY='tpu'"),
            "keras_experts[tpu]",
        ),
        "unknown precision": (
            train_anew("--gin_param", "PRECISION='float8'"),
            "float8",
        ),
        "unknown expert": (
            train("train_experts", "--experts", "form,unicorn"),
            "unicorn",
        ),
        "no baseline": (
            [
                "export",
                "--workdir",
                tmp_path / "none",
                "--output",
                tmp_path / "c",
            ]
            + ["--publisher", "acme"],
            "trained baseline",
        ),
        "no classifier": (
            ["predict", "--model", baseline_module, image_folder],
            "names no classes",
        ),
    }


CASES = [
    *("empty folder", "empty class", "one image", "no arrays"),
    *("missing module", "damaged module", "module of another input"),
    *("module with NaN", "misspelt gin name", "misspelt gin value"),
    *("number that is none", "momentum out of range", "labels in a grid"),
    *("unknown expert", "no baseline", "no classifier", "no such node"),
    *("cycle", "label outside the hierarchy", "expert outside the hierarchy"),
    *("finished with other settings", "no other workers", "no TPU"),
    "unknown precision",
]


def test_every_failure_is_tested(failing):
    assert set(CASES) == set(failing)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_failure_is_one_line_and_leaves_nothing(capfd, failing, case, tmp_path):
    arguments, part = failing[case]
    folders = (tmp_path, failing["unknown expert"][0][4])  # and the run
    before = [sorted(folder.rglob("*")) for folder in folders]
    result = keras_experts(capfd, *arguments)
    assert_one_line(result, 1, part, "Received: ")
    assert [sorted(folder.rglob("*")) for folder in folders] == before


def test_debug_shows_the_traceback(capfd, tmp_path):
    command = ("export", "--workdir", tmp_path, "--output", tmp_path)
    result = keras_experts(capfd, *command, "--publisher", "acme", "--debug")
    assert result[0] == 1
    assert result[2][0].startswith("Traceback")


@pytest.mark.slow
def test_tensorflow_s_start_up_is_silent(tmp_path):
    command = [sys.executable, "-m", "keras_experts.cli", "predict"]
    command += ["--model", str(tmp_path), str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1, result.stderr
    assert result.stdout == ""


def test_choices_of_flags_are_those_of_the_code():
    """The flags repeat them, since their modules import Keras."""
    from keras_experts.flags import transfer as flags
    from keras_experts.models import trainable
    from keras_experts.training import distribution
    from keras_experts.training import stages

    assert flags.GROUPS == trainable.GROUPS
    assert set(flags.PRECISIONS) == set(stages.PRECISIONS)
    one_machine = set(distribution.STRATEGIES) - {"multi_worker"}
    assert set(flags.DEVICES) == one_machine
