"""Flags of someone who publishes a collection."""

from keras_experts.commands import publishing
from keras_experts.flags import types
from keras_experts.flags.shared import add_command
from keras_experts.flags.shared import add_json

# As in exporting.cards, which needs Keras.
LICENSES = (
    *("apache-2.0", "bsd-2-clause", "bsd-3-clause", "cc-by-nc-4.0"),
    *("cddl-1.0", "custom", "epl-2.0", "gpl-2.0", "gpl-3.0", "lgpl-2.0"),
    *("lgpl-2.1", "lgpl-3.0", "mit", "mpl-2.0"),
)


def _add_export(parsers) -> None:
    command = add_command(
        parsers,
        "export",
        publishing.export,
        "Export a run as a TF-Hub collection.",
    )
    add = command.add_argument
    add(
        "--workdir",
        required=True,
        type=types.existing_folder,
        metavar="FOLDER",
        help="Folder of the run.",
    )
    add(
        "--output",
        required=True,
        type=types.output_folder,
        metavar="FOLDER",
        help="Folder of the collection, new or from an earlier export.",
    )
    add(
        "--publisher",
        required=True,
        type=types.publisher,
        help="First part of the handles.",
    )
    add(
        "--name",
        default="experts",
        type=types.collection_name,
        help="Middle part of the handles (default: experts).",
    )
    add(
        "--license",
        default="custom",
        choices=LICENSES,
        metavar="LICENSE",
        help="License of the weights, as tfhub.dev names it (default: custom).",
    )
    add(
        "--base_url",
        default="",
        metavar="URL",
        help="URL at which the collection will be hosted (default: none; "
        "links of the collection's page then lead to https://tfhub.dev).",
    )
    add(
        "--samples",
        action="store_true",
        help="Publish some of the upstream's test images with each module.",
    )
    add(
        "--storage",
        choices=("float32", "float16"),
        default="float32",
        help="Type of the stored weights of the module that holds all adapters "
        "(default: float32).",
    )
    add(
        "--site",
        type=types.output_folder,
        metavar="FOLDER",
        help="Folder to write the pages and archives of a web site to.",
    )


def _add_editing(parsers) -> None:
    for name, run, text in (
        ("add_expert", publishing.add_expert, "Add an expert to a bank."),
        ("remove_expert", publishing.remove_expert, "Remove one from a bank."),
    ):
        command = add_command(
            parsers, name, run, f"{text} The result is its next version."
        )
        add = command.add_argument
        _add_collection(command)
        add(
            "--bank",
            required=True,
            metavar="HANDLE",
            help="Handle of the bank.",
        )
        if name == "add_expert":
            add(
                "--module",
                required=True,
                type=types.module,
                help="Adapter expert to add: a folder, or BANK#name.",
            )
        else:
            add(
                "--expert",
                required=True,
                metavar="NAME",
                help="Name of the expert to remove.",
            )


def _add_collection(command) -> None:
    command.add_argument(
        "collection",
        type=types.existing_folder,
        help="Folder of the collection.",
    )


def _add_serve(parsers) -> None:
    command = add_command(
        parsers,
        "serve",
        publishing.serve,
        "Host a collection for hub.load and browsers, or a classifier that "
        "finetune wrote.",
    )
    command.add_argument(
        "collection",
        type=types.existing_folder,
        help="Folder of a collection, or the output folder of finetune.",
    )
    add = command.add_argument
    add(
        "--port",
        type=types.integer(0, 65535),
        default=8500,
        help="Port to listen on; 0 for any free one (default: 8500).",
    )
    add(
        "--host",
        default="127.0.0.1",
        help="Address to listen on (default: 127.0.0.1).",
    )
    add(
        "--gcs_mirror",
        type=types.bucket,
        metavar="URL",
        help="gs:// folder that holds the unpacked modules.",
    )


def _add_inspect(parsers) -> None:
    command = add_command(
        parsers,
        "inspect",
        publishing.inspect,
        "Report what a module is, without loading it unless --cost asks.",
    )
    command.add_argument(
        "module",
        type=types.module,
        help="Folder, .keras file or URL of the module.",
    )
    command.add_argument(
        "--cost",
        action="store_true",
        help="Load the module and count the operations per example.",
    )
    add_json(command, "the report")


ADD = (
    _add_export,
    _add_editing,
    _add_serve,
    _add_inspect,
)
