"""What flags of several commands share."""

from collections.abc import Callable


def add_command(parsers, name: str, run: Callable, text: str):
    """Adds a command, and gives its parser."""
    command = parsers.add_parser(name, help=text, description=text)
    command.set_defaults(run=run)
    command.add_argument(
        "--debug", action="store_true", help="show the traceback of an error"
    )
    return command


def add_gin(command, required: bool = False) -> None:
    """Adds --gin_file and --gin_param."""
    add = command.add_argument
    several = {"nargs": "+", "action": "extend", "default": []}
    what = "own, or of the package"
    add("--gin_file", **several, required=required, help=what)
    add("--gin_param", **several, help="bindings, a.b=1")


def add_strategies(command) -> None:
    """Adds the settings of selection strategies."""
    what = "of name_matching: wordnet:DIR, is-a file or CSV"
    command.add_argument("--hierarchy", help=what)
    add_gin(command)


def add_task(command, most: int | None, **several) -> None:
    """Adds the flags of a downstream task."""
    add = command.add_argument
    what = "TFDS name, image folder, .npz, or CSV, TSV or JSONL of texts"
    add("--task", required=True, help=what, **several)
    add("--data_dir", help="folder of TFDS data sets")
    add_text_column(command)
    what = "column of the labels of texts [label, sentiment, ...]"
    add("--label_column", metavar="NAME", help=what)
    what = f"training images, at most [{most or 'all'}]"
    add("--num_examples", type=int, default=most, help=what)
    add(
        "--trust",
        action="store_true",
        help="load modules that do more than compute, as inspect tells",
    )


def add_text_column(command) -> None:
    """Adds the flag that names the column of texts."""
    what = "column of the texts in a file [text, sentence, review, ...]"
    command.add_argument("--text_column", metavar="NAME", help=what)
