"""Flags of someone who wants numbers that can be trusted."""

from keras_experts.commands import evaluation
from keras_experts.commands.shared import Misuse
from keras_experts.evaluation.sweeps import EACH
from keras_experts.evaluation.sweeps import HYPERRULE
from keras_experts.evaluation.sweeps import SWEEPS
from keras_experts.evaluation.sweeps import SWEPT
from keras_experts.flags import types
from keras_experts.flags.shared import SEVERAL
from keras_experts.flags.shared import add_command
from keras_experts.flags.shared import add_data_dir
from keras_experts.flags.shared import add_json
from keras_experts.flags.shared import add_strategies
from keras_experts.flags.shared import add_trust
from keras_experts.selection.registry import STRATEGIES


def _check_evaluate(options) -> None:
    pools = {name: modules for name, *modules in options.pool}
    if len(pools) < len(options.pool) or not all(pools.values()):
        raise Misuse(
            "Each --pool must have a name of its own and at least one module. "
            f"Received: {' and '.join(' '.join(p) for p in options.pool)}."
        )
    if options.sweep == HYPERRULE and options.swept != EACH:
        raise Misuse(
            f"--swept {options.swept} must come with a --sweep other than "
            f"{HYPERRULE}, which has nothing to choose."
        )
    if options.sweep != HYPERRULE and options.base_learning_rate is not None:
        raise Misuse(
            f"--base_learning_rate must come with --sweep {HYPERRULE}: the "
            f"others choose it. Received: {options.sweep!r}."
        )
    known = {*STRATEGIES, "oracle"}
    for method in options.methods:
        strategy, mark, pool = method.partition("@")
        if strategy not in known or (mark and pool not in pools):
            raise Misuse(
                "--methods must be a strategy or oracle, followed by @ and the "
                f"name of a --pool or not. Received: {method!r}."
            )
    used = {method.partition("@")[2] for method in options.methods}
    if unused := sorted(pools.keys() - used):
        raise Misuse(
            "Each --pool must be used by a method, as in knn@POOL. "
            f"Received: {', '.join(unused)}, which none uses."
        )


def _add_evaluate(parsers) -> None:
    command = add_command(
        parsers,
        "evaluate",
        evaluation.evaluate,
        "Run the paper's protocol over a suite of tasks; continues when run "
        "again.",
        _check_evaluate,
    )
    add = command.add_argument
    add(
        "--suite",
        required=True,
        type=types.suite,
        help="Suite of tasks: vtab1k, dat, or a JSON file.",
    )
    add(
        "--modules",
        **SEVERAL,
        required=True,
        metavar="MODULE",
        help="Pool of modules, as for select.",
    )
    add(
        "--pool",
        nargs="+",
        action="append",
        default=[],
        metavar=("NAME", "MODULE"),
        help="Another pool, for the methods METHOD@NAME.",
    )
    add(
        "--output",
        required=True,
        type=types.output_folder,
        metavar="FOLDER",
        help="Folder of the results.",
    )
    add(
        "--trials",
        type=types.output_folder,
        metavar="FOLDER",
        help="Folder of training records, which evaluations can share "
        "(default: OUTPUT/trials).",
    )
    add_data_dir(command)
    add(
        "--methods",
        nargs="+",
        default=["baseline", "knn"],
        metavar="METHOD",
        help=f"Methods to compare: {', '.join(STRATEGIES)}; oracle, which "
        "fine-tunes every module; or METHOD@POOL (default: baseline knn).",
    )
    _add_protocol(command)
    add_trust(command)
    add_json(command, "results.json")
    add_strategies(command)


def _add_protocol(command) -> None:
    """Adds the flags that decide what is trained for each task."""
    add = command.add_argument
    count = {"type": types.integer(1), "metavar": "N"}
    add(
        "--oracle_runs",
        **count,
        default=1,
        help="Number of times the oracle fine-tunes each module (default: 1).",
    )
    add(
        "--sweep",
        default=HYPERRULE,
        choices=SWEEPS,
        help="Set of hyperparameters to choose from (default: hyperrule).",
    )
    add(
        "--swept",
        default=EACH,
        choices=SWEPT,
        help="Modules whose hyperparameters are chosen: each one, or the "
        "baseline for all (default: each).",
    )
    add(
        "--repeats",
        **count,
        default=10,
        help="Number of sweeps per task and module (default: 10).",
    )
    add(
        "--runs",
        **count,
        default=3,
        help="Number of trainings per sweep (default: 3).",
    )
    add(
        "--num_images",
        **count,
        help="Number of examples seen by a training of relative length 1 "
        "(default: that of the BiT-HyperRule).",
    )
    add(
        "--batch_size",
        **count,
        default=512,
        help="Images per training step (default: 512).",
    )
    add(
        "--base_learning_rate",
        type=types.real(0),
        metavar="RATE",
        help="Learning rate at a batch size of 512 (default: that of the "
        "BiT-HyperRule).",
    )
    add(
        "--processes",
        **count,
        default=1,
        help="Number of trainings that run at the same time (default: 1).",
    )


def _check_report(options) -> None:
    if options.markdown == options.csv == types.STDOUT:
        raise Misuse("Only one of --markdown and --csv must be -.")


def _add_report(parsers) -> None:
    command = add_command(
        parsers,
        "report",
        evaluation.report,
        "Make tables of results files, with intervals.",
        _check_report,
    )
    add = command.add_argument
    add(
        "results",
        nargs="+",
        type=types.existing_path,
        help="results.json files, or their folders.",
    )
    output = {"type": types.output_file, "metavar": "FILE"}
    add("--html", **output, help="HTML page to write.")
    add("--markdown", **output, help="Markdown file, or - for stdout.")
    add("--csv", **output, help="CSV file, or - for stdout.")


def _add_doctor(parsers) -> None:
    command = add_command(
        parsers,
        "doctor",
        evaluation.doctor,
        "Report what is installed, which data are there, and how to get the "
        "rest.",
    )
    add_data_dir(command)
    command.add_argument(
        "--clear_cache",
        action="store_true",
        help="First delete the cache of features and fingerprints.",
    )
    add_json(command, "the report")


ADD = (_add_evaluate, _add_report, _add_doctor)
