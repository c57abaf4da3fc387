"""Flags of someone who trains a baseline and experts."""

from collections.abc import Callable

from keras_experts.commands import upstream
from keras_experts.flags.shared import add_command
from keras_experts.flags.shared import add_gin


def _add_choose_experts(parsers) -> None:
    command = add_command(
        parsers,
        "choose_experts",
        upstream.choose_experts,
        "Choose the parts of a hierarchy that get an expert.",
    )
    add = command.add_argument
    add("--hierarchy", required=True, help="wordnet:DIR, is-a file or CSV")
    add("--counts", help="CSV with synset,images (one label an image)")
    add("--dataset", help="TFDS name, CSV or folder, to be counted")
    add("--data_dir", help="folder of TFDS data sets")
    add("--label_key", default="label", help="feature with nodes [label]")
    add("--num_experts", type=int, help="the K nodes with most images")
    add("--min_images", type=int, help="all nodes with so many images")
    add("--distinct", action="store_true", help="one node a set of images")
    add("--max_fraction", type=float, help="largest share of all images")
    add("--tree", action="store_true", help="print a tree, not a table")
    add("--output", required=True, help="experts.json, or - for stdout")


def _add_stage(parsers, name: str, run: Callable, text: str):
    command = add_command(parsers, name, run, text)
    add_gin(command, required=True)
    command.add_argument("--workdir", required=True, help="folder of the run")
    return command


def _add_train_baseline(parsers) -> None:
    _add_stage(
        parsers,
        "train_baseline",
        upstream.train_baseline,
        "Train the baseline; resumes when run again.",
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
        nargs="+",
        action="extend",
        help="names, with commas or spaces [all of experts.json]",
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
    command.add_argument("--workdir", required=True, help="folder of the run")
    command.add_argument(
        "--shares",
        nargs="+",
        action="extend",
        required=True,
        help="folders of the other runs",
    )


ADD = (
    _add_choose_experts,
    _add_train_baseline,
    _add_train_experts,
    _add_train_epn,
    _add_merge_experts,
)
