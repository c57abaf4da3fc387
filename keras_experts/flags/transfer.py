"""Flags of someone with images and a task."""

from keras_experts.commands import transfer
from keras_experts.flags.shared import add_command
from keras_experts.flags.shared import add_strategies
from keras_experts.flags.shared import add_task
from keras_experts.flags.shared import add_text_column
from keras_experts.selection.registry import RACING
from keras_experts.selection.registry import STRATEGIES

# As of models.trainable and training.distribution, which need Keras.
GROUPS = ("head", "adapters", "norms", "blocks")
PRECISIONS = ("float32", "bfloat16")
DEVICES = ("one_device", "mirrored", "tpu")


def _add_demo(parsers) -> None:
    command = add_command(
        parsers, "demo", transfer.demo, "The whole method on embedded data."
    )
    command.add_argument("--workdir", default="demo", help="[demo]")


def _add_select(parsers) -> None:
    what = "Rank experts for a task and pick one."
    command = add_command(parsers, "select", transfer.select, what)
    command.add_argument(
        "--modules",
        nargs="+",
        action="extend",
        required=True,
        help="collections, module folders, URLs, pool files",
    )
    add_task(command, 1000, nargs="+")
    add = command.add_argument
    add("--strategy", default="knn", choices=STRATEGIES, help="[knn]")
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
    add_strategies(command)
    add("--json", help="selection.json, or - for stdout")
    add("--report", help="a page to look at, F.html")


def _add_finetune(parsers) -> None:
    command = add_command(
        parsers, "finetune", transfer.finetune, "Fine-tune a module on a task."
    )
    what = "folder, URL, BANK#expert or .keras file"
    command.add_argument("--module", required=True, help=what)
    add_task(command, None)
    add = command.add_argument
    add("--output", required=True, help="folder to make")
    add(
        "--num_images",
        type=int,
        metavar="COUNT",
        help="Images to train on, repeats counted (default: chosen for the "
        "module and the task).",
    )
    add(
        "--batch_size",
        type=int,
        metavar="COUNT",
        help="Images per training step (default: 32).",
    )
    add(
        "--base_learning_rate",
        type=float,
        nargs="+",
        metavar="RATE",
        help="Learning rate at a batch size of 512. If you pass several, the "
        "best on a fifth of the training images is used (default: three "
        "rates, chosen for the module).",
    )
    add("--image_size", type=int, help="pixels [the module's own]")
    what = "of black and white, for anybody's module [0 1]"
    add("--input_range", nargs=2, type=float, default=(0.0, 1.0), help=what)
    add("--flip", action="store_true", help="mirror half of the images")
    add("--max_shift", type=int, default=0, help="pixels [0]")
    what = "what is trained: head (always) adapters norms blocks [everything]"
    add("--groups", nargs="+", default=(), choices=GROUPS, help=what)
    what = "share of the training images to choose the best state by [0]"
    add("--validation", type=float, default=0.0, help=what)
    what = "looks without a better state, of ten, to stop after [never]"
    add("--patience", type=int, help=what)
    add("--precision", default="float32", choices=PRECISIONS, help="[float32]")
    what = "devices of this machine [one_device]"
    add("--strategy", default="one_device", choices=DEVICES, help=what)
    add("--seed", type=int, default=0, help="[0]")


def _add_predict(parsers) -> None:
    command = add_command(
        parsers,
        "predict",
        transfer.predict,
        "Classify image files and folders, or texts.",
    )
    command.add_argument("--model", required=True, help="finetune's output")
    add_text_column(command)
    what = "images and folders, or files of texts; - for standard input"
    command.add_argument("files", nargs="+", help=what)
    what = "load a model of a module that finetune had to --trust"
    command.add_argument("--trust", action="store_true", help=what)
    command.add_argument("--json", help="file, or - for stdout")


ADD = (
    _add_demo,
    _add_select,
    _add_finetune,
    _add_predict,
)
