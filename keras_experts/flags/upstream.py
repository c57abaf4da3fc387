"""Flags of someone who trains a baseline and experts."""

from collections.abc import Callable

from keras_experts.commands import upstream
from keras_experts.commands.shared import Misuse
from keras_experts.flags import types
from keras_experts.flags.shared import SEVERAL
from keras_experts.flags.shared import add_command
from keras_experts.flags.shared import add_data_dir
from keras_experts.flags.shared import add_gin


def _check_choose_experts(options) -> None:
    if (options.num_experts is None) == (options.min_images is None):
        raise Misuse("Give exactly one of --num_experts and --min_images.")
    if (options.counts is None) == (options.dataset is None):
        raise Misuse("Give exactly one of --counts and --dataset.")
    if options.dataset is None:
        for flag in ("data_dir", "label_key"):
            if getattr(options, flag) is not None:
                raise Misuse(f"--{flag} must come with --dataset.")
    if options.tree and options.output == types.STDOUT:
        raise Misuse("--tree must come with --output FILE: - prints JSON.")


def _add_choose_experts(parsers) -> None:
    command = add_command(
        parsers,
        "choose_experts",
        upstream.choose_experts,
        "Choose the parts of a hierarchy that get an expert.",
        _check_choose_experts,
    )
    add = command.add_argument
    add(
        "--hierarchy",
        required=True,
        type=types.hierarchy,
        help="Label hierarchy: wordnet:DIR, an is-a file or a CSV.",
    )
    add(
        "--counts",
        type=types.existing_file,
        metavar="FILE",
        help="CSV of image counts with the columns synset,images, for data "
        "with one label per image.",
    )
    add(
        "--dataset",
        type=types.named_or_path,
        help="Data set whose labels are counted: a TFDS name, a CSV file or a "
        "folder.",
    )
    add_data_dir(command)
    add(
        "--label_key",
        metavar="FEATURE",
        help="TFDS feature that holds nodes of the hierarchy (default: "
        f"{upstream.LABEL_KEY}).",
    )
    add(
        "--num_experts",
        type=types.integer(1),
        metavar="N",
        help="Number of experts: the nodes with the most images.",
    )
    add(
        "--min_images",
        type=types.integer(1),
        metavar="N",
        help="Minimum number of images of a node that gets an expert.",
    )
    add(
        "--distinct",
        action="store_true",
        help="One expert for nodes that have the same images.",
    )
    add(
        "--max_fraction",
        type=types.real(0, 1, "(]"),
        metavar="FRACTION",
        help="Largest fraction of all images that an expert may have "
        "(default: 1).",
    )
    add(
        "--tree",
        action="store_true",
        help="Print the experts as a tree instead of a table.",
    )
    add(
        "--output",
        required=True,
        type=types.output_file,
        metavar="FILE",
        help="experts.json to write, or - for stdout.",
    )


def _add_stage(
    parsers, name: str, run: Callable, text: str, is_first: bool = False
):
    command = add_command(parsers, name, run, text)
    add_gin(command, required=True)
    command.add_argument(
        "--workdir",
        required=True,
        type=types.output_folder if is_first else types.existing_folder,
        metavar="FOLDER",
        help="Folder of the run.",
    )
    return command


def _add_train_baseline(parsers) -> None:
    _add_stage(
        parsers,
        "train_baseline",
        upstream.train_baseline,
        "Train the baseline; resumes when run again.",
        is_first=True,
    )


def _add_train_experts(parsers) -> None:
    command = _add_stage(
        parsers,
        "train_experts",
        upstream.train_experts,
        "Train the experts; resumes when run again.",
    )
    command.add_argument(
        "--experts",
        **SEVERAL,
        metavar="NAME",
        help="Names of the experts to train, separated by commas or spaces "
        "(default: all of experts.json).",
    )


def _add_train_epn(parsers) -> None:
    _add_stage(
        parsers,
        "train_epn",
        upstream.train_epn,
        "Train the expert prediction network; resumes when run again.",
    )


def _add_merge_experts(parsers) -> None:
    command = add_command(
        parsers,
        "merge_experts",
        upstream.merge_experts,
        "Copy experts that other runs trained on the same baseline.",
    )
    command.add_argument(
        "--workdir",
        required=True,
        type=types.existing_folder,
        metavar="FOLDER",
        help="Folder of the run that receives the experts.",
    )
    command.add_argument(
        "--shares",
        **SEVERAL,
        required=True,
        type=types.existing_folder,
        metavar="FOLDER",
        help="Folders of the other runs.",
    )


ADD = (
    _add_choose_experts,
    _add_train_baseline,
    _add_train_experts,
    _add_train_epn,
    _add_merge_experts,
)
