"""Flags of someone with images and a task."""

from keras_experts.commands import transfer
from keras_experts.commands.shared import Misuse
from keras_experts.flags import types
from keras_experts.flags.shared import add_command
from keras_experts.flags.shared import add_json
from keras_experts.flags.shared import add_strategies
from keras_experts.flags.shared import add_task
from keras_experts.flags.shared import add_text_column
from keras_experts.flags.shared import add_trust
from keras_experts.selection.registry import RACING
from keras_experts.selection.registry import STRATEGIES

# As of models.trainable and training.distribution, which need Keras.
GROUPS = ("head", "adapters", "norms", "blocks")
PRECISIONS = ("float32", "bfloat16")
DEVICES = ("one_device", "mirrored", "tpu")


def _add_demo(parsers) -> None:
    command = add_command(
        parsers, "demo", transfer.demo, "Run the whole method on embedded data."
    )
    command.add_argument(
        "--workdir",
        default="demo",
        type=types.output_folder,
        metavar="FOLDER",
        help="Folder of the run (default: demo).",
    )


def _check_select(options) -> None:
    if options.report is not None and len(options.task) > 1:
        raise Misuse(
            "--report must come with one --task. "
            f"Received: {len(options.task)} tasks."
        )
    for flag in ("error", "budget"):
        if getattr(options, flag) is not None and options.racing != flag:
            raise Misuse(f"--{flag} must come with --racing {flag}.")
    if options.beam is None and options.beam_folder is not None:
        raise Misuse("--beam_folder must come with --beam.")
    if options.beam is not None and options.racing in ("error", "budget"):
        raise Misuse(f"--beam races nothing. Received: {options.racing!r}.")
    if options.hierarchy and options.strategy != "name_matching":
        raise Misuse("--hierarchy must come with --strategy name_matching.")


def _add_select(parsers) -> None:
    command = add_command(
        parsers,
        "select",
        transfer.select,
        "Rank experts for a task and pick one.",
        _check_select,
    )
    command.add_argument(
        "--modules",
        nargs="+",
        action="extend",
        required=True,
        metavar="MODULE",
        help="Collections, module folders, URLs and pool files.",
    )
    add_task(command, 1000, nargs="+")
    _add_selection_rules(command)
    _add_selection_work(command)
    add_strategies(command)
    add_json(command, "selection.json")
    command.add_argument(
        "--report",
        type=types.output_file,
        metavar="FILE",
        help="HTML page to write about the selection.",
    )


def _add_selection_rules(command) -> None:
    """Adds the flags that decide what is selected."""
    add = command.add_argument
    add(
        "--strategy",
        default="knn",
        choices=STRATEGIES,
        help="Selection strategy (default: knn).",
    )
    add(
        "--margin",
        type=types.real(),
        default=0.0,
        help="Minimum gain in score over the baseline for an expert to be "
        "picked (default: 0).",
    )
    add(
        "--racing",
        default="auto",
        choices=RACING,
        help="How modules are eliminated early: not at all, by a statistical "
        "test, within a budget of forward passes, or, for large pools, within "
        "a budget (default: auto).",
    )
    add(
        "--error",
        type=types.real(0, 1),
        metavar="PROBABILITY",
        help="With `--racing error`: probability of eliminating the best "
        "module (default: 0.05).",
    )
    add(
        "--budget",
        type=types.real(0, 1, "(]"),
        metavar="FRACTION",
        help="With `--racing budget`: fraction of all forward passes to spend "
        "(default: 0.25).",
    )
    add(
        "--combine",
        action="store_true",
        help="Look for several experts whose features together are better.",
    )


def _add_selection_work(command) -> None:
    """Adds the flags that decide how and where features are computed."""
    add = command.add_argument
    add(
        "--no_cache",
        action="store_true",
        help="Neither use nor keep features of other selections.",
    )
    add(
        "--time_limit",
        type=types.real(0),
        default=600,
        metavar="SECONDS",
        help="Maximum seconds per batch before a module is skipped (default: "
        "600).",
    )
    add(
        "--processes",
        type=types.integer(1),
        default=1,
        metavar="N",
        help="Number of modules that run at the same time (default: 1).",
    )
    add(
        "--beam",
        nargs="*",
        metavar="OPTION",
        help="Score with Apache Beam, with options of the runner such as "
        "direct_num_workers=2.",
    )
    add(
        "--beam_folder",
        type=types.existing_folder,
        metavar="FOLDER",
        help="Directory shared by all Beam workers.",
    )


def _check_finetune(options) -> None:
    if options.patience is not None and not options.validation:
        raise Misuse("--patience must come with --validation.")
    if options.input_range[0] == options.input_range[1]:
        raise Misuse(
            "--input_range must be two different numbers. "
            f"Received: {' '.join(map(str, options.input_range))}."
        )


def _add_finetune(parsers) -> None:
    command = add_command(
        parsers,
        "finetune",
        transfer.finetune,
        "Fine-tune a module on a task.",
        _check_finetune,
    )
    command.add_argument(
        "--module",
        required=True,
        type=types.module,
        help="Module to fine-tune: a folder, a URL, BANK#expert or a .keras "
        "file.",
    )
    add_task(command, None)
    command.add_argument(
        "--output",
        required=True,
        type=types.output_folder,
        metavar="FOLDER",
        help="Folder to create.",
    )
    _add_recipe(command)
    _add_validation(command)
    add = command.add_argument
    add(
        "--precision",
        default="float32",
        choices=PRECISIONS,
        help="Type that the network computes in (default: float32).",
    )
    add(
        "--strategy",
        default="one_device",
        choices=DEVICES,
        help="Devices of this machine to train on (default: one_device).",
    )
    add(
        "--seed",
        type=types.integer(0, 2**32 - 1),
        default=0,
        help="Seed of the order and the augmentation (default: 0).",
    )


def _add_recipe(command) -> None:
    """Adds the flags that decide how a network is trained."""
    add = command.add_argument
    add(
        "--num_images",
        type=types.integer(1),
        metavar="N",
        help="Images to train on, repeats counted (default: chosen for the "
        "module and the task).",
    )
    add(
        "--batch_size",
        type=types.integer(1),
        metavar="N",
        help="Images per training step (default: 32).",
    )
    add(
        "--base_learning_rate",
        type=types.real(0),
        nargs="+",
        metavar="RATE",
        help="Learning rate at a batch size of 512. If you pass several, the "
        "best on a fifth of the training images is used (default: three "
        "rates, chosen for the module).",
    )
    add(
        "--image_size",
        type=types.integer(1),
        metavar="PIXELS",
        help="Height and width of the images (default: those of the module).",
    )
    add(
        "--input_range",
        nargs=2,
        type=types.real(),
        default=(0.0, 1.0),
        metavar=("BLACK", "WHITE"),
        help="Pixel range that a third-party module expects (default: 0 1).",
    )
    add(
        "--flip",
        action="store_true",
        help="Mirror half of the training images.",
    )
    add(
        "--max_shift",
        type=types.integer(0),
        default=0,
        metavar="PIXELS",
        help="Largest random shift of training images (default: 0).",
    )
    add(
        "--groups",
        nargs="+",
        default=(),
        choices=GROUPS,
        help="Groups of variables to train; the head always is (default: all).",
    )


def _add_validation(command) -> None:
    add = command.add_argument
    add(
        "--validation",
        type=types.real(0, 1, "[)"),
        default=0.0,
        metavar="FRACTION",
        help="Fraction of the training images held out to choose the best "
        "state by (default: 0). Above 0, a validation split of the task is "
        "used instead.",
    )
    add(
        "--patience",
        type=types.integer(1),
        metavar="N",
        help="Stop after this many validations without improvement (default: "
        "train to the end).",
    )


def _add_predict(parsers) -> None:
    command = add_command(
        parsers,
        "predict",
        transfer.predict,
        "Classify image files and folders, or texts.",
    )
    command.add_argument(
        "--model",
        required=True,
        type=types.module,
        metavar="FOLDER",
        help="Output folder of finetune.",
    )
    add_text_column(command)
    command.add_argument(
        "files",
        nargs="+",
        type=types.input_path,
        help="Images and folders of images, or files of texts; - for stdin.",
    )
    add_trust(command)
    add_json(command, "the predictions")


ADD = (
    _add_demo,
    _add_select,
    _add_finetune,
    _add_predict,
)
