"""Every flag refuses what it cannot use, before any work."""

import json
import subprocess
import sys

import pytest

from keras_experts import cli
from keras_experts.commands.shared import Misuse
from keras_experts.commands.shared import check_data_set
from keras_experts.flags import publishing
from keras_experts.flags import types

NOT_INTEGERS = ("x", "1.5", "nan", "inf", "-1", "")
NOT_REALS = ("x", "nan", "inf", "-inf", "")
FROM_ONE = (*NOT_INTEGERS, "0")
FROM_TWO = (*FROM_ONE, "1")
POSITIVE = (*NOT_REALS, "0", "-1")
# Of every command, the flags that take a number and values they refuse.
NUMBERS = {
    "choose_experts": {
        "--num_experts": FROM_ONE,
        "--min_images": FROM_ONE,
        "--max_fraction": (*POSITIVE, "1.5"),
    },
    "serve": {"--port": (*NOT_INTEGERS, "65536")},
    "select": {
        "--num_examples": FROM_TWO,
        "--margin": NOT_REALS,
        "--error": (*POSITIVE, "1"),
        "--budget": (*POSITIVE, "1.5"),
        "--time_limit": POSITIVE,
        "--processes": FROM_ONE,
    },
    "finetune": {
        "--num_examples": FROM_TWO,
        "--num_images": FROM_ONE,
        "--batch_size": FROM_ONE,
        "--base_learning_rate": POSITIVE,
        "--image_size": FROM_ONE,
        "--input_range": NOT_REALS,
        "--max_shift": NOT_INTEGERS,
        "--validation": (*NOT_REALS, "-0.1", "1", "1.5"),
        "--patience": FROM_ONE,
        "--seed": (*NOT_INTEGERS, str(2**32)),
    },
    "evaluate": {
        "--oracle_runs": FROM_ONE,
        "--repeats": FROM_ONE,
        "--runs": FROM_ONE,
        "--num_images": FROM_ONE,
        "--batch_size": FROM_ONE,
        "--base_learning_rate": POSITIVE,
        "--processes": FROM_ONE,
    },
}
# What else takes a value: names and paths that the library looks up.
FREE = {
    "--bank",
    "--base_url",
    "--beam",
    "--expert",
    "--experts",
    "--gin_param",
    "--host",
    "--label_column",
    "--label_key",
    "--methods",
    "--modules",
    "--pool",
    "--text_column",
}
MISSING = "{tmp}/missing/file"
# By the type of a flag, values that it refuses and what the reason holds.
PATHS = {
    "output_file": [
        ("{tmp}", "is a folder"),
        (MISSING, "the folder {tmp}/missing does not exist"),
        ("/proc/file", "cannot write to the folder /proc"),
    ],
    "output_folder": [
        ("{tmp}/file", "{tmp}/file is no folder"),
        ("/proc/folder/deep", "cannot write to the folder /proc"),
    ],
    "input_path": [(MISSING, f"{MISSING} does not exist")],
    "existing_path": [(MISSING, f"{MISSING} does not exist")],
    "existing_folder": [
        (MISSING, f"{MISSING} does not exist"),
        ("{tmp}/file", "must be a folder"),
    ],
    "existing_file": [
        (MISSING, f"{MISSING} does not exist"),
        ("{tmp}", "must be a file"),
    ],
    "suite": [(MISSING, f"{MISSING} does not exist"), ("{tmp}", "a file")],
    "named_or_path": [(MISSING, f"{MISSING} does not exist")],
    "hierarchy": [
        (MISSING, f"{MISSING} does not exist"),
        (f"wordnet:{MISSING}", f"{MISSING} does not exist"),
    ],
    "gin_file": [("no.gin", "no.gin does not exist")],
    "module": [
        (MISSING, f"{MISSING} does not exist"),
        (f"{MISSING}#insect", f"{MISSING} does not exist"),
        (f"https://host/m@{MISSING}", f"{MISSING} does not exist"),
    ],
    "bucket": [("https://host", "must be a URL that starts with gs://")],
    "publisher": [("Acme!", "must match"), ("a/b", "must match")],
    "collection_name": [("..", "no part '.' or '..'"), ("a b", "must match")],
}
# Arguments with which a command is complete.
COMPLETE = {
    "demo": "",
    "choose_experts": "--hierarchy {file} --counts {file} --num_experts 1 "
    "--output -",
    "train_baseline": "--gin_file {file} --workdir {tmp}",
    "train_experts": "--gin_file {file} --workdir {tmp}",
    "train_epn": "--gin_file {file} --workdir {tmp}",
    "merge_experts": "--workdir {tmp} --shares {tmp}",
    "export": "--workdir {tmp} --output {tmp} --publisher acme",
    "add_expert": "{tmp} --bank b --module {tmp}",
    "remove_expert": "{tmp} --bank b --expert e",
    "serve": "{tmp}",
    "inspect": "{tmp}",
    "select": "--modules {tmp} --task {tmp}",
    "finetune": "--module {tmp} --task {tmp} --output {tmp}/new",
    "predict": "{tmp} --model {tmp}",
    "evaluate": "--suite dat --modules {tmp} --output {tmp}",
    "report": "{tmp}",
    "doctor": "",
}
TOGETHER = [
    ("choose_experts", "--min_images 1", "exactly one of --num_experts"),
    ("choose_experts", "--dataset d", "exactly one of --counts"),
    ("choose_experts", "--data_dir {tmp}", "must come with --dataset"),
    ("choose_experts", "--label_key k", "must come with --dataset"),
    ("choose_experts", "--tree", "must come with --output FILE"),
    ("select", "--task {tmp} {tmp} --report {tmp}/r", "2 tasks"),
    ("select", "--error 0.1", "must come with --racing error"),
    ("select", "--racing error --budget 0.1", "come with --racing budget"),
    ("select", "--beam_folder {tmp}", "must come with --beam"),
    ("select", "--racing error --beam", "--beam races nothing"),
    ("select", "--hierarchy {file}", "with --strategy name_matching"),
    ("select", "--task photos", "--task photos does not exist"),
    ("finetune", "--task photos", "--task photos does not exist"),
    ("finetune", "--patience 2", "must come with --validation"),
    ("finetune", "--input_range 1 1", "two different numbers"),
    ("evaluate", "--pool big", "at least one module"),
    ("evaluate", "--pool a m --pool a m", "a name of its own"),
    ("evaluate", "--pool a m", "must be used by a method"),
    ("evaluate", "--methods knn@big", "'knn@big'"),
    ("evaluate", "--methods best", "'best'"),
    ("evaluate", "--swept baseline", "a --sweep other than hyperrule"),
    ("evaluate", "--sweep vtab --base_learning_rate 1", "--sweep hyperrule"),
    ("evaluate", "--suite no_suite", "--suite no_suite does not exist"),
    ("report", "--markdown - --csv -", "Only one of"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("misuse")
    (folder / "file").write_text("text")
    return folder


def fill(text, folder):
    return text.replace("{tmp}", str(folder)).replace(
        "{file}", str(folder / "file")
    )


def complete(command, folder, *more):
    return [command, *fill(COMPLETE[command], folder).split(), *more]


def misuse(arguments, capsys):
    """Runs a command that must be refused; returns its one line."""
    try:
        code = cli.main(arguments)
    except SystemExit as stop:
        code = stop.code
    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    return line


def parsers():
    parser = cli.make_parser()
    (commands,) = [a for a in parser._actions if a.choices]
    return commands.choices


def flags_of(command):
    """Returns a command's flags that take a value without choices."""
    return [
        action
        for action in parsers()[command]._actions
        if action.nargs != 0 and action.choices is None
    ]


def path_cases():
    for command in COMPLETE:
        for action in flags_of(command):
            kind = getattr(action.type, "__name__", "")
            for value, reason in PATHS.get(kind, ()):
                flag = action.option_strings[:1]
                yield command, flag or [action.dest], value, reason


NUMBER_CASES = [
    (command, flag, value)
    for command, flags in NUMBERS.items()
    for flag, values in flags.items()
    for value in values
]


def test_every_flag_that_takes_a_value_is_tested():
    assert set(COMPLETE) == set(parsers())
    for command in COMPLETE:
        for action in flags_of(command):
            name = (action.option_strings or [action.dest])[0]
            kind = getattr(action.type, "__name__", "")
            is_number = name in NUMBERS.get(command, {})
            assert is_number or kind in PATHS or name in FREE, (command, name)
            assert action.help.endswith("."), (command, name)


@pytest.mark.parametrize(("command", "flag", "value"), NUMBER_CASES)
def test_number_out_of_its_range_is_refused(
    folder, capsys, command, flag, value
):
    more = [f"{flag}={value}"]
    if flag == "--input_range":
        more = [flag, value, "1"] if value[:1] != "-" else [flag, "x", "1"]
    line = misuse(complete(command, folder, *more), capsys)
    assert line.startswith(f"keras-experts {command}: {flag} must be a")
    assert "Received: " in line


@pytest.mark.parametrize(("command", "flag", "value", "reason"), path_cases())
def test_path_that_cannot_be_used_is_refused(
    folder, capsys, command, flag, value, reason
):
    (name,) = flag
    is_flag = name.startswith("--")
    arguments = complete(command, folder)
    value = fill(value, folder)
    if is_flag:
        arguments += [name, value]
    else:
        place = arguments.index(str(folder), 1)
        arguments[place] = value
    before = sorted(folder.rglob("*"))
    line = misuse(arguments, capsys)
    assert line.startswith(f"keras-experts {command}: {name} ")
    assert fill(reason, folder) in line
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize(("command", "more", "reason"), TOGETHER)
def test_flags_that_do_not_go_together_are_refused(
    folder, capsys, monkeypatch, command, more, reason
):
    monkeypatch.setenv("TFDS_DATA_DIR", str(folder))
    arguments = complete(command, folder, *fill(more, folder).split())
    line = misuse(arguments, capsys)
    assert reason in line


def test_refusals_import_no_tensorflow(folder, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(folder))
    commands = [
        complete(command, folder, *fill(more, folder).split())
        for command, more, _ in TOGETHER
    ]
    commands += [
        complete(command, folder, f"{flag}={value}")
        for command, flag, value in NUMBER_CASES
        if value in ("nan", "0")
    ]
    script = (
        "import json, sys\n"
        "from keras_experts import cli\n"
        "for arguments in json.load(sys.stdin):\n"
        "    try:\n"
        "        code = cli.main(arguments)\n"
        "    except SystemExit as stop:\n"
        "        code = stop.code\n"
        "    assert code == 2, arguments\n"
        "    assert 'tensorflow' not in sys.modules, arguments\n"
    )
    subprocess.run(
        [sys.executable, "-c", script],
        input=json.dumps(commands),
        text=True,
        check=True,
        capture_output=True,
    )


def test_home_folder_is_expanded_in_paths(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder))
    assert types.existing_file("~/file") == f"{folder}/file"
    assert types.output_file("~/new") == f"{folder}/new"
    assert types.output_folder("~/a/b") == f"{folder}/a/b"
    assert types.hierarchy("wordnet:~") == f"wordnet:{folder}"
    assert types.named_or_path("~/file") == f"{folder}/file"
    assert types.module("~/file#x") == f"{folder}/file#x"


def test_data_set_may_be_a_path_a_prepared_set_or_stdin(folder, tmp_path):
    (tmp_path / "clevr").mkdir()
    for name in ("-", str(folder), "clevr:3.*.*", "clevr/all"):
        check_data_set("task", name, str(tmp_path))
    with pytest.raises(Misuse, match="--task photos does not exist"):
        check_data_set("task", "photos", str(tmp_path))


def test_streams_are_outputs():
    for path in ("-", "/dev/null", "/dev/stdout"):
        assert types.output_file(path) == path


def test_choices_are_those_of_the_code():
    """The flags repeat them, since their modules import TensorFlow."""
    from keras_experts.evaluation import suites
    from keras_experts.exporting import cards

    assert publishing.LICENSES == cards.LICENSES
    assert types.SUITES == tuple(suites.SUITES)
