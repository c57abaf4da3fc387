"""What flags of several commands share."""

from collections.abc import Callable

from keras_experts.flags import types

TRUST = "Load modules whose graph does more than compute, as `inspect` reports."
SEVERAL = {"nargs": "+", "action": "extend"}


def add_command(
    parsers,
    name: str,
    run: Callable,
    text: str,
    check: Callable | None = None,
):
    """Adds a command and returns its parser.

    Args:
        parsers: what `add_subparsers` returned.
        name: str. Name of the command.
        run: function of the parsed flags that does the work.
        text: str. What the command does.
        check: function of the parsed flags that raises `Misuse` if they do not
            go together, or None.
    """
    command = parsers.add_parser(name, help=text, description=text)
    command.check = check
    command.set_defaults(run=run)
    command.add_argument(
        "--debug", action="store_true", help="Show the traceback of an error."
    )
    return command


def add_gin(command, required: bool = False) -> None:
    """Adds --gin_file and --gin_param."""
    add = command.add_argument
    add(
        "--gin_file",
        **SEVERAL,
        default=[],
        required=required,
        type=types.gin_file,
        metavar="FILE",
        help="Gin file(s): a path, or the name of a file shipped with the "
        "package.",
    )
    add(
        "--gin_param",
        **SEVERAL,
        default=[],
        metavar="BINDING",
        help="Bindings that override the files, such as `SEED=1` or "
        "`train_baseline.seed=1`.",
    )


def add_strategies(command) -> None:
    """Adds the settings of selection strategies."""
    command.add_argument(
        "--hierarchy",
        type=types.hierarchy,
        help="Label hierarchy of the strategy name_matching: wordnet:DIR, an "
        "is-a file or a CSV.",
    )
    add_gin(command)


def add_data_dir(command) -> None:
    """Adds --data_dir."""
    command.add_argument(
        "--data_dir",
        type=types.existing_folder,
        metavar="FOLDER",
        help="Folder of TFDS data sets (default: that of TFDS).",
    )


def add_json(command, content: str) -> None:
    """Adds --json."""
    command.add_argument(
        "--json",
        type=types.output_file,
        metavar="FILE",
        help=f"File to write {content} to, or - for stdout.",
    )


def add_trust(command) -> None:
    """Adds --trust."""
    command.add_argument("--trust", action="store_true", help=TRUST)


def add_task(command, most: int | None, **several) -> None:
    """Adds the flags of a downstream task.

    Args:
        command: its parser.
        most: int. Training examples that are used by default; None for all.
        **several: arguments of `add_argument` where several tasks are taken.
    """
    add = command.add_argument
    add(
        "--task",
        required=True,
        type=types.named_or_path,
        help="TFDS name, folder of images, .npz file, or CSV, TSV or JSONL "
        "file of texts.",
        **several,
    )
    add_data_dir(command)
    add_text_column(command)
    add(
        "--label_column",
        metavar="NAME",
        help="Column of the labels of texts (default: label, sentiment, ...).",
    )
    add(
        "--num_examples",
        type=types.integer(2),
        default=most,
        metavar="N",
        help=f"Maximum number of training examples (default: {most or 'all'}).",
    )
    add_trust(command)


def add_text_column(command) -> None:
    """Adds --text_column."""
    command.add_argument(
        "--text_column",
        metavar="NAME",
        help="Column of the texts in a file (default: text, sentence, "
        "review, ...).",
    )
