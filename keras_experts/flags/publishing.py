"""Flags of someone who publishes a collection."""

from keras_experts.commands import publishing
from keras_experts.flags.shared import add_command


def _add_export(parsers) -> None:
    command = add_command(
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
        command = add_command(
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
    command = add_command(
        parsers,
        "serve",
        publishing.serve,
        "Host a collection for hub.load and browsers, or a classifier that "
        "finetune wrote.",
    )
    what = "folder of a collection, or the output folder of finetune"
    command.add_argument("collection", help=what)
    add = command.add_argument
    add("--port", type=int, default=8500, help="0 for any free one [8500]")
    add("--host", default="127.0.0.1", help="address to listen on [127.0.0.1]")
    add("--gcs_mirror", help="gs:// folder with the modules unpacked")


def _add_inspect(parsers) -> None:
    command = add_command(
        parsers,
        "inspect",
        publishing.inspect,
        "Tell what a module is, without loading it unless --cost asks.",
    )
    command.add_argument("module", help="folder, .keras file or URL")
    what = "load it, and count the operations of an image"
    command.add_argument("--cost", action="store_true", help=what)
    command.add_argument("--json", help="- for stdout")


ADD = (
    _add_export,
    _add_editing,
    _add_serve,
    _add_inspect,
)
