"""The commands. The only file with flags; nothing imports it.

Exit codes: 0 done, 1 failed, 2 misused. Heavy modules are imported by the
command that needs them, so that `--help` takes no time.
"""

import argparse
import contextlib
import json
import logging
import os
import sys
import traceback
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence

FAILED, MISUSED = 1, 2


class Misuse(Exception):
    """Flags that do not go together."""


class Parser(argparse.ArgumentParser):
    """A parser whose complaints are one line, and that guesses no flag."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs, allow_abbrev=False)

    def error(self, message: str) -> None:
        self.exit(MISUSED, f"{self.prog}: {message}\n")


@contextlib.contextmanager
def _silent_stderr() -> Iterator[None]:
    """Sends what C++ libraries print on loading into the void.

    TensorFlow prints to file descriptor 2 before any setting counts.
    """
    kept = os.dup(2)
    void = os.open(os.devnull, os.O_WRONLY)
    os.dup2(void, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(void)


def _load_tensorflow() -> None:
    """Imports TensorFlow without its start-up lines."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with _silent_stderr():
        import tensorflow as tf

        tf.config.list_logical_devices()
    for name in ("absl", "tensorflow"):
        logging.getLogger(name).setLevel(logging.ERROR)


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
        # gin adds lines on who called whom; the first paragraph is ours.
        text = str(error).partition("\n  In call to configurable")[0]
        line = " ".join(text.split()) or "no reason was given"
        if not isinstance(error, ValueError | OSError | Misuse | RuntimeError):
            line = f"{type(error).__name__}: {line}"
        print(f"keras-experts: {line}", file=sys.stderr)
    return code


def make_parser() -> Parser:
    """Makes the parser of all commands."""
    parser = Parser(
        prog="keras-experts",
        description="Train, publish, select and fine-tune expert models.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for add in (
        _add_demo,
        _add_choose_experts,
        _add_train_baseline,
        _add_train_experts,
        _add_export,
        _add_select,
        _add_finetune,
        _add_predict,
    ):
        add(commands)
    return parser


def _command(commands, name: str, run: Callable, text: str) -> Parser:
    command = commands.add_parser(name, help=text, description=text)
    command.set_defaults(run=run)
    command.add_argument(
        "--debug", action="store_true", help="show the traceback of an error"
    )
    return command


def _add_demo(commands) -> None:
    command = _command(
        commands, "demo", _demo, "The whole method on embedded data."
    )
    command.add_argument("--workdir", default="demo", help="[demo]")


def _demo(options) -> None:
    _load_tensorflow()
    from keras_experts import demo

    demo.run(options.workdir)


def _add_choose_experts(commands) -> None:
    command = _command(
        commands,
        "choose_experts",
        _choose_experts,
        "Choose the parts of a hierarchy that get an expert.",
    )
    add = command.add_argument
    add("--hierarchy", required=True, help="wordnet:DIR or an is-a file")
    add("--counts", help="CSV with synset,images (one label an image)")
    add("--dataset", help="TFDS name, to count a set of several labels")
    add("--data_dir", help="folder of TFDS data sets")
    add("--label_key", default="label", help="feature with nodes [label]")
    add("--num_experts", type=int, help="the K nodes with most images")
    add("--min_images", type=int, help="all nodes with so many images")
    add("--distinct", action="store_true", help="one node a set of images")
    add("--max_fraction", type=float, help="largest share of all images")
    add("--output", required=True, help="experts.json, or - for stdout")


def _choose_experts(options) -> None:
    from keras_experts import domains
    from keras_experts import files
    from keras_experts.console import print_table
    from keras_experts.hierarchy import Hierarchy

    if (options.num_experts is None) == (options.min_images is None):
        raise Misuse("Give exactly one of --num_experts and --min_images.")
    if (options.counts is None) == (options.dataset is None):
        raise Misuse("Give exactly one of --counts and --dataset.")
    hierarchy = Hierarchy.read(options.hierarchy)
    if options.counts:
        counts = domains.read_counts(options.counts)
    else:
        _load_tensorflow()
        from keras_experts.data.upstream import count_labels

        counts = count_labels(
            options.dataset, options.label_key, options.data_dir
        )
    experts = hierarchy.choose_experts(
        counts,
        options.num_experts,
        options.min_images,
        options.distinct,
        options.max_fraction,
    )
    content = domains.experts_to_json(options.hierarchy, experts)
    if _write_json(options.output, content):
        return
    files.write_json(options.output, content)
    print_table(
        f"Experts, written to {options.output}",
        ("expert", "synset", "images"),
        [(e.name, e.synset, f"{e.num_images:,}") for e in experts],
    )


def _add_stage(commands, name: str, run: Callable, text: str) -> Parser:
    command = _command(commands, name, run, text)
    add = command.add_argument
    add("--gin_file", nargs="+", required=True, help="own, or of the package")
    add("--gin_param", nargs="+", default=[], help="bindings, a.b=1")
    add("--workdir", required=True, help="folder of the run")
    return command


def _add_train_baseline(commands) -> None:
    _add_stage(
        commands,
        "train_baseline",
        _train_baseline,
        "Train the baseline; resumes when run again.",
    )


def _train_baseline(options) -> None:
    _load_tensorflow()
    from keras_experts.training import pretraining

    _parse_gin(options)
    result = pretraining.train_baseline(options.workdir)
    print(f"top1 {result['top1']:.4f} share")


def _add_train_experts(commands) -> None:
    command = _add_stage(
        commands,
        "train_experts",
        _train_experts,
        "Train the experts; resumes when run again.",
    )
    command.add_argument(
        "--experts", help="names to train, with commas [all of experts.json]"
    )


def _train_experts(options) -> None:
    _load_tensorflow()
    from keras_experts.console import print_table
    from keras_experts.training import pretraining

    _parse_gin(options)
    given = {}
    if options.experts is not None:
        given["names"] = options.experts.split(",")
    results = pretraining.train_experts(options.workdir, **given)
    print_table(
        "Top-1 on the test images of each slice",
        ("expert", "images", "baseline", "expert's own"),
        [
            (
                row["name"],
                f"{row['num_images']:,}",
                _percent(row["slice_top1_baseline"]),
                _percent(row["slice_top1"]),
            )
            for row in results
        ],
    )


def _parse_gin(options) -> None:
    from keras_experts import config

    config.parse(options.gin_file, options.gin_param)


def _add_export(commands) -> None:
    command = _command(
        commands, "export", _export, "Export a run as a TF-Hub collection."
    )
    add = command.add_argument
    add("--workdir", required=True, help="folder of the run")
    add("--output", required=True, help="folder of the collection")
    add("--publisher", required=True, help="first part of the handles")
    add("--name", default="experts", help="middle part [experts]")


def _export(options) -> None:
    _load_tensorflow()
    from keras_experts.console import print_table
    from keras_experts.exporting import collection

    rows = collection.export_run(
        options.workdir, options.output, options.publisher, options.name
    )
    print_table(
        f"Collection in {options.output}",
        ("handle", "kind"),
        [(row["handle"], row["kind"]) for row in rows],
    )


def _add_task(command: Parser) -> None:
    add = command.add_argument
    add("--task", required=True, help="TFDS name, image folder or .npz")
    add("--data_dir", help="folder of TFDS data sets")
    add("--num_examples", type=int, default=1000, help="[1000]")


def _add_select(commands) -> None:
    command = _command(
        commands, "select", _select, "Rank experts for a task and pick one."
    )
    command.add_argument(
        "--modules",
        nargs="+",
        required=True,
        help="collections, module folders, URLs, pool files",
    )
    _add_task(command)
    command.add_argument("--strategy", default="knn", choices=("knn",))
    command.add_argument("--json", help="selection.json, or - for stdout")


def _select(options) -> None:
    _load_tensorflow()
    from keras_experts import files
    from keras_experts.console import print_table
    from keras_experts.selection.selector import select

    selection = select(
        options.task,
        options.modules,
        options.strategy,
        options.num_examples,
        options.data_dir,
    )
    content = selection.to_json()
    if _write_json(options.json, content):
        return
    if options.json:
        files.write_json(options.json, content)
    print_table(
        f"{selection.task}: leave-one-out accuracy of the nearest neighbour, "
        f"{selection.num_examples} images",
        ("expert", "score", "± error", "seconds"),
        [
            (
                entry.expert,
                _percent(entry.score),
                _percent(entry.standard_error),
                f"{entry.seconds:.1f}",
            )
            for entry in selection.ranking
        ],
    )
    print(f"best {selection.best.module}")


def _add_finetune(commands) -> None:
    command = _command(
        commands, "finetune", _finetune, "Fine-tune a module on a task."
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


def _finetune(options) -> None:
    _load_tensorflow()
    from keras_experts.training.finetuning import finetune

    names = (
        *("module", "task", "output", "data_dir", "num_examples"),
        *("num_images", "batch_size", "base_learning_rate", "image_size"),
        *("flip", "max_shift", "seed"),
    )
    metrics = finetune(**{name: getattr(options, name) for name in names})
    if metrics["accuracy"] is not None:
        print(f"accuracy {metrics['accuracy']:.4f} share")


def _add_predict(commands) -> None:
    command = _command(
        commands, "predict", _predict, "Classify image files and folders."
    )
    command.add_argument("--model", required=True, help="finetune's output")
    command.add_argument("files", nargs="+", help="images and folders")
    command.add_argument("--json", help="file, or - for stdout")


def _predict(options) -> None:
    _load_tensorflow()
    from keras_experts import files
    from keras_experts.console import print_table
    from keras_experts.evaluation.prediction import predict

    rows = predict(options.model, options.files)
    if _write_json(options.json, rows):
        return
    if options.json:
        files.write_json(options.json, rows)
    print_table(
        "Predictions",
        ("file", "class", "probability"),
        [(r["file"], r["class"], _percent(r["probability"])) for r in rows],
    )


def _write_json(path: str | None, content: object) -> bool:
    """Prints JSON where the path is "-", and tells whether it did."""
    if path == "-":
        print(json.dumps(content, indent=2))
    return path == "-"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"


if __name__ == "__main__":
    sys.exit(main())
