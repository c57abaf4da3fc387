"""The commands. The only file with flags; nothing imports it.

Exit codes: 0 done, 1 failed, 2 misused. What the commands do is in
`commands/`.
"""

import argparse
import sys
import traceback
from collections.abc import Callable
from collections.abc import Sequence

from keras_experts.checks import first_line
from keras_experts.commands import publishing
from keras_experts.commands import transfer
from keras_experts.commands import upstream
from keras_experts.commands.shared import Misuse
from keras_experts.selection.registry import RACING
from keras_experts.selection.registry import STRATEGIES

FAILED, MISUSED = 1, 2
# Errors whose text says all; of others the type is told too.
EXPECTED = (ArithmeticError, OSError, RuntimeError, ValueError, Misuse)


class Parser(argparse.ArgumentParser):
    """A parser whose complaints are one line, and that guesses no flag."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs, allow_abbrev=False)

    def error(self, message: str) -> None:
        self.exit(MISUSED, f"{self.prog}: {message}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and gives its exit code."""
    options = make_parser().parse_args(arguments)
    try:
        options.run(options)
        return 0
    except Misuse as error:
        return _report(error, options.debug, MISUSED)
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return FAILED
    except Exception as error:
        return _report(error, options.debug, FAILED)


def _report(error: Exception, debug: bool, code: int) -> int:
    if debug:
        traceback.print_exc()
    else:
        # gin adds lines on who called whom; what is before them is ours.
        text = str(error).partition("\n  In call to configurable")[0]
        line = first_line(text) if text else "no reason was given"
        if not isinstance(error, EXPECTED):
            line = f"{type(error).__name__}: {line}"
        print(f"keras-experts: {line}", file=sys.stderr)
    return code


def make_parser() -> Parser:
    """Makes the parser of all commands."""
    parser = Parser(
        prog="keras-experts",
        description="Train, publish, select and fine-tune expert models.",
    )
    parsers = parser.add_subparsers(dest="command", required=True)
    for add in (
        _add_demo,
        _add_choose_experts,
        _add_train_baseline,
        _add_train_experts,
        _add_train_epn,
        _add_merge_experts,
        _add_export,
        _add_editing,
        _add_serve,
        _add_inspect,
        _add_select,
        _add_finetune,
        _add_predict,
    ):
        add(parsers)
    return parser


def _command(parsers, name: str, run: Callable, text: str) -> Parser:
    command = parsers.add_parser(name, help=text, description=text)
    command.set_defaults(run=run)
    command.add_argument(
        "--debug", action="store_true", help="show the traceback of an error"
    )
    return command


def _add_demo(parsers) -> None:
    command = _command(
        parsers, "demo", transfer.demo, "The whole method on embedded data."
    )
    command.add_argument("--workdir", default="demo", help="[demo]")


def _add_choose_experts(parsers) -> None:
    command = _command(
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


def _add_stage(parsers, name: str, run: Callable, text: str) -> Parser:
    command = _command(parsers, name, run, text)
    _add_gin(command, required=True)
    command.add_argument("--workdir", required=True, help="folder of the run")
    return command


def _add_gin(command: Parser, required: bool = False) -> None:
    add = command.add_argument
    several = {"nargs": "+", "action": "extend", "default": []}
    what = "own, or of the package"
    add("--gin_file", **several, required=required, help=what)
    add("--gin_param", **several, help="bindings, a.b=1")


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
    command = _command(
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


def _add_export(parsers) -> None:
    command = _command(
        parsers,
        "export",
        publishing.export,
        "Export a run as a TF-Hub collection.",
    )
    add = command.add_argument
    add("--workdir", required=True, help="folder of the run")
    add("--output", required=True, help="folder of the collection")
    add("--publisher", required=True, help="first part of the handles")
    add("--name", default="experts", help="middle part [experts]")
    add(
        "--license",
        default="custom",
        help="of the weights, as tfhub.dev names it [custom]",
    )
    add("--base_url", default="", help="where the collection will be found")
    add(
        "--samples",
        action="store_true",
        help="publish some of the upstream's test images with each module",
    )
    add(
        "--storage",
        choices=("float32", "float16"),
        default="float32",
        help="of the module that holds all adapters [float32]",
    )
    add("--site", help="folder to write pages and archives to, as a web site")


def _add_editing(parsers) -> None:
    for name, run, text in (
        ("add_expert", publishing.add_expert, "Add an expert to a bank."),
        ("remove_expert", publishing.remove_expert, "Remove one from a bank."),
    ):
        command = _command(
            parsers, name, run, f"{text} The result is its next version."
        )
        command.add_argument("collection", help="folder of the collection")
        command.add_argument("--bank", required=True, help="handle of the bank")
        if name == "add_expert":
            command.add_argument(
                "--module", required=True, help="adapter expert, or BANK#name"
            )
        else:
            command.add_argument("--expert", required=True, help="its name")


def _add_serve(parsers) -> None:
    command = _command(
        parsers,
        "serve",
        publishing.serve,
        "Host a collection: hub.load from it, or browse it.",
    )
    command.add_argument("collection", help="folder of the collection")
    add = command.add_argument
    add("--port", type=int, default=8500, help="0 for any free one [8500]")
    add("--host", default="127.0.0.1", help="address to listen on [127.0.0.1]")
    add("--gcs_mirror", help="gs:// folder with the modules unpacked")


def _add_inspect(parsers) -> None:
    command = _command(
        parsers,
        "inspect",
        publishing.inspect,
        "Tell what a module is, without loading it.",
    )
    command.add_argument("module", help="folder or URL")
    command.add_argument("--json", help="- for stdout")


def _add_task(command: Parser, **several) -> None:
    add = command.add_argument
    what = "TFDS name, image folder or .npz"
    add("--task", required=True, help=what, **several)
    add("--data_dir", help="folder of TFDS data sets")
    add("--num_examples", type=int, default=1000, help="[1000]")
    add(
        "--trust",
        action="store_true",
        help="load modules that do more than compute, as inspect tells",
    )


def _add_select(parsers) -> None:
    what = "Rank experts for a task and pick one."
    command = _command(parsers, "select", transfer.select, what)
    command.add_argument(
        "--modules",
        nargs="+",
        action="extend",
        required=True,
        help="collections, module folders, URLs, pool files",
    )
    _add_task(command, nargs="+")
    add = command.add_argument
    add("--strategy", default="knn", choices=STRATEGIES, help="[knn]")
    add("--hierarchy", help="of name_matching: wordnet:DIR, is-a file or CSV")
    add("--margin", type=float, default=0.0, help="to beat the baseline by [0]")
    add(
        "--racing",
        default="auto",
        choices=RACING,
        help="eliminate early: by a test, within a budget of passes, or by "
        "one for large pools [auto]",
    )
    add("--error", type=float, default=0.05, help="of --racing error [0.05]")
    add("--budget", type=float, default=0.25, help="of all passes [0.25]")
    add("--combine", action="store_true", help="try several experts together")
    add("--no_cache", action="store_true", help="keep no features")
    add(
        "--time_limit", type=float, default=600, help="s a module's batch [600]"
    )
    add("--processes", type=int, default=1, help="modules at a time [1]")
    what = "score with Apache Beam; runner options as direct_num_workers=2"
    add("--beam", nargs="*", metavar="OPTION", help=what)
    add("--beam_folder", help="that all of Beam's workers see")
    _add_gin(command)
    add("--json", help="selection.json, or - for stdout")
    add("--report", help="a page to look at, F.html")


def _add_finetune(parsers) -> None:
    command = _command(
        parsers, "finetune", transfer.finetune, "Fine-tune a module on a task."
    )
    command.add_argument("--module", required=True, help="folder or URL")
    _add_task(command)
    add = command.add_argument
    add("--output", required=True, help="folder to make")
    add("--num_images", type=int, help="images to pass [BiT-HyperRule's]")
    add("--batch_size", type=int, default=512, help="[512]")
    add("--base_learning_rate", type=float, default=0.003, help="[0.003]")
    add("--image_size", type=int, help="pixels [the module's own]")
    add("--flip", action="store_true", help="mirror half of the images")
    add("--max_shift", type=int, default=0, help="pixels [0]")
    add("--seed", type=int, default=0, help="[0]")


def _add_predict(parsers) -> None:
    command = _command(
        parsers,
        "predict",
        transfer.predict,
        "Classify image files and folders.",
    )
    command.add_argument("--model", required=True, help="finetune's output")
    command.add_argument("files", nargs="+", help="images and folders")
    command.add_argument("--json", help="file, or - for stdout")


if __name__ == "__main__":
    sys.exit(main())
